"""What the module must do in the test host and, unchanged, in a real Slicer: checks without pytest.

Each check takes the module's Python module (``ActiveSegmentation``) and an empty folder, and raises where something is
not as it must be. ``test_module_contract.py`` runs them in the host; started by Slicer as a script, this file runs them
there: ``Slicer --testing --no-splash --additional-module-paths ActiveSegmentation --python-script contract.py``.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import slicer

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "Testing" / "Python"))

from module import panel_contract, slice_contract, views_contract  # noqa: E402 - Slicer runs this file as a script

SIZE = (18, 16, 9)
AFFINES = {
    "axial": np.diag([1.0, 1.0, 1.0]),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "coronal": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
    "flipped": np.diag([-1.0, 1.0, -1.0]),
    "oblique": None,
}


def directions(name):
    """Direction matrix (LPS, row by row) of a name in ``AFFINES``."""
    matrix = AFFINES[name]
    if matrix is None:
        matrix, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    return tuple(float(value) for value in matrix.ravel())


def phantomStudy(module, folder, annotation="mask"):
    """A logic with a study of two generated patients open."""
    from ActiveSegmentationLib.cohort import write_phantom

    cohort = write_phantom(folder / "cohort", patients=2, slices=5, size=(48, 48), scribbles=False)
    logic = module.ActiveSegmentationLogic()
    logic.createStudy(folder / "study", cohort, annotation=annotation)
    return logic


def sliceNode():
    """The node of a slice view: the window's own where there is one."""
    if slicer.app.layoutManager() is not None:
        return slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "contract view")
    node.SetLayoutName("contract")
    return node


def draw(logic, value, mask):
    """A stroke on the open slice."""
    from ActiveSegmentationLib.scene import paint, segmentId

    case, index = logic.session.case, logic.session.task.slice.index
    segment = "Background" if value == 0 else segmentId(value)
    paint(case.segmentationNode, case.volumeNode, segment, case.volume.axis, index, mask)


def refused(act, words):
    """An action that must be refused with a message and advice."""
    from ActiveSegmentationLib.common.errors import BadInput

    try:
        act()
    except BadInput as error:
        problem = "" if words in str(error) and error.advice else str(error)
    else:
        problem = "it was not refused"
    assert not problem, problem


def square(logic, start=10):
    """A mask of 12 x 9 pixels on the open slice."""
    mask = np.zeros(logic.session.case.volume.plane_shape, dtype=bool)
    mask[start : start + 12, 8:17] = True
    return mask


def checkExactSlice(module, folder):
    """Strokes land exactly where the view shows them, in every orientation and along every axis."""
    from ActiveSegmentationLib.cohort import AnnotationKind, Geometry, slices_first
    from ActiveSegmentationLib.scene import (
        addVolumeNode,
        alignToSlice,
        capturePlane,
        createSegmentation,
        paint,
        segmentId,
        shownSlice,
    )
    from ActiveSegmentationLib.study import LabelSet

    labels = LabelSet.from_names({1: "one", 4: "four"})
    view = sliceNode()
    for name in AFFINES:
        geometry = Geometry(SIZE, (0.8, 1.1, 6.0), (12.5, -30.0, 44.0), directions(name))
        volume = addVolumeNode(np.zeros(geometry.array_shape, np.int16), geometry, name)
        for axis in range(3):
            index = geometry.slice_count(axis) - 3
            alignToSlice(view, geometry, axis, index)
            assert shownSlice(view, geometry, axis) == index, (name, axis)
            node = createSegmentation(volume, labels, AnnotationKind.MASK, name)
            mask = np.zeros(geometry.plane_shape(axis), dtype=bool)
            mask[2:5, 3:7] = True
            paint(node, volume, segmentId(4), axis, index, mask)
            plane = capturePlane(node, volume, labels, AnnotationKind.MASK, axis, index)
            assert np.array_equal(plane == 4, mask), (name, axis)
            whole = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId(4), volume)
            found = np.flatnonzero(slices_first(whole, axis).any(axis=(1, 2)))
            assert found.tolist() == [index], (name, axis, found)
            slicer.mrmlScene.RemoveNode(node)
        slicer.mrmlScene.RemoveNode(volume)


