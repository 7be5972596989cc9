"""Nothing is stored or undone on a slice that is not in view: checks of ``contract.py``."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from module.views_contract import OneView, openCohort, volumeSlice


def scroll(session, index):
    """Let the view show another slice of the open volume, as scrolling does."""
    from ActiveSegmentationLib.scene import alignToSlice

    volume = session.case.volume
    alignToSlice(session.display.views.annotationView().sliceNode, volume.geometry, volume.axis, index)


def tilt(sliceNode):
    """Turn a view by 30 degrees out of its plane."""
    turn = vtk.vtkTransform()
    turn.SetMatrix(sliceNode.GetSliceToRAS())
    turn.RotateX(30)
    sliceNode.GetSliceToRAS().DeepCopy(turn.GetMatrix())
    sliceNode.UpdateMatrices()


def rectangle(volume):
    """A mask in the middle of a slice."""
    mask = np.zeros(volume.plane_shape, dtype=bool)
    rows, columns = volume.plane_shape
    mask[rows // 4 : rows // 2, columns // 4 : columns // 2] = True
    return mask


def undoEditor():
    """Slicer's editor logic, with its own undo."""
    from ActiveSegmentationLib.scene import Brush
    from ActiveSegmentationLib.scene.editor import Editor

    class UndoEditor(Editor):
        stroke = None

        def setNodes(self, segmentationNode, volumeNode):
            if self.stroke is not None:
                self.stroke.close()
            self.stroke = None if segmentationNode is None else Brush(segmentationNode, volumeNode)

        def saveStateForUndo(self):
            self.stroke.saveStateForUndo()

        def clearUndo(self):
            if self.stroke is not None:
                self.stroke.clearUndo()

    return UndoEditor()


def refusedOffSlice(act, words):
    """An action that must be refused because another slice is in view."""
    from ActiveSegmentationLib.scene.sliceInView import OffSlice

    try:
        act()
    except OffSlice as error:
        found = str(error)
    else:
        found = "it was not refused"
    assert words in found, found


def checkOnlyTheSliceInView(module, folder):
    """Commit, Empty, Skip, Flag and Revert refuse while another slice is in view; both ways to continue work."""
    views = OneView()
    logic = openCohort(module, folder, views, undoEditor())
    session = logic.session
    moves = []
    session.viewChanged.connect(lambda: moves.append(session.view.index))
    for volume in session.study.cohort.volumes:
        if volume.slice_count < 4:
            continue
        session.openSlice(volumeSlice(volume, 3))
        assert session.view.isOnSlice
        assert not session.view.offSliceText()
        moves.clear()
        scroll(session, 1)
        assert moves == [1]
        words = "You are on slice 2; the open slice is slice 4."
        assert session.view.offSliceText() == words
        for act in (
            session.annotating.commit,
            lambda: session.annotating.commit(empty=True),
            lambda: session.annotating.skip("no reason"),
            lambda: session.annotating.flag("look"),
            session.annotating.revert,
            session.annotating.resolveOverlap,
        ):
            refusedOffSlice(act, words)
        assert not session.study.annotations()
        assert not session.study.flagged()
        assert not session.study.skipped()
        session.view.goBack()
        assert session.view.isOnSlice
        assert session.task.slice.index == 3
        scroll(session, 1)
        assert session.view.annotateShown().index == 1
        assert session.view.isOnSlice
        tilt(views.sliceNode)
        assert "shows no slice" in session.view.offSliceText()
        session.view.goBack()
        assert session.view.isOnSlice
    session.openSlice(volumeSlice(volume, 1))
    session.annotating.commit(empty=True)
    logic.close()
    views.close()


def checkUndo(module, folder):
    """Undo and redo are noticed; the history ends at a commit and at a change of slice."""
    views = OneView()
    logic = openCohort(module, folder, views, undoEditor())
    session, changes = logic.session, []
    volume = session.study.cohort.volumes[1]
    mask = rectangle(volume)
    session.openSlice(volumeSlice(volume, 2))
    stroke = session.editor.stroke
    session.changed.connect(lambda: changes.append(session.drafts.isDirty))

    stroke.paint("Segment_1", volume.axis, 2, mask)
    assert session.drafts.isDirty
    session.drafts.save()
    assert session.study.drafts.all(session.annotator)
    for step, dirty in ((stroke.undo, False), (stroke.redo, True), (stroke.undo, False)):
        changes.clear()
        step()
        assert changes, "undo was not noticed"
        assert session.drafts.isDirty == dirty
        session.drafts.save()
        assert bool(session.study.drafts.all(session.annotator)) == dirty

    stroke.paint("Segment_1", volume.axis, 2, mask)
    session.annotating.commit()
    stroke.undo()
    assert np.array_equal(session.case.capture(2) == 1, mask)

    stroke.paint("Segment_2", volume.axis, 2, mask)
    scroll(session, 4)
    stroke.undo()
    assert np.array_equal(session.case.capture(2) == 2, mask)
    stroke.paint("Segment_2", volume.axis, 4, mask)
    session.view.goBack()
    stroke.undo()
    assert np.array_equal(session.case.capture(4) == 2, mask)
    logic.close()
    views.close()
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


CHECKS = (checkOnlyTheSliceInView, checkUndo)
