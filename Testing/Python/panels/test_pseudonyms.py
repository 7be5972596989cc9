"""A study whose patients and volumes have pseudonyms, created in the panel."""

from __future__ import annotations

import json

import slicer

from ActiveSegmentationLib.cohort import SliceId, discover
from ActiveSegmentationLib.study import Study


def texts(module):
    """What the panel shows: labels, tooltips and tables."""
    import qt

    root = module.widget.uiWidget
    for label in (one for one in root.findChildren(qt.QLabel) if not hasattr(type(one), "standIn")):
        yield from (label.text, label.toolTip)
    for table in root.findChildren(qt.QTableWidget):
        for row in range(table.rowCount):
            for column in range(table.columnCount):
                item = table.item(row, column)
                yield from (item.text(), item.toolTip()) if item is not None else ()


def test_a_study_with_pseudonyms_shows_no_name_of_a_file(module, cohort, tmp_path):
    ui, key = module.ui, tmp_path / "safe" / "key.json"
    module.click("newStudyButton")
    ui.cohortPathLineEdit.currentPath = str(cohort)
    module.settle()
    module.click("lookButton")
    module.finish()
    assert not ui.keyPathLineEdit.isVisibleTo(module.widget.uiWidget)
    module.click("pseudonymsCheckBox")
    assert ui.keyPathLineEdit.isVisibleTo(module.widget.uiWidget)
    ui.studyPathLineEdit.currentPath = str(tmp_path / "study")
    module.settle()
    assert not ui.createStudyButton.enabled
    assert "key file" in ui.createStudyButton.toolTip
    module.click("messageButton")  # it offers to create the study, too
    assert module.session.study is None
    assert "key file" in module.message

    ui.keyPathLineEdit.currentPath = str(tmp_path / "study" / "key.json")
    module.settle()
    module.click("createStudyButton")
    assert module.session.study is None
    assert "passed on" in module.message

    ui.keyPathLineEdit.currentPath = str(key)
    module.settle()
    module.click("createStudyButton")
    assert module.session.study is not None, module.message
    assert not ui.pseudonymsCheckBox.checked
    names = {text for volume in discover(cohort).volumes for text in (volume.patient, volume.id)}
    given = {row["volume"]: row["pseudonyms"] for row in json.loads(key.read_text(encoding="utf-8"))["volumes"]}
    volumes = module.session.study.cohort.volumes
    assert {volume.id for volume in volumes} == {volume for _, volume in given.values()}
    shown = {ui.cohortTable.item(row, 1).text() for row in range(ui.cohortTable.rowCount)}
    assert shown == {volume.id for volume in volumes}

    module.session.openSlice(SliceId(volumes[0].id, 2))
    module.settle()
    assert volumes[0].id in module.session.display.text
    nodes = slicer.mrmlScene.GetNodes()
    found = [nodes.GetItemAsObject(number).GetName() or "" for number in range(nodes.GetNumberOfItems())]
    for text in [*texts(module), *found, module.session.display.text]:
        assert not any(name in text for name in names), text


def test_scripts_create_studies_with_pseudonyms(module, cohort, tmp_path):
    study = module.logic.createStudy(tmp_path / "study", cohort, pseudonyms=tmp_path / "key.json")
    assert all(volume.id.startswith("P") for volume in study.cohort.volumes)
    again = module.logic.createStudy(tmp_path / "second", cohort, pseudonyms=tmp_path / "key.json")
    assert again.cohort.volumes == Study.open(study.folder).cohort.volumes
