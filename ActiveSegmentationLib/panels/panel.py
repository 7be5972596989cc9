"""The base of all panels: showing errors, enabling buttons, starting and stopping jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.panels.messages import Messages
from ActiveSegmentationLib.scene.session import Session
from ActiveSegmentationLib.scene.work import Work

DOUBLE_CLICK_SECONDS = 0.6
"""A second click within this time after the start of a job is half of a double click and does not stop the job."""


class Panel:
    """One step of the module.

    Args:
        ui: Widgets of the module.
        session: The session.
        work: The worker's jobs.
        messages: The message line.
        parameters: Returns the parameter node, which is a new one after the scene was closed.

    Attributes:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self, ui: Any, session: Session, work: Work, messages: Messages, parameters: Callable[[], Any]
    ) -> None:
        self.ui = ui
        self.session = session
        self.work = work
        self.messages = messages
        self.parameters = parameters
        self.clock: Callable[[], float] = time.monotonic
        self._tips: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._startedAt: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        self.setup()

    def setup(self) -> None:
        """Connect the widgets."""

    def update(self) -> None:
        """Show the current state, and enable what can be done."""

    def act(self, action: Callable[[], Any]) -> Callable[..., None]:
        """A slot that runs an action and shows its errors in the message line."""

        def slot(*_: Any) -> None:
            try:
                self.messages.clear()
                action()
            except ActiveSegmentationError as error:
                self.messages.error(error)
                self.update()  # a box that was ticked in vain, for one
            except Exception as error:  # the console alone would show it, which a clinician does not watch
                self.messages.error(error)
                raise

        return slot

    def enable(self, widget: Any, *reasons: str) -> None:
        """Enable a widget if no reason is given; its tooltip shows the reason, or else what it does.

        Args:
            widget: The widget.
            reasons: Why it cannot be used now, each "" if it does not apply; the first one is shown.
        """
        tip = self._tips.setdefault(widget.objectName, widget.toolTip)
        reason = next(filter(None, reasons), "")
        widget.enabled = not reason
        widget.toolTip = reason or tip
        self._reasons[widget.objectName] = reason

    def reason(self, widget: Any) -> str:
        """Why a widget cannot be used now, "" if it can; as of the last update."""
        return self._reasons.get(widget.objectName, "")

    def openSlice(self, sliceId: SliceId) -> bool:
        """Open a slice; if its volume cannot be used, show why and offer to exclude it.

        Returns:
            Whether it is open.
        """
        row = self.session.requests.rowOf(sliceId)
        try:
            if row is not None:
                self.session.openRequest(row)
            else:
                self.session.openSlice(sliceId)
        except BadInput as error:
            self._tellUnusable(error, sliceId.volume)
            self.update()
            return False
        return True

    def _tellUnusable(self, error: BadInput, volume: str) -> None:
        if self.session.study is None:
            self.messages.error(error)
        elif volume in self.session.excluded:
            take = self.act(lambda: self.takeBack(volume))
            self.messages.error(error, _("Take it back"), take, _("Use {volume} again.").format(volume=volume))
        else:
            tip = _("Suggestions, training and prediction go on without {volume}. Nothing is deleted.")
            leave = self.act(lambda: self.leaveOut(volume))
            self.messages.error(error, _("Leave this volume out"), leave, tip.format(volume=volume))

    def leaveOut(self, volume: str) -> None:
        """Exclude a volume from the study; what was drawn on it is kept.

        Raises:
            BadInput: If no study is open, there is no such volume, or the study cannot be written.
        """
        reason = _("left out in 3D Slicer by {name}").format(name=self.session.annotator)
        self.session.excludeVolume(volume, reason)
        text = _("{volume} is left out; what was drawn on it is kept.").format(volume=volume)
        tip = _("Use this volume again.")
        self.messages.offer(text, _("Undo"), self.act(lambda: self.takeBack(volume)), tip)

    def takeBack(self, volume: str) -> None:
        """Use an excluded volume again.

        Raises:
            BadInput: If no study is open, there is no such volume, or the study cannot be written.
        """
        self.session.includeVolume(volume)
        self.messages.tell(_("{volume} is used again.").format(volume=volume))

    # Buttons that start a job, and stop it while it runs

    def startOrStop(self, name: str, start: Callable[[], Any]) -> Callable[..., None]:
        """A slot that starts a job, or stops it while it runs.

        Args:
            name: Name of the job, see ``Work``.
            start: Starts it.
        """

        def toggle() -> None:
            if not self.work.isRunning(name):
                self._startedAt[name] = self.clock()
                start()
            elif self.clock() - self._startedAt.get(name, float("-inf")) > DOUBLE_CLICK_SECONDS:
                self.work.cancel(name)

        return self.act(toggle)

    def showJob(self, button: Any, name: str, *reasons: str) -> None:
        """Label a button of ``startOrStop`` with what it does now.

        Args:
            button: The button.
            name: Name of the job.
            reasons: Why the job cannot be started now, as for ``enable``.
        """
        usual = self._texts.setdefault(button.objectName, button.text)
        running = self.work.runningJob(name)
        if running is None:
            button.text = usual
            self.enable(button, *reasons)
            return
        self.enable(button, _("It stops as soon as it can.") if running.cancelling else "")
        button.text = _("Stopping ...") if running.cancelling else _("Stop")
        if not running.cancelling:
            button.toolTip = _("{job} is running; this stops it.").format(job=running.title)
