"""Opens and closes the volume that is annotated: its nodes, observers, drafts and views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.ownership import ownNodes, removeNodes

if TYPE_CHECKING:
    from ActiveSegmentationLib.scene.session import Session


class Cases:
    """Opens one volume at a time as ``Session.case``, and closes it.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(self, volumeId: str) -> Case:
        """Open a volume; the one that is open is closed before.

        Raises:
            BadInput: If there is no such volume, or its image cannot be read.
        """
        session, study = self._session, self._session.requireStudy()
        self._close(forAnother=session.case is not None and session.case.volume.id != volumeId)
        try:
            with session.scene.ownChanges():
                case = Case(study, study.cohort.volume(volumeId), session.annotator, session.habits.channel)
                session.case = case
        except Exception:
            session.display.clear()
            raise
        finally:
            session.later(lambda: self._removeOthers(study.id))
        case.contrast.apply(session.habits.contrast)
        session.editor.setNodes(case.segmentationNode, case.volumeNode)
        session.habits.restore(session.editor, case)
        session.scene.watch(case)
        session.display.showVolume(case)
        return case

    def _removeOthers(self, studyId: str) -> None:
        """Remove the nodes of all volumes but the open one from the scene."""
        case, study = self._session.case, self._session.study
        keep = []
        if case is not None and study is not None and study.id == studyId:
            keep = ownNodes(studyId, case.volume.id)
        with self._session.scene.ownChanges():
            removeNodes(node for node in ownNodes(studyId) if node not in keep)

    def require(self) -> Case:
        """The open volume, with both of its nodes in the scene.

        Raises:
            BadInput: If no slice is open, or a node was removed.
        """
        session = self._session
        if session.case is None or session.task is None:
            raise BadInput("No slice is open.", where="annotate", advice="Open a request first (Next).")
        if not session.case.intact:
            self.lose()
            advice = "Open the request again; what was drawn is kept."
            raise BadInput("Image or segmentation were removed from the scene.", where="annotate", advice=advice)
        return session.case

    def setChannel(self, channel: int) -> None:
        """Show another channel of the image, also on the volumes opened later that have it.

        Args:
            channel: Which one, 0-based; see ``Case.channels`` for how many there are.

        Raises:
            BadInput: If no volume is open, it has no such channel, or its image cannot be read.
        """
        session = self._session
        if session.case is None:
            raise BadInput("No volume is open.", where="annotate", advice="Open a request first (Next).")
        study = session.requireStudy()
        session.habits.note(session.editor, session.case)
        with session.scene.ownChanges():
            session.case.setChannel(study.cohort, channel)
        session.habits.channel = channel
        session.case.contrast.apply(session.habits.contrast)
        session.changed.emit()

    def close(self) -> None:
        """Close the open volume: uncommitted strokes are kept as drafts, our nodes leave the scene.

        Where drafts cannot be written (the disk is full, the folder is gone), ``Session.failed`` is emitted and the
        nodes stay in the scene as the user's own.
        """
        self._close(forAnother=False)

    def _close(self, *, forAnother: bool) -> None:
        """See ``close``; where another volume opens at once, the nodes leave later and the view stays as it is."""
        session = self._session
        if session.case is None:
            return
        case, problem = self._end(session.case, restoreView=not forAnother)
        with session.scene.ownChanges():
            if problem is not None:
                case.release()
            elif not forAnother:
                case.remove()
        session.changed.emit()
        if problem is not None:
            name = case.segmentationNode.GetName()
            problem.advice += f" What is drawn was left in the scene as '{name}'."
            session.tellFailure(problem)

    def lose(self) -> None:
        """Other code removes the nodes of the open volume: save the strokes while they can still be read."""
        session = self._session
        if session.case is None:
            return
        case, problem = self._end(session.case, restoreView=True)
        session.changed.emit()
        if problem is not None:
            session.tellFailure(problem)
        else:
            text = f"{case.volume.id} was removed from the scene. What was drawn is saved: open its slice to go on."
            session.said.emit(text)

    def _end(self, case: Case, *, restoreView: bool) -> tuple[Case, ActiveSegmentationError | None]:
        """Save the strokes, then release the open volume; returns it, and why drafts could not be written."""
        session = self._session
        session.leaveSlice()
        session.habits.note(session.editor, case)
        session.case = session.task = None
        problem = None
        try:
            session.drafts.keep(case)
        except ActiveSegmentationError as error:
            problem = error
        session.scene.unwatch()
        with session.scene.ownChanges():
            # first: an editor selects another segmentation automatically when its own is removed
            session.editor.setNodes(None, None)
            session.display.clear(restore=restoreView)
        return case, problem
