"""What all panels have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.panels.messages import Messages
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.scene.work import Work


class Panel:
    """One step of the module.

    Args:
        ui: Widgets of the module.
        session: The session.
        work: The worker's jobs.
        messages: Where to tell of problems.
        parameters: Called to get the parameter node, which is another one after the scene was closed.
    """

    def __init__(
        self, ui: Any, session: Session, work: Work, messages: Messages, parameters: Callable[[], Any]
    ) -> None:
        self.ui = ui
        self.session = session
        self.work = work
        self.messages = messages
        self.parameters = parameters
        self._tips: dict[str, str] = {}
        self.setup()

    def setup(self) -> None:
        """Connect the widgets."""

    def update(self) -> None:
        """Show what there is now, and enable what can be done."""

    def act(self, action: Callable[[], Any]) -> Callable[..., None]:
        """A slot that does something and tells of errors that people can do something about."""

        def slot(*_: Any) -> None:
            try:
                self.messages.clear()
                action()
            except ActiveSegmentationError as error:
                self.messages.error(error)
                self.update()  # a box that was ticked in vain, for one

        return slot

    def enable(self, widget: Any, *reasons: str) -> None:
        """Enable a widget where nothing speaks against it; its tooltip says why not, or what it does.

        Args:
            widget: The widget.
            reasons: Why it cannot be used now, each "" where it does not apply; the first counts.
        """
        tip = self._tips.setdefault(widget.objectName, widget.toolTip)
        reason = next(filter(None, reasons), "")
        widget.enabled = not reason
        widget.toolTip = reason or tip