def checkMasks(module, folder):
    """A drawn mask is stored pixel by pixel; reopening a committed slice shows what was committed."""
    logic = phantomStudy(module, folder)
    study, session = logic.session.study, logic.session
    volume = study.cohort.volumes[0]
    session.openSlice(sliceOf(volume, 2))
    mask = square(logic)
    draw(logic, 2, mask)
    assert session.drafts.isDirty
    committed = logic.commitSlice()
    assert not session.drafts.isDirty
    assert np.array_equal(study.annotations()[committed].labels == 2, mask)
    session.openSlice(sliceOf(study.cohort.volumes[1], 0))
    session.openSlice(committed)
    assert np.array_equal(session.case.capture(2) == 2, mask)
    logic.close()


def checkScribbles(module, folder):
    """Only drawn pixels are labelled, including drawn background."""
    logic = phantomStudy(module, folder, "scribble")
    session = logic.session
    session.openSlice(sliceOf(session.study.cohort.volumes[0], 1))
    mask = square(logic)
    draw(logic, 1, mask)
    draw(logic, 0, np.roll(mask, 14, axis=0))
    sliceId = logic.commitSlice()
    stored = session.study.annotations()[sliceId].labels
    assert np.array_equal(stored == 1, mask)
    assert np.array_equal(stored == 0, np.roll(mask, 14, axis=0))
    assert (stored[~mask & ~np.roll(mask, 14, axis=0)] == 255).all()
    logic.close()


def checkNoStrokeIsLost(module, folder):
    """Closing the scene or removing the nodes keeps strokes as drafts, which are restored; no node remains."""
    logic = phantomStudy(module, folder)
    session = logic.session
    sliceId = sliceOf(session.study.cohort.volumes[0], 3)
    for lose in (
        lambda: slicer.mrmlScene.Clear(0),
        lambda: slicer.mrmlScene.RemoveNode(session.case.segmentationNode),
        lambda: slicer.mrmlScene.RemoveNode(session.case.volumeNode),
        session.cases.close,
    ):
        session.openSlice(sliceId)
        mask = square(logic, 5)
        draw(logic, 1, mask)
        lose()
        assert session.case is None
        session.openSlice(sliceId)
        assert np.array_equal(session.case.capture(3) == 1, mask)
    logic.commitSlice()
    assert not session.study.drafts.all(session.annotator)
    logic.close()
    left = [
        node for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetAttribute("ActiveSegmentation.Study")
    ]
    assert not left, left


def checkRefusals(module, folder):
    """What cannot be stored is refused with advice, and nothing is lost."""
    from ActiveSegmentationLib.scene.strokes import writeSegmentPlanes

    logic = phantomStudy(module, folder)
    session = logic.session
    session.openSlice(sliceOf(session.study.cohort.volumes[0], 2))
    refused(logic.commitSlice, "Nothing is drawn")
    refused(lambda: logic.skipSlice("  "), "reason")
    case, mask = session.case, square(logic)
    writeSegmentPlanes(
        case.segmentationNode, case.volumeNode, case.volume.axis, 2, {"Segment_1": mask, "Segment_3": mask}
    )
    refused(logic.commitSlice, "overlap")
    session.annotating.resolveOverlap()
    sliceId = logic.commitSlice()
    assert np.array_equal(session.study.annotations()[sliceId].labels == 3, mask)
    logic.close()


def checkExtents(module, folder):
    """Extents are marked in slices counted from 1, put in order, and cleared."""
    logic = phantomStudy(module, folder)
    session, study = logic.session, logic.session.study
    volume = study.cohort.volumes[0]
    logic.markExtent(volume.id, 2, 4)
    assert study.extents.all() == {volume.id: (1, 3)}
    refused(lambda: session.extents.markSlice("first", 0), "No slice is open")
    session.openSlice(sliceOf(volume, 0))
    assert session.extents.current == (1, 3)
    assert not session.extents.markSlice("last", 2)
    assert session.extents.markSlice("first", 4)
    assert study.extents.all() == {volume.id: (2, 4)}
    refused(lambda: logic.markExtent(volume.id, 1, 6), "not in the volume")
    assert session.extents.current == (2, 4)
    logic.clearExtent(volume.id)
    assert session.extents.current is None
    assert not study.extents.all()
    refused(lambda: logic.clearExtent("unknown"), "unknown")
    logic.close()


