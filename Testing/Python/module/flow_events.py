"""What a user, the scene and the disk can do to the module at any step."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import slicer
import vtk

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene import segmentId


def clearScene(flow):
    slicer.mrmlScene.Clear(0)


def reloadModule(flow):
    flow.reload()


def otherStudy(flow):
    flow.createStudy("two", flow.tmp / "other")


def closeStudy(flow):
    flow.session.closeStudy()


def removeVolume(flow):
    slicer.mrmlScene.RemoveNode(flow.case.volumeNode)
    assert flow.case is None


def removeSegmentation(flow):
    slicer.mrmlScene.RemoveNode(flow.case.segmentationNode)
    assert flow.case is None


def rename(flow):
    node = flow.case.segmentationNode
    node.SetName("my drawing")
    for name in node.GetSegmentation().GetSegmentIDs():
        node.GetSegmentation().GetSegment(name).SetName("vessel")
    flow.case.volumeNode.SetName("my image")


def addSegment(flow):
    """A segment that the user added, with a stroke: it prevents the commit, and nothing is lost."""
    segmentation = flow.case.segmentationNode.GetSegmentation()
    name = segmentation.AddEmptySegment("", "tumour")
    index = flow.session.task.slice.index
    flow.module.editor.stroke.paint(name, flow.case.volume.axis, index, flow.mask(30))
    with pytest.raises(BadInput, match="not in the label set"):
        flow.session.annotating.commit()
    flow.expect()


def removeSegment(flow):
    flow.case.segmentationNode.GetSegmentation().RemoveSegment(segmentId(2))
    flow.module.settle()
    with pytest.raises(BadInput, match=r"removed|Nothing is drawn"):
        flow.session.annotating.commit()


def moveVolume(flow):
    transform(flow.case.volumeNode)
    refusesToCommit(flow, "transform|Nothing is drawn")


def moveSegmentation(flow):
    transform(flow.case.segmentationNode)
    refusesToCommit(flow, "transform|Nothing is drawn")


def moveBoth(flow):
    transform(flow.case.volumeNode, flow.case.segmentationNode)
    refusesToCommit(flow, "transform|Nothing is drawn")


def hardenVolume(flow):
    node = flow.case.volumeNode
    transform(node)
    node.HardenTransform()
    refusesToCommit(flow, "another grid|Nothing is drawn")


def transform(*nodes):
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 7.0)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    node.SetMatrixTransformToParent(matrix)
    for moved in nodes:
        moved.SetAndObserveTransformNodeID(node.GetID())


def refusesToCommit(flow, words):
    with pytest.raises(BadInput, match=words) as refusal:
        flow.session.annotating.commit()
    assert refusal.value.advice


def changeAnnotator(flow):
    flow.module.ui.annotatorLineEdit.text = "another annotator"
    flow.module.ui.annotatorLineEdit.editingFinished.emit()
    flow.module.settle()
    assert flow.session.annotator == "another annotator"
    flow.module.ui.annotatorLineEdit.text = "annotator"
    flow.module.ui.annotatorLineEdit.editingFinished.emit()


def deleteImages(flow):
    """All images of the cohort are gone for a while."""
    moved = flow.tmp / "gone"
    root = flow.study.cohort.root
    shutil.move(root, moved)
    try:
        with pytest.raises(BadInput, match=str(root)):
            flow.session.openSlice(SliceId(flow.study.cohort.volumes[1].id, 0))
        flow.module.settle()
        assert "No slice is open" in flow.module.ui.taskLabel.toolTip
    finally:
        shutil.move(moved, root)


def changeImage(flow):
    """An image was replaced by one of another size."""
    import SimpleITK

    volume = flow.study.cohort.volumes[1]
    path = flow.study.cohort.path(volume.channels[0].paths[0])
    kept = path.read_bytes()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((3, 7, 9), np.int16)), str(path))
    try:
        with pytest.raises(BadInput, match=path.name):
            flow.session.openSlice(SliceId(volume.id, 0))
        flow.module.settle()
    finally:
        path.write_bytes(kept)


def saveAndLoad(flow):
    """The scene is saved, and loaded in its own place."""
    path = flow.tmp / "saved.mrml"
    slicer.mrmlScene.Commit(str(path))
    slicer.mrmlScene.SetURL(str(path))
    slicer.mrmlScene.Connect()


def saveAndImport(flow):
    """A saved scene is added to the scene, as ``slicer.util.loadScene`` does."""
    path = flow.tmp / "saved.mrml"
    slicer.mrmlScene.Commit(str(path))
    slicer.mrmlScene.SetURL(str(path))
    slicer.mrmlScene.Import()


def removeSliceNode(flow):
    slicer.mrmlScene.RemoveNode(flow.module.views.view.sliceNode)


def removePrediction(flow):
    for node in (flow.session.display._prediction, flow.session.display._uncertainty):
        slicer.mrmlScene.RemoveNode(node)
    flow.module.settle()
    assert not flow.module.ui.uncertaintyCheckBox.checked
    assert not flow.module.ui.showPredictionCheckBox.checked


def leaveAndReturn(flow):
    flow.module.loaded.exit()
    flow.host.settle()
    flow.module.loaded.enter()


ALWAYS = (
    clearScene,
    reloadModule,
    otherStudy,
    changeAnnotator,
    saveAndLoad,
    saveAndImport,
    removeSliceNode,
    leaveAndReturn,
)


WITH_STUDY = (closeStudy, deleteImages, changeImage)


WITH_CASE = (
    removeVolume,
    removeSegmentation,
    rename,
    addSegment,
    removeSegment,
    moveVolume,
    moveSegmentation,
    moveBoth,
    hardenVolume,
)
