"""A button and a key for each label, so that labels can be selected without leaving the image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

LABEL_KEYS = "ASDECXJKLUOM"
"""Keys of the labels in their order: letters that neither Slicer's views (B, F, G, R, T, V), nor the Segment Editor
(I, Q, W, Y, Z and the digits), nor this module (H, N, P) has."""

COLUMNS = 4
SWATCH = 12
NAME_WIDTH = 84
"""Width for the name of a label on its button, in pixels."""


@dataclass(frozen=True)
class LabelEntry:
    """A label as a button shows it.

    Attributes:
        segment: Id of its segment.
        name: Its name.
        color: Red, green and blue, each 0 to 1.
    """

    segment: str
    name: str
    color: tuple[float, float, float]


class LabelButtons:
    """The row of buttons.

    Args:
        frame: QFrame to fill.
        layout: Its QGridLayout.
        choose: Called with the id of the segment that is selected.

    Attributes:
        entries: The labels, in the order of the keys.
        buttons: The buttons, in the same order.
    """

    def __init__(self, frame: Any, layout: Any, choose: Callable[[str], None]) -> None:
        self._frame, self._layout, self._choose = frame, layout, choose
        self.entries: tuple[LabelEntry, ...] = ()
        self.buttons: list[Any] = []

    def show(self, entries: Sequence[LabelEntry], chosen: str) -> None:
        """Show labels, and which of them is selected.

        Args:
            entries: The labels.
            chosen: Id of the selected segment, "" for none.
        """
        if tuple(entries) != self.entries:
            self._build(tuple(entries))
        for entry, button in zip(self.entries, self.buttons, strict=True):
            button.checked = entry.segment == chosen
        self._frame.setVisible(bool(self.entries))

    def choose(self, number: int) -> bool:
        """Select a label by its number, from 0; false if there is none."""
        if not 0 <= number < len(self.entries):
            return False
        self._choose(self.entries[number].segment)
        return True

    def _build(self, entries: tuple[LabelEntry, ...]) -> None:
        for button in self.buttons:
            self._layout.removeWidget(button)
            button.setParent(None)
            button.deleteLater()
        self.entries, self.buttons = entries, []
        shared = _sharedStart([entry.name for entry in entries])
        for number, entry in enumerate(entries):
            button = self._button(number, entry, shared)
            self._layout.addWidget(button, number // COLUMNS, number % COLUMNS)
            self.buttons.append(button)

    def _button(self, number: int, entry: LabelEntry, shared: int) -> Any:
        """A button; where the name is too long for it, the first ``shared`` letters, which all names have, go first."""
        button = qt.QPushButton(self._frame)
        button.objectName = f"label{number}Button"
        button.checkable = True
        button.setFocusPolicy(qt.Qt.NoFocus)
        button.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        swatch = qt.QPixmap(SWATCH, SWATCH)
        swatch.fill(qt.QColor.fromRgbF(*entry.color))
        button.setIcon(qt.QIcon(swatch))
        key = LABEL_KEYS[number] if number < len(LABEL_KEYS) else ""
        name, metrics = entry.name, button.fontMetrics()
        if shared > 1 and metrics.elidedText(name, qt.Qt.ElideMiddle, NAME_WIDTH) != name:
            name = f"…{name[shared:]}"
        name = metrics.elidedText(name, qt.Qt.ElideMiddle, NAME_WIDTH)
        button.text = f"{key}  {name}" if key else name
        tip = _("Draw {name} ({key}).") if key else _("Draw {name}.")
        button.toolTip = tip.format(name=entry.name, key=key)
        button.clicked.connect(_chooser(self.choose, number))
        return button


def _sharedStart(names: Sequence[str]) -> int:
    """With how many letters all names begin."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return sum(1 for _ in alike) if len(names) > 1 else 0


def _chooser(choose: Callable[[int], bool], number: int) -> Callable[..., None]:
    def slot(*_: Any) -> None:
        choose(number)

    return slot
