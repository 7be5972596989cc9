"""What strategies get from a pool: one sweep for all scores, volumes as items, what is annotated and known."""

from __future__ import annotations

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool, fake_statistics

from ActiveSegmentationLib.acquisition import Pool, RoundPlan, ScoreSpec, create_strategy
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import Ensemble
from ActiveSegmentationLib.uncertainty import Deterministic, Dropout


class CountingEnsemble(Ensemble):
    """Counts the images it predicts."""

    seen = 0

    def predict(self, images):
        CountingEnsemble.seen += len(images)
        return super().predict(images)


def test_one_sweep_serves_all_declared_scores_of_a_sampler():
    model = CountingEnsemble(fake_model(1).members)
    CountingEnsemble.seen = 0
    specs = (
        ScoreSpec(Deterministic(), "entropy"),
        ScoreSpec(Deterministic(), "class-share"),
        ScoreSpec(Dropout(3), "std"),
    )
    pool = fake_pool(model=model, score_specs=specs)
    assert pool.scores(ScoreSpec(Deterministic(), "entropy")).shape == (60,)
    assert pool.scores(ScoreSpec(Deterministic(), "class-share")).shape == (60, 3)
    assert CountingEnsemble.seen == 60
    pool.scores(ScoreSpec(Deterministic(), "entropy"))
    assert CountingEnsemble.seen == 60


def test_scores_without_a_model_are_refused():
    with pytest.raises(BadInput, match="No model"):
        fake_pool().scores(ScoreSpec(Deterministic(), "entropy"))


def test_volumes_as_items_have_the_means_of_their_slices():
    stack = FakeStack(blank=(25,))
    annotated = [SliceId("volume01", i) for i in range(10)] + [SliceId("volume03", 0)]
    slices = fake_pool(stack, model=fake_model(), annotated=annotated)
    volumes = fake_pool(stack, model=fake_model(), annotated=annotated, unit="volume")
    assert [slice_id.volume for slice_id in volumes.ids] == [f"volume{v:02d}" for v in range(6)]
    for kind in ("segmenter", "pixels"):
        expected = slices.embeddings(kind).reshape(6, 10, -1).mean(axis=1)
        np.testing.assert_allclose(volumes.embeddings(kind), expected, rtol=1e-5, atol=1e-6)
    expected = slices.scores(ScoreSpec(Deterministic(), "entropy")).reshape(6, 10).mean(axis=1)
    np.testing.assert_allclose(volumes.scores(ScoreSpec(Deterministic(), "entropy")), expected, rtol=1e-5)
    assert volumes.annotated.tolist() == [False, True, False, True, False, False]
    assert volumes.slice_counts().tolist() == [10, 0, 9, 9, 10, 10]
    assert volumes.slices_of(volumes.ids[2]) == [SliceId("volume02", i) for i in range(10) if i != 5]
    assert volumes.class_pixels()[1].tolist() == [1000, 1000, 1000]
    assert len(volumes.annotated_rows) == 11


def test_statistics_reach_the_items():
    stack = FakeStack()
    seen = [SliceId("volume00", 4)]
    pool = fake_pool(stack, annotated=seen, statistics=fake_statistics(stack, seen, classes=(0, 2)))
    assert pool.class_pixels()[4].tolist() == [100, 0, 100]
    assert pool.class_pixels().sum() == 200
    marked = pool.extent_share()
    assert marked[:10].tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]
    assert np.isnan(marked[20:]).all()
    assert pool.true_classes()[4].tolist() == [True, False, True]
    with pytest.raises(BadInput, match="experiments"):
        fake_pool(stack, statistics=fake_statistics(stack).__class__()).true_classes()


def test_a_broken_score_names_the_slice():
    pool = fake_pool()
    with pytest.raises(BadInput) as error:
        pool.per_item("x", lambda rows: np.where(rows == 25, np.nan, 1.0))
    assert error.value.where == "volume02"
    assert "slice 6" in error.value.message


def test_an_unknown_unit_is_refused():
    stack = FakeStack()
    with pytest.raises(BadInput, match="patient"):
        Pool(stack, np.arange(len(stack)), plan=RoundPlan(unit="patient"))


def test_unavailable_reasons_of_wrapped_strategies_reach_the_wrapper():
    assert "truth" in create_strategy("foreground-random:oracle").needs
    assert create_strategy("product:coreset+variance-ratio").needs == create_strategy("variance-ratio").needs
