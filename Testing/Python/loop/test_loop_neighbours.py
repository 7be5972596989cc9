"""A model that sees neighbouring slices goes through every step of a study: suggestions of all kinds, predictions."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, StackSettings, discover
from ActiveSegmentationLib.experiment import OracleAnnotator
from ActiveSegmentationLib.loop import LoopSettings, StudyLoop
from ActiveSegmentationLib.segmentation import predict_volume
from ActiveSegmentationLib.study import Study, label_set_for

STRATEGIES = ("entropy", "dropout-jsd/passes=2", "tta-jsd/passes=2", "coreset:segmenter", "badge/parameters=50")


@pytest.fixture(scope="module")
def loop(tmp_path_factory, phantom_cohort):
    """A trained study whose planes are larger than the grid, so that windows have neighbours too."""
    folder = tmp_path_factory.mktemp("neighbours")
    shutil.copytree(phantom_cohort, folder / "cohort")
    cohort = discover(folder / "cohort")
    training = replace(LoopSettings().training, steps=2, batch_size=2, features=(8, 8, 8, 8, 8), neighbours=1)
    settings = LoopSettings(stack=StackSettings(spacing=4.5, size=(16, 16)), training=training)
    labels = label_set_for(cohort, None)
    study = Study.create(folder / "study", cohort, labels, AnnotationKind.MASK, settings=settings.to_json())
    loop = StudyLoop(study, device="cpu")
    asked = loop.suggest(3, "strided")
    oracle = OracleAnnotator(loop.stack, AnnotationKind.MASK)
    study.commit(oracle.annotate([r.slice for r in asked.requests], 1))
    loop.train()
    return loop


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_that_look_at_the_model_can_use_it(loop, strategy):
    asked = loop.suggest(2, strategy)
    assert len(asked.requests) == 2
    assert all(request.score is not None for request in asked.requests)  # without a model, slices have no score


def test_volumes_are_predicted_in_their_own_planes_whatever_the_batches(loop):
    model, volume = loop.require_model()[1], loop.stack.volumes[0]
    found = predict_volume(model, loop.stack, volume.id)
    assert found.labels.shape == (volume.slice_count, *volume.plane_shape)
    rows = loop.stack.volume_rows(volume.id)
    alone = np.concatenate([model.probabilities(loop.stack, rows[n : n + 1]) for n in range(len(rows))])
    assert np.allclose(alone, model.probabilities(loop.stack, rows), atol=1e-5)
    assert {batch.inputs.shape[1] for batch in model.batches(loop.stack, rows)} == {3 * loop.stack.channels}
    assert loop.stack.whole is not None