def checkParameters(module, folder):
    """The parameter node keeps the panels' values."""
    logic = module.ActiveSegmentationLogic()
    node = logic.getParameterNode()
    node.requestCount = 7
    node.strategy = "strided"
    node.autoTrain = True
    again = logic.getParameterNode()
    assert (again.requestCount, again.strategy, again.autoTrain) == (7, "strided", True)
    for wrong in (0, 501):
        try:
            node.requestCount = wrong
        except ValueError:
            continue
        raise AssertionError(wrong)
    logic.close()


def checkWorker(module, folder):
    """The worker answers, reports failures, and ends with the module."""
    from ActiveSegmentationLib.cohort import write_phantom
    from ActiveSegmentationLib.scene.scripting import waitFor

    cohort = write_phantom(folder / "cohort", patients=2, slices=3, size=(32, 32), scribbles=False)
    logic = module.ActiveSegmentationLogic()
    found = []
    logic.work.index(cohort, lambda cohort, labels: found.append((cohort, labels)))
    assert waitFor(lambda: found, 60), logic.work.client.log
    assert len(found[0][0].volumes) == 4
    assert [label.name for label in found[0][1].labels] == ["RV", "MYO", "LV"]
    refused(lambda: logic.suggest(2), "study")
    pid = logic.work.client.pid
    logic.close()
    assert logic.work.client.state == "stopped"
    assert pid


def sliceOf(volume, index):
    """Identity of a slice."""
    from ActiveSegmentationLib.cohort import SliceId

    return SliceId(volume.id, index)


# With a main window only: the test host has none.


def settled(condition, seconds=60):
    """Process events until a condition holds; at least until the module's next update."""
    from ActiveSegmentationLib.scene.scripting import waitFor

    waitFor(lambda: False, 0.2)
    assert waitFor(condition, seconds)


def openSample():
    """The module's widget with a slice of the sample study open, through its own buttons."""
    slicer.util.selectModule("ActiveSegmentation")
    widget = slicer.modules.ActiveSegmentationWidget
    settled(lambda: widget.ui.sampleButton.enabled)
    widget.ui.sampleButton.click()
    session = widget.logic.session
    assert session.study is not None, widget.ui.messageLabel.text
    session.openSlice(sliceOf(session.study.cohort.volumes[0], 3))
    settled(lambda: widget.ui.taskLabel.text)
    return widget


def checkPanel(module, folder):
    """The view shows exactly the open slice, framed and named; the buttons follow what is drawn, and commit."""
    from ActiveSegmentationLib.scene import shownSlice

    widget = openSample()
    ui, session, view = widget.ui, widget.logic.session, widget.logic.session.display.views.annotationView()
    geometry = session.case.volume.geometry
    assert shownSlice(view.sliceNode, geometry, session.case.volume.axis) == 3
    assert view.sliceLogic.GetSliceIndexFromOffset(view.sliceLogic.GetSliceOffset(), session.case.volumeNode) == 4
    assert "Slice 4 of" in session.display.text
    assert ui.segmentEditorWidget.segmentationNode() is session.case.segmentationNode
    assert ui.segmentEditorWidget.activeEffect().name == "Paint"
    assert not ui.commitButton.enabled
    assert ui.commitButton.toolTip
    draw(widget.logic, 1, square(widget.logic))
    settled(lambda: ui.commitButton.enabled)
    ui.commitButton.click()
    assert session.requests.annotatedCount == 1, ui.messageLabel.text
    session.closeStudy()


def checkMarks(module, folder):
    """A click marks the slice that the view shows, which need not be the open one; the panel says what is marked."""
    from ActiveSegmentationLib.scene import alignToSlice

    widget = openSample()
    ui, session = widget.ui, widget.logic.session
    view, volume = session.display.views.annotationView(), session.case.volume
    settled(lambda: ui.extentLabel.text == "Structures: not marked")
    assert not ui.clearExtentButton.enabled
    for button, index, text in (
        (ui.lastSliceButton, 1, "slices 1 to 2 of"),
        (ui.firstSliceButton, 4, "slices 2 to 5 of"),
        (ui.firstSliceButton, 2, "slices 3 to 5 of"),
    ):
        alignToSlice(view.sliceNode, volume.geometry, volume.axis, index)
        button.click()
        settled(lambda text=text: ui.extentLabel.text == f"Structures: {text} {volume.slice_count}")
        assert ("swapped" in ui.messageLabel.text) == (index == 4), ui.messageLabel.text
    assert session.study.extents.all() == {volume.id: (2, 4)}
    assert session.task.slice.index == 3
    ui.clearExtentButton.click()
    settled(lambda: ui.extentLabel.text == "Structures: not marked")
    assert not session.study.extents.all()
    session.cases.close()
    settled(lambda: not ui.firstSliceButton.enabled)
    assert "Next" in ui.firstSliceButton.toolTip
    session.closeStudy()


