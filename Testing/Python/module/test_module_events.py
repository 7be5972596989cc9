"""Events at every step: nothing is lost, and work can continue."""

from __future__ import annotations

import shutil

import pytest

from ActiveSegmentationLib.cohort import SliceId

from .flow import checkStrokes, ownedNodes
from .flow_events import ALWAYS, WITH_CASE, WITH_STUDY, changeImage, deleteImages, removePrediction
from .flow_steps import STEPS, nothingOpen, predictionShown, sliceOpen


def combinations():
    for step in STEPS:
        for event in ALWAYS:
            yield step, event
        if step is not nothingOpen:
            yield from ((step, event) for event in WITH_STUDY)
        if STEPS.index(step) >= STEPS.index(sliceOpen):
            yield from ((step, event) for event in WITH_CASE)
    yield predictionShown, removePrediction


@pytest.mark.parametrize(
    ("step", "event"), [pytest.param(s, e, id=f"{s.__name__}-{e.__name__}") for s, e in combinations()]
)
def test_nothing_is_lost(flow, step, event):
    if event in (deleteImages, changeImage):
        flow.cohorts = shutil.copytree(flow.cohorts, flow.tmp / "cohorts")
    step(flow)
    before = flow.commits() if flow.study is not None else {}
    module = flow.module
    event(flow)
    flow.module.settle()
    flow.module.wiring.update()
    assert not flow.host.errors
    if flow.held is not None and flow.module is module:
        flow.answer()
    if step is nothingOpen:
        if flow.study is None:
            flow.createStudy()
    elif flow.study is None or flow.study.folder != flow.folder:
        flow.openStudy()
    assert flow.commits() == before
    checkStrokes(flow)
    flow.session.cases.close()  # remaining strokes must be restored from their draft as well
    checkStrokes(flow)
    goesOn(flow, before)
    flow.close()
    assert not ownedNodes()
    assert not flow.host.errors


def goesOn(flow, before):
    """Another slice of another volume can be opened, drawn on and committed."""
    sliceId = SliceId(flow.study.cohort.volumes[2].id, 0)
    flow.session.openSlice(sliceId)
    flow.module.settle()
    assert flow.module.ui.taskLabel.text == flow.session.describeTask()
    flow.module.draw(1, flow.mask())
    assert flow.module.ui.commitButton.enabled
    flow.module.click("commitButton")
    after = flow.commits()
    assert after.keys() == before.keys() | {sliceId}
    assert {s: after[s] for s in before} == before
