"""Offers that the user may accept or decline, shown one at a time at the bottom of the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.scene.offers import PREDICTION, REQUESTS, Offer


@dataclass(frozen=True)
class Item:
    """An offer as it is shown.

    Attributes:
        text: What is offered.
        label: Text of the button that accepts it.
        tip: Tooltip of the button.
        accept: Called when it is accepted.
        decline: Called when it is declined.
    """

    text: str
    label: str
    tip: str
    accept: Callable[[], Any]
    decline: Callable[[], Any]


class OffersPanel(Panel):
    """Shows late results, next steps, and volumes that a job could not use."""

    def setup(self) -> None:
        """Connect the widgets."""
        self._item: Item | None = None
        self._declined: set[tuple[str, str]] = set()
        self.ui.offerButton.clicked.connect(self.act(self.accept))
        self.ui.offerDismissButton.clicked.connect(self.act(self.decline))

    def accept(self) -> None:
        """Accept the offer that is shown."""
        if self._item is not None:
            self._item.accept()
        self.update()

    def decline(self) -> None:
        """Decline the offer that is shown."""
        if self._item is not None:
            self._item.decline()
        self.update()

    def items(self) -> list[Item]:
        """All offers, the most urgent first."""
        return [*self._unusables(), *(self._offered(offer) for offer in self.work.offers)]

    def _offered(self, offer: Offer) -> Item:
        labels = {PREDICTION: _("Go there and start"), REQUESTS: _("Open it")}
        tips = {
            PREDICTION: _("Open that slice and draw the prediction on it; strokes on this one are kept."),
            REQUESTS: _("Open the first requested slice; strokes on this one are kept."),
        }
        label = labels.get(offer.kind, _("Suggest next slices"))
        tip = tips.get(offer.kind, _("Suggest the next slices with the settings under Suggest."))
        return Item(offer.text, label, tip, lambda: self.work.accept(offer), lambda: self.work.decline(offer))

    def _unusables(self) -> list[Item]:
        """Volumes that the latest job could not use, until they are excluded or the offer is declined."""
        study = self.session.study
        if study is None or not self.work.leftOut:
            return []
        waiting = {name: why for name, why in self.work.leftOut.items() if name not in self.session.excluded}
        known = {name for identity, name in self._declined if identity == study.id}
        return [self._unusable(study.id, name, why) for name, why in waiting.items() if name not in known]

    def _unusable(self, study: str, volume: str, why: str) -> Item:
        text = _("{volume} cannot be used. {why}").format(volume=volume, why=why)
        tip = _("Suggestions, training and prediction continue without it. Nothing is deleted.")

        def decline() -> None:
            self._declined.add((study, volume))

        return Item(text, _("Leave this volume out"), tip, lambda: self.leaveOut(volume), decline)

    def update(self) -> None:
        """Show the first offer."""
        ui, items = self.ui, self.items()
        self._item = items[0] if items else None
        ui.offerFrame.setVisible(self._item is not None)
        if self._item is not None:
            more = _(" ({count} more)").format(count=len(items) - 1) if len(items) > 1 else ""
            ui.offerLabel.text = self._item.text + more
            ui.offerLabel.toolTip = self._item.text
            ui.offerButton.text = self._item.label
            ui.offerButton.toolTip = self._item.tip
