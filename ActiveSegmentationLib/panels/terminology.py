"""A dialog for the terminology of a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


@dataclass(frozen=True)
class Terminology:
    """The chosen terminology.

    Attributes:
        entry: The entry as a segment's tag holds it.
        name: Name of the structure.
        color: Its recommended colour (QColor).
    """

    entry: str
    name: str
    color: Any


def meaning(entry: str) -> str:
    """What an entry means in words: the name of its type, with the modifier if it has one; "" if it has neither.

    Args:
        entry: "context~category~type~modifier~...", where the middle three are "scheme^code^name".
    """
    parts = [part.split("^") for part in entry.split("~")[2:4]]
    return ", ".join(part[2] for part in parts if len(part) == 3 and part[2])


def chooseTerminology(entry: str, parent: Any) -> Terminology | None:
    """Show a dialog with Slicer's terminologies.

    Args:
        entry: The present entry, "" for none.
        parent: Widget that the dialog belongs to.

    Returns:
        The choice, or None if the dialog was cancelled.
    """
    dialog = qt.QDialog(parent)
    dialog.setWindowTitle(_("What is this label?"))
    layout = qt.QVBoxLayout(dialog)
    navigator = slicer.qSlicerTerminologyNavigatorWidget()
    layout.addWidget(navigator)
    buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    layout.addWidget(buttons)
    logic = slicer.modules.terminologies.logic()
    chosen = slicer.vtkSlicerTerminologyEntry()
    if entry and logic.DeserializeTerminologyEntry(entry, chosen):
        navigator.setTerminologyEntry(chosen)
    accepted = dialog.exec_() == qt.QDialog.Accepted and navigator.terminologyEntry(chosen)
    found = None
    if accepted:
        name, color = navigator.nameFromTerminology(chosen), navigator.recommendedColorFromTerminology(chosen)
        found = Terminology(logic.SerializeTerminologyEntry(chosen), str(name), color)
    dialog.deleteLater()
    return found