def checkStrategies(module, folder):
    """Unavailable strategies are greyed with the reason and not requested; options follow the strategy's name."""
    import qt

    widget = openSample()
    ui, work, parameters = widget.ui, widget.logic.work, widget.logic.getParameterNode()
    words = {"summary": "What it is for.", "options": {"beta": {"default": 1.0, "meaning": "how sharply"}}}
    work.strategies = [{"name": name, "hindrance": "", **words} for name in ("recommended", "power", "vote")]
    work.unavailableReason = lambda strategy: "Needs two models." if strategy.startswith("vote") else ""
    widget.wiring.update()
    box, line = ui.strategyComboBox, ui.strategyOptionsLineEdit
    model = box.model()
    assert [int(model.flags(model.index(row, 0))) & 32 for row in range(3)] == [32, 32, 0]
    assert box.itemData(2, qt.Qt.ToolTipRole) == "Needs two models."
    box.setCurrentIndex(1)
    line.text = "entropy/beta=5"
    assert parameters.strategy == "power:entropy/beta=5"
    widget.wiring.update()
    assert line.text == "entropy/beta=5"
    line.text = "beta=5"
    assert parameters.strategy == "power/beta=5"
    assert ui.suggestButton.enabled
    parameters.strategy = "vote"
    widget.wiring.update()
    assert (box.currentIndex, line.text) == (2, "")
    assert not ui.suggestButton.enabled
    assert "Needs two models." in ui.suggestButton.toolTip  # Slicer puts tooltips into paragraphs
    assert "Needs two models." in ui.strategyLabel.text
    del work.unavailableReason
    widget.logic.session.closeStudy()


def checkLifeOfTheModule(module, folder):
    """Leaving, closing the scene and reloading: nothing is lost, and nothing of the module remains."""
    widget = openSample()
    session = widget.logic.session
    mask = square(widget.logic)
    draw(widget.logic, 1, mask)
    sliceId, study = session.task.slice, session.study.folder
    slicer.util.selectModule("Data")
    assert widget.ui.segmentEditorWidget.activeEffect() is None
    slicer.util.selectModule("ActiveSegmentation")
    slicer.mrmlScene.Clear(0)
    assert session.case is None
    counts = []
    for _ in range(3):
        session.openSlice(sliceId)
        assert np.array_equal(session.case.capture(3) == 1, mask)
        slicer.util.reloadScriptedModule("ActiveSegmentation")
        session = slicer.modules.ActiveSegmentationWidget.logic.session
        session.openStudy(study)
        settled(lambda: True)
        counts.append(slicer.mrmlScene.GetNumberOfNodes())
    assert len(set(counts)) == 1, counts
    session.closeStudy()


WINDOW_CHECKS = (
    checkPanel,
    checkMarks,
    checkStrategies,
    checkLifeOfTheModule,
    *views_contract.WINDOW_CHECKS,
    *panel_contract.WINDOW_CHECKS,
)
"""Checks that need Slicer's main window."""

CHECKS = (
    checkExactSlice,
    checkMasks,
    checkScribbles,
    checkNoStrokeIsLost,
    checkRefusals,
    checkExtents,
    checkParameters,
    checkWorker,
    *views_contract.CHECKS,
    *slice_contract.CHECKS,
)
"""All checks; the most informative failures come first."""


def main():
    """Run the checks in Slicer; the exit code."""
    import ActiveSegmentation

    failed = []
    for check in CHECKS + (() if slicer.app.layoutManager() is None else WINDOW_CHECKS):
        slicer.mrmlScene.Clear(0)
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(ActiveSegmentation, Path(folder))
                print(f"passed: {check.__name__}")
            except Exception:  # noqa: BLE001 - the other checks must run too
                traceback.print_exc()
                print(f"FAILED: {check.__name__}")
                failed.append(check.__name__)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    slicer.util.exit(main())
