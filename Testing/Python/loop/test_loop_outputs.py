from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from recorded_progress import RecordedProgress

from ActiveSegmentationLib.cohort import AnnotationKind, Role, StackSettings, discover, with_roles
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.loop import LoopSettings, StudyLoop, evaluate_study, training
from ActiveSegmentationLib.study import Study, label_set_for


@pytest.fixture
def study(tmp_path, phantom_cohort):
    """make(unlabelled) -> a loop whose test volumes are those of the last patient; some have no mask."""

    def make(*unlabelled: int) -> StudyLoop:
        root = shutil.copytree(phantom_cohort, tmp_path / "cohort")
        masks = sorted(root.glob("patient004/*_gt.nii.gz"))
        for number in unlabelled:
            masks[number].unlink()
        cohort = with_roles(discover(root), {Role.TEST: ("patient004",)})
        settings = LoopSettings(stack=StackSettings(spacing=4.5, size=(32, 32)))
        labels = label_set_for(cohort)
        Study.create(tmp_path / "study", cohort, labels, AnnotationKind.MASK, settings=settings.to_json())
        loop = StudyLoop(Study.open(tmp_path / "study"), device="cpu", progress=RecordedProgress())
        loop.require_model = lambda: (0, SimpleNamespace(key="key"))  # type: ignore[method-assign]
        return loop

    return make


@pytest.fixture(autouse=True)
def _background_everywhere(monkeypatch):
    def predict(model, stack, volume_id, **options):
        volume = stack.volume(volume_id)
        return SimpleNamespace(labels=np.zeros((volume.slice_count, *volume.plane_shape), np.uint8))

    monkeypatch.setattr(training, "predict_volume", predict)


def test_all_test_volumes_are_scored(study):
    loop = study()
    role, scores = evaluate_study(loop, metrics=("dice",))
    assert role == Role.TEST
    assert {score.volume for score in scores} == {v.id for v in loop.cohort.volumes if v.role == Role.TEST}
    assert not any("not scored" in message for message in loop.progress.messages)


def test_test_volumes_without_masks_are_left_out_and_named(study):
    loop = study(0)
    without, with_mask = (volume.id for volume in loop.cohort.volumes if volume.role == Role.TEST)
    role, scores = evaluate_study(loop, metrics=("dice",))
    assert role == Role.TEST
    assert {score.volume for score in scores} == {with_mask}
    assert [message for message in loop.progress.messages if without in message]
    assert loop.study.requests.read_record(0, "metrics")["not scored"] == [without]


def test_without_any_mask_on_the_test_volumes_nothing_is_scored(study):
    with pytest.raises(BadInput, match="no reference masks"):
        evaluate_study(study(0, 1))
