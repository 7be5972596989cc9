"""What was found in the images is shown before a study is created; volumes are excluded and included again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK

from ActiveSegmentationLib.cohort import Preview, SliceId, discover, write_phantom, write_previews
from ActiveSegmentationLib.panels.understood import understood


def read(module, folder):
    """Read images as the user does."""
    module.click("newStudyButton")
    module.ui.cohortPathLineEdit.currentPath = str(folder)
    module.settle()
    module.click("lookButton")
    module.finish()


def test_return_in_the_path_reads_the_images(module, tmp_path):
    import qt

    write_phantom(tmp_path / "cohort", patients=1, slices=2, size=(36, 30), scribbles=False)
    module.click("newStudyButton")
    field = module.ui.cohortPathLineEdit.findChild(qt.QLineEdit)
    field.returnPressed.emit()
    assert not module.work.running
    field.setText(str(tmp_path / "cohort"))
    for _ in range(2):  # the second must not stop the first
        field.returnPressed.emit()
    module.finish()
    assert module.ui.messageButton.text == "Create study", module.message


def pictures(module):
    labels = [getattr(module.ui, f"previewLabel{number}") for number in range(3)]
    return [label for label in labels if label.isVisibleTo(module.widget.uiWidget)]


def test_the_images_are_shown_before_anything_is_created(module, tmp_path):
    write_phantom(tmp_path / "cohort", patients=3, slices=4, size=(36, 30), scribbles=False)
    read(module, tmp_path / "cohort")
    text = module.ui.understoodLabel.text
    assert "4 slices a volume" in text
    assert "36" in text
    assert "One channel" in text
    assert "Intensities" in text
    assert "Reference labels: in 6 of 6 volumes" in text
    table = module.ui.cohortTable
    assert table.isColumnHidden(0), "the volumes' names begin with the patients'"
    name = table.item(0, 1).text()
    assert table.fontMetrics().horizontalAdvance(name) < table.columnWidth(1), name
    shown = pictures(module)
    assert len(shown) == 3
    assert all(not label.pixmap.isNull() and label.pixmap.width() > 50 for label in shown)
    assert "slice 3" in shown[0].toolTip
    assert module.session.study is None
    assert not (tmp_path / "cohort-study").exists()
    assert module.ui.messageButton.text == "Create study"
    module.click("messageButton")
    assert module.session.study is not None, module.message
    assert not pictures(module)


def test_the_button_of_the_message_creates_no_study_that_the_panel_would_not(module, tmp_path, monkeypatch):
    write_phantom(tmp_path / "cohort", patients=1, slices=2, size=(36, 30), scribbles=False)
    monkeypatch.chdir(tmp_path)
    read(module, tmp_path / "cohort")
    module.ui.studyPathLineEdit.currentPath = ""
    module.click("messageButton")
    assert "Choose a folder for the study." in module.message
    assert module.session.study is None
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


@pytest.mark.parametrize(
    ("size", "kept", "side", "kind"),
    [((36, 30), "mask", 2, 0), ((200, 180), "mask", 0, 0), ((36, 30), "scribble", 2, 1)],
)
def test_size_and_kind_of_annotation_fit_the_images(module, tmp_path, size, kept, side, kind):
    write_phantom(tmp_path / "cohort", patients=1, slices=2, size=size)
    found = discover(tmp_path / "cohort")
    other = "scribble" if kept == "mask" else "mask"
    cohort = found.with_volumes(tuple(replace(volume, **{other: None}) for volume in found.volumes))
    module.wiring.study._onIndexed(cohort, None)
    assert module.ui.resolutionComboBox.currentIndex == side
    assert module.ui.kindComboBox.currentIndex == kind


def write_ct(folder, count=2):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.normal(40, 20, (6, 20, 24)).astype(np.int16)
        pixels[:, :5] = -1000
        image = SimpleITK.GetImageFromArray(pixels)
        image.SetSpacing((0.7, 0.7, 5.0))
        SimpleITK.WriteImage(image, str(folder / f"ct{number}.nii.gz"))
    return folder


def test_ct_is_recognised(tmp_path):
    cohort = discover(write_ct(tmp_path / "ct"))
    lines = understood(cohort, write_previews(cohort, tmp_path / "pictures"))
    assert any("CT" in line and "-1,000" in line for line in lines), lines
    assert any("0.7 mm" in line for line in lines), lines
    assert any("none are needed" in line for line in lines), lines


def test_previews_are_few_and_a_broken_image_is_reported(tmp_path):
    cohort = discover(write_ct(tmp_path / "ct", 7))
    (tmp_path / "ct" / "ct3.nii.gz").write_bytes(b"no image")
    previews = write_previews(cohort, tmp_path / "pictures")
    assert [preview.slice for preview in previews] == [SliceId(cohort.volumes[n].id, 3) for n in (0, 3, 6)]
    assert [preview.file is None for preview in previews] == [False, True, False]
    assert "ct3" in previews[1].problem
    assert [Preview.from_json(preview.to_json()) for preview in previews] == previews
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    assert write_previews(cohort.with_volumes(()), tmp_path / "pictures") == []
    assert understood(cohort.with_volumes(())) == []


@pytest.mark.parametrize("name", ["hippocampus", "acdc", "mouse-brain"])
def test_real_cohorts_are_understood(real_data, tmp_path, name):
    cohort = discover(real_data / name)
    previews = write_previews(cohort, tmp_path)
    lines = understood(cohort, previews)
    assert len(previews) == 3
    assert all(preview.file is not None for preview in previews), previews
    assert len(lines) >= 5


# Volumes that are left out


def test_a_volume_is_left_out_and_taken_back_in_the_table(drawing):
    session, ui = drawing.session, drawing.ui
    volume = session.case.volume.id
    drawing.draw(1, np.ones(session.case.volume.plane_shape, dtype=bool))
    assert not ui.leaveOutButton.enabled
    row = next(n for n in range(ui.cohortTable.rowCount) if ui.cohortTable.item(n, 1).text() == volume)
    ui.cohortTable.selectRow(row)
    drawing.settle()
    drawing.click("leaveOutButton")
    assert list(session.study.excluded()) == [volume]
    assert session.case is None
    assert "left out" in ui.cohortTable.item(row, 5).text()
    assert volume in drawing.message
    assert not ui.leaveOutButton.enabled
    assert session.nextRow().request.slice.volume != volume
    assert ui.messageButton.text == "Undo"
    drawing.click("messageButton")
    assert not session.study.excluded()
    assert "left out" not in ui.cohortTable.item(row, 5).text()
    session.openRequest(1)
    assert session.drafts.isDirty  # the strokes are still there
    ui.cohortTable.selectRow(row)
    drawing.settle()
    drawing.click("leaveOutButton")
    drawing.click("takeBackButton")
    assert not session.study.excluded()


def test_the_table_is_that_of_the_open_study(asked):
    ui = asked.ui
    assert ui.cohortTable.rowCount == 4
    assert ui.leaveOutButton.isVisibleTo(ui.imagesCollapsibleButton) or ui.imagesCollapsibleButton.collapsed
    asked.session.closeStudy()
    asked.settle()
    assert ui.cohortTable.rowCount == 0
