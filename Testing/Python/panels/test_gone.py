"""The folder of the open study is gone (an unplugged drive): the panel keeps working and reports it on request."""

from __future__ import annotations

import os

import numpy as np
import pytest
import slicer
from module.held_client import heldIn


def problem(name):
    return {"volume": name, "where": "", "message": "It ends early.", "advice": ""}


def finish(module, worker, name, **answer):
    job = next(job for job in worker.jobs if job.name == name and job.active)
    job.active = False
    job.done.emit(answer)
    module.settle()


def unplug(module):
    folder = module.session.study.folder
    os.rename(folder, folder.with_name("away"))
    return folder


def test_the_panel_updates_without_its_study(drawing, monkeypatch):
    worker = heldIn(monkeypatch, drawing.work)
    volumes = drawing.session.study.cohort.volumes
    drawing.work.predict()
    finish(drawing, worker, "predict", reviews=[], left_out=[problem(volumes[-1].id)])
    drawing.draw(1, np.ones(drawing.session.case.volume.plane_shape, dtype=bool))
    folder = unplug(drawing)
    drawing.wiring.images._study = None  # as when the panel has not shown the study yet
    for name in ("advanced", "study", "images"):
        getattr(drawing.ui, f"{name}CollapsibleButton").collapsed = False
    drawing.wiring.update()
    assert volumes[-1].id in drawing.ui.offerLabel.text
    assert drawing.ui.commitButton.enabled
    drawing.click("commitButton")
    assert drawing.message
    assert "still there" in drawing.message
    assert not folder.exists(), "nothing is created in its place"
    assert drawing.session.drafts.isDirty
    os.rename(folder.with_name("away"), folder)
    drawing.click("commitButton")
    assert len(drawing.session.study.annotations()) == 1


def test_updating_the_panel_reads_no_file_of_the_study(drawing, monkeypatch):
    study = drawing.session.study
    drawing.ui.advancedCollapsibleButton.collapsed = False
    drawing.settle()

    def refuse(*_, **__):
        raise AssertionError("read")

    for name in ("excluded", "slice_files", "annotations", "cache_size"):
        monkeypatch.setattr(study, name, refuse)
    for part, name in ((study.requests, "rounds"), (study.requests, "read"), (study.drafts, "all")):
        monkeypatch.setattr(part, name, refuse)
    drawing.wiring.update()
    drawing.wiring.update()
    monkeypatch.undo()


@pytest.mark.parametrize("node", ["volumeNode", "segmentationNode"])
def test_a_volume_that_is_deleted_from_the_scene_is_reported_and_its_strokes_are_saved(drawing, node):
    drawing.draw(1, np.ones(drawing.session.case.volume.plane_shape, dtype=bool))
    sliceId = drawing.session.task.slice
    slicer.mrmlScene.RemoveNode(getattr(drawing.session.case, node))
    drawing.settle()
    assert f"{sliceId.volume} was removed from the scene. What was drawn is saved" in drawing.message
    drawing.session.openSlice(sliceId)
    assert not drawing.session.case.isEmpty(sliceId.index)
