"""The whole flow through the panels, on a generated cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, read_labels, slices_first, write_phantom
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene import alignToSlice, shownSlice
from ActiveSegmentationLib.scene.overlays import readPrediction


def truth(session, kind=AnnotationKind.MASK):
    """The reference labels of the slice being annotated."""
    volume = session.case.volume
    labels = slices_first(read_labels(session.study.cohort, volume, kind), volume.axis)
    return labels[session.task.slice.index]


def test_panels_open_without_a_study(module):
    assert not module.ui.suggestButton.enabled
    assert "study" in module.ui.suggestButton.toolTip.lower()
    assert module.message == ""


def test_sample_to_first_commit_in_four_clicks(module):
    module.click("sampleButton")
    assert module.session.study is not None
    module.click("suggestButton")
    module.finish()
    assert len(module.session.requests.rows) == 10
    assert module.session.task is not None
    module.clicks += 1  # the stroke, with the brush that is chosen already
    module.drawTruth(truth(module.session))
    if module.session.case.isEmpty(module.session.task.slice.index):
        module.click("emptyButton")
    else:
        module.click("commitButton")
    assert module.session.requests.annotatedCount == 1
    assert module.clicks == 4


def test_whole_loop(module, tmp_path):
    write_phantom(tmp_path / "cohort", patients=3)
    module.click("newStudyButton")
    module.ui.cohortPathLineEdit.currentPath = str(tmp_path / "cohort")
    module.settle()
    module.click("lookButton")
    module.finish()
    assert module.ui.cohortTable.rowCount == 6
    assert module.ui.labelsTable.rowCount == 3
    module.ui.studyPathLineEdit.currentPath = str(tmp_path / "study")
    module.settle()
    module.click("createStudyButton")
    assert module.session.study is not None, module.message
    module.ui.countSpinBox.value = 4
    module.settle()
    module.click("suggestButton")
    module.finish()
    assert len(module.session.requests.rows) == 4
    for _ in range(4):
        task = module.session.task
        view = module.views.view
        assert shownSlice(view.sliceNode, module.session.case.volume.geometry, 2) == task.slice.index
        place = f"Slice {task.slice.index + 1} of {module.session.case.volume.slice_count}"
        assert module.session.display.text == f"{place} · {task.slice.volume} · request {task.row.number} of 4"
        plane = truth(module.session)
        module.drawTruth(plane)
        module.click("commitButton" if plane.any() else "emptyButton")
        if module.session.requests.annotatedCount == 1:
            assert module.clicks <= 6  # New study, Read images, Create study, a number, Suggest, Commit
        assert np.array_equal(module.session.study.annotations()[task.slice].labels, plane)
    assert "All requests are answered" in module.message
    module.ui.stepsSpinBox.value = 20
    module.settle()
    module.click("trainButton")
    module.finish()
    assert module.work.curve[-1]["annotated"] == 4, module.message
    module.click("predictButton")
    module.finish()
    assert module.ui.reviewTable.rowCount == 6
    module.click("suggestButton")
    module.finish()
    assert module.session.requests.round == 2
    module.click("uncertaintyCheckBox")
    module.finish()
    assert module.session.display.uncertaintyShown, module.message
    module.click("showPredictionCheckBox")
    assert module.session.display.predictionShown, module.message
    module.click("predictionButton")
    case = module.session.case
    planes = readPrediction(Path(module.session.overlays.review()["labels"]), case.volume.geometry, case.volume.axis)
    index = module.session.task.slice.index
    if planes[index].any():
        assert case.prelabel(index) == module.session.overlays.review()["model"]
    else:  # so short a training may find nothing here
        assert case.prelabel(index) is None
        assert "Nothing to draw" in module.message
    module.ui.exportPathLineEdit.currentPath = str(tmp_path / "out")
    module.settle()
    module.click("exportButton")
    module.finish()
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 6, module.message
    module.click("mapButton")
    module.finish()
    assert len(module.work.sliceMap["places"]) == sum(v.slice_count for v in module.session.study.cohort.volumes)
    module.click("curveButton")


@pytest.mark.parametrize("kind", ["scribble"])
def test_scribbles(module, tmp_path, kind):
    write_phantom(tmp_path / "cohort", patients=2)
    module.logic.createStudy(tmp_path / "study", tmp_path / "cohort", annotation=kind)
    module.logic.suggest(2)
    module.logic.openRequest(1)
    module.settle()
    assert "unlabelled" in module.ui.hintLabel.text
    plane = truth(module.session, AnnotationKind.SCRIBBLE)
    module.drawTruth(plane)
    sliceId = module.session.task.slice
    module.click("commitButton")
    assert np.array_equal(module.session.study.annotations()[sliceId].labels, plane)


# Where the structures are

SLICES = 9
BUTTONS = ("firstSliceButton", "lastSliceButton", "clearExtentButton")


@pytest.fixture(params=[1.0, -1.0], ids=["along the view", "against the view"])
def marking(request, module, tmp_path):
    """A volume is open whose slices are counted in the scrolling direction, or against it."""
    import SimpleITK

    write_phantom(tmp_path / "cohort", patients=1, slices=SLICES, size=(40, 40), scribbles=False)
    for path in (tmp_path / "cohort").rglob("*.nii.gz"):
        image = SimpleITK.ReadImage(str(path))
        if image.GetDimension() == 3:
            image.SetDirection((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, request.param))
            SimpleITK.WriteImage(image, str(path))
    with module.withoutWorker():
        study = module.logic.createStudy(tmp_path / "study", tmp_path / "cohort")
    module.session.openSlice(slices(study)[4])
    module.settle()
    module.reversed = request.param < 0
    return module


def slices(study):
    return [SliceId(study.cohort.volumes[0].id, index) for index in range(SLICES)]


def scroll(module, index):
    """Let the view show another slice without opening it."""
    volume = module.session.case.volume
    alignToSlice(module.views.view.sliceNode, volume.geometry, volume.axis, index)


def clickAt(module, index, name):
    """Scroll to a slice and click a button."""
    scroll(module, index)
    module.click(name)


def marked(module):
    """The marked extent of the open volume, from the disk."""
    return module.session.study.extents.all().get(module.session.case.volume.id)


def test_the_first_and_the_last_slice_are_marked_by_clicks(marking):
    ui = marking.ui
    assert ui.extentLabel.text == "Structures: not marked"
    assert not ui.clearExtentButton.enabled
    assert "No extent is marked" in ui.clearExtentButton.toolTip
    clickAt(marking, 2, "firstSliceButton")
    assert marked(marking) == (2, SLICES - 1)
    assert ui.extentLabel.text == f"Structures: slices 3 to {SLICES} of {SLICES}"
    clickAt(marking, 6, "lastSliceButton")
    assert marked(marking) == (2, 6)
    assert ui.extentLabel.text == f"Structures: slices 3 to 7 of {SLICES}"
    assert marking.message == ""
    assert marking.session.task.slice.index == 4  # marking opens no slice
    marking.click("clearExtentButton")
    assert marked(marking) is None
    assert ui.extentLabel.text == "Structures: not marked"
    marking.click("lastSliceButton")
    assert marked(marking) == (0, 6)
    clickAt(marking, 1, "firstSliceButton")
    assert marked(marking) == (1, 6)
    clickAt(marking, 6, "firstSliceButton")
    assert marked(marking) == (6, 6)
    assert ui.extentLabel.text == f"Structures: slice 7 of {SLICES}"
    assert marking.message == ""


def test_ends_clicked_as_the_view_scrolls_are_put_in_the_order_of_the_volume(marking):
    """The user scrolls from the feet to the head and presses First, then Last, whichever way slices are counted."""
    logic, spacing = marking.views.view.sliceLogic, marking.session.case.volume.geometry.spacing[2]
    offset = logic.GetSliceOffset()
    logic.SetSliceOffset(offset - 2 * spacing)
    marking.click("firstSliceButton")
    logic.SetSliceOffset(offset + spacing)
    marking.click("lastSliceButton")
    assert marked(marking) == ((3, 6) if marking.reversed else (2, 5))
    assert ("swapped" in marking.message) == marking.reversed
    if marking.reversed:
        assert "slices 4 to 7" in marking.message
    marking.click("lastSliceButton")  # the second half of a double click
    assert marked(marking) == ((3, 6) if marking.reversed else (2, 5))
    assert ("swapped" in marking.message) == marking.reversed


def test_no_order_of_clicks_is_refused(marking):
    for name, index, expected in (
        ("lastSliceButton", 3, (0, 3)),
        ("firstSliceButton", 5, (3, 5)),
        ("lastSliceButton", 1, (1, 3)),
        ("firstSliceButton", 8, (3, 8)),
        ("lastSliceButton", 8, (3, 8)),
        ("firstSliceButton", 0, (0, 8)),
    ):
        clickAt(marking, index, name)
        assert marked(marking) == expected, (name, index)
        assert ("swapped" in marking.message) == (expected[0 if name == "firstSliceButton" else 1] != index)


def test_a_view_outside_the_volume_marks_nothing(marking):
    logic = marking.views.view.sliceLogic
    logic.SetSliceOffset(logic.GetSliceOffset() + 1000.0)
    for name in ("firstSliceButton", "lastSliceButton"):
        marking.click(name)
        assert "The view shows no slice of the open volume" in marking.message
        assert marked(marking) is None


def test_marks_belong_to_their_volume_and_need_one(marking):
    ui, session = marking.ui, marking.session
    marking.click("firstSliceButton")
    other = session.study.cohort.volumes[1].id
    session.openSlice(SliceId(other, 0))
    marking.settle()
    assert ui.extentLabel.text == "Structures: not marked"
    marking.logic.markExtent(other, 2, 3)
    marking.settle()
    assert ui.extentLabel.text == f"Structures: slices 2 to 3 of {SLICES}"
    with pytest.raises(BadInput, match="comes after"):
        marking.logic.markExtent(other, 3, 2)
    session.cases.close()
    marking.settle()
    assert ui.extentLabel.text == "Structures:"
    for name in BUTTONS:
        assert not getattr(ui, name).enabled
        assert "Open a request first" in getattr(ui, name).toolTip
    study = session.study
    session.closeStudy()
    with marking.withoutWorker():
        session.openStudy(study.folder)
    session.openSlice(slices(study)[0])
    marking.settle()
    assert ui.extentLabel.text == f"Structures: slices 5 to {SLICES} of {SLICES}"
    assert "first of this volume" in ui.firstSliceButton.toolTip
    marking.logic.clearExtent(slices(study)[0].volume)
    marking.settle()
    assert ui.extentLabel.text == "Structures: not marked"
    session.closeStudy()
    for act in (lambda: marking.logic.markExtent(other, 1, 2), lambda: marking.logic.clearExtent(other)):
        with pytest.raises(BadInput, match="No study is open"):
            act()


def test_marks_that_another_process_made_are_kept(marking):
    from ActiveSegmentationLib.study import Study

    other, volume = Study.open(marking.session.study.folder), marking.session.case.volume.id
    other.extents.mark(volume, 2, 6)
    clickAt(marking, 7, "lastSliceButton")
    assert marked(marking) == (2, 7)
    clickAt(marking, 8, "firstSliceButton")
    assert marked(marking) == (7, 8)
    other.extents.clear(volume)
    marking.click("firstSliceButton")  # not a double click: its message is gone
    assert marked(marking) == (8, 8)


def test_damaged_extents_are_reported_and_annotating_goes_on(marking, caplog):
    session = marking.session
    path = session.study.folder / "extents.json"
    path.write_text("{}", encoding="utf-8")
    sliceId = session.task.slice
    session.refresh()
    assert "marked extents are damaged" in caplog.text
    marking.click("emptyButton")
    assert sliceId in session.study.annotations()
    clickAt(marking, 2, "firstSliceButton")
    assert "marked extents are damaged" in marking.message
    assert path.read_text(encoding="utf-8") == "{}"


def test_an_error_that_was_not_foreseen_is_shown_too(module):
    with pytest.raises(ZeroDivisionError):
        module.wiring.study.act(lambda: 1 / 0)()
    assert "ZeroDivisionError" in module.message
