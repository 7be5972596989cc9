"""USIM: class weights, the query set and both kernels, against literal versions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from acquisition_fakes import CLASSES, FakeStack, fake_model, fake_pool, fake_statistics

from ActiveSegmentationLib.acquisition import Constraints, PoolStatistics, Situation, create_strategy
from ActiveSegmentationLib.acquisition.usim import FISHER_SLICES, QuerySet, class_weights, knee, query_count
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices
from ActiveSegmentationLib.segmentation import Ensemble, SegmentationModel, TrainingSettings
from ActiveSegmentationLib.segmentation.network import build_network
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings

SEEN = (SliceId("volume00", 3), SliceId("volume03", 5))


def make_pool(name="usim-cosine", *args, **options):
    options.setdefault("annotated", SEEN)
    return fake_pool(*args, strategy=create_strategy(name), model=options.pop("model", fake_model(1)), **options)


def rng(seed=0):
    return generator(seed, "test")


def test_class_weights_are_inverse_counts_without_background():
    weights = class_weights(np.array([10_000, 99, 299]), 3)
    assert weights[0] == 0
    assert weights.sum() == pytest.approx(1)
    assert weights[1] / weights[2] == pytest.approx(3)


@pytest.mark.parametrize("pixels", [[500, 40, 0], [500, 0, 0], [500, 40], []])
def test_a_class_without_annotated_pixels_stays_finite_and_counts_most(pixels):
    weights = class_weights(np.array(pixels, dtype=np.int64), 3)
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1)
    assert weights[2] == weights[1:].max()


def test_uncertainty_is_the_weighted_variance_of_the_foreground():
    strategy = create_strategy("usim-cosine")
    pixels = {SEEN[0]: np.array([500, 99, 0]), SEEN[1]: np.array([500, 0, 24])}
    pool = make_pool(statistics=PoolStatistics(class_pixels=pixels))
    variance = pool.scores(strategy.score_specs[0]).astype(np.float64)
    assert variance.shape == (60, CLASSES)
    expected = variance[:, 1] / 100 + variance[:, 2] / 25
    found = strategy.uncertainty(pool)
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-9)
    assert found.min() > 0


def test_the_knee_of_known_curves():
    assert knee(np.array([10, 9, 8, 1, 0.5, 0])) == 4
    assert knee(np.array([0, 1, 10, 8, 0.5, 9])) == 4  # the order does not matter
    assert knee(1 / np.arange(1.0, 101)) == 10
    assert knee(np.array([3.0, 2, 1, 0])) is None
    assert knee(np.array([3.0, 3, 3, 0])) is None
    assert knee(np.full(10, 7.0)) is None
    assert knee(np.array([2.0, 1])) is None


def test_the_query_set_has_the_knee_within_limits():
    values = np.concatenate([np.linspace(10, 9, 40), np.linspace(0.1, 0, 160)])
    assert knee(values) == 41
    assert query_count(values, 1) == 41
    assert query_count(values, 10) == 50
    assert query_count(values, 100) == 200
    assert query_count(np.full(30, 1.0), 2) == 10


def test_members_are_drawn_in_proportion_to_their_uncertainty_and_only_where_allowed(monkeypatch):
    strategy = create_strategy("usim-cosine/queries=20000")
    stack = FakeStack(1, 6, blank=(4,))
    pool = make_pool(stack=stack, annotated=[SliceId("volume00", 0)], skipped=[SliceId("volume00", 5)])
    monkeypatch.setattr(type(strategy), "uncertainty", lambda self, pool: np.array([9.0, 1, 2, 5, 9, 9]))
    found = strategy.query_set(pool, 1, rng())
    assert found.positions.tolist() == [1, 2, 3]
    assert found.counts.sum() == 20_000
    np.testing.assert_allclose(found.counts / 20_000, [1 / 8, 2 / 8, 5 / 8], atol=0.015)
    monkeypatch.setattr(type(strategy), "uncertainty", lambda self, pool: np.zeros(6))
    even = strategy.query_set(pool, 1, rng())
    np.testing.assert_allclose(even.counts / 20_000, [1 / 3] * 3, atol=0.015)


def test_points_of_the_cosine_variant_have_length_1_and_gradients_of_the_coarsest_level():
    strategy = create_strategy("usim-cosine/entries=first/parameters=40")
    pool = make_pool()
    points = strategy.points(pool, QuerySet(np.array([0]), np.array([1])), rng())
    gradients = gradient_embeddings(fake_model(1), pool.stack, pool.rows, layer="bottleneck").astype(np.float64)[:, :40]
    literal = gradients @ gradients.T / np.outer(*[np.linalg.norm(gradients, axis=1)] * 2)
    np.testing.assert_allclose(points.astype(np.float64) @ points.T, literal, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("normalise", ["no", "yes"])
def test_the_fisher_kernel_is_the_literal_one(normalise):
    """Equation 4 with all parameters, the mean over all of a small query set, copies counted."""
    pool = make_pool("usim-fisher")
    queries = QuerySet(np.array([2, 7, 11]), np.array([1, 3, 1]))
    strategy = create_strategy(f"usim-fisher/parameters=1000000/damping=0.01/normalise={normalise}")
    points = strategy.points(pool, queries, rng()).astype(np.float64)
    gradients = gradient_embeddings(fake_model(1), pool.stack, pool.rows, layer="decoder").astype(np.float64)
    fisher = (gradients[2] ** 2 + 3 * gradients[7] ** 2 + gradients[11] ** 2) / 5
    used = fisher > 0
    damped = fisher[used] + 0.01 * fisher.mean()
    literal = np.zeros((60, 60))
    for u in range(60):
        for q in range(60):
            literal[u, q] = (gradients[u, used] * gradients[q, used] / damped).sum()
    if normalise == "yes":
        literal /= np.sqrt(np.outer(np.diag(literal), np.diag(literal)))
    np.testing.assert_allclose(points @ points.T, literal, rtol=1e-3, atol=1e-3 * np.abs(literal).max())


def test_parameters_are_drawn_by_their_fisher_information(monkeypatch):
    strategy, pool, seen = create_strategy("usim-fisher/parameters=2"), make_pool("usim-fisher"), []
    fisher = np.array([0, 1.0, 0, 1000, 1000])
    monkeypatch.setattr(type(strategy), "_fisher", lambda *_: fisher)
    monkeypatch.setattr(
        "ActiveSegmentationLib.acquisition.usim.gradients_at",
        lambda pool, layer, columns: seen.append(columns.tolist()) or np.ones((60, 2), dtype=np.float32),
    )
    points = [strategy.points(pool, QuerySet(np.array([0]), np.array([1])), rng(seed)) for seed in range(200)]
    assert sum(columns == [3, 4] for columns in seen) > 190
    assert not any(set(columns) & {0, 2} for columns in seen)
    np.testing.assert_allclose(points[seen.index([3, 4])], 1 / np.sqrt(1000 + 1e-3 * fisher.mean()), rtol=1e-6)


def test_a_large_query_set_is_sampled_for_the_fisher_information(monkeypatch):
    strategy, pool, seen = create_strategy("usim-fisher"), make_pool("usim-fisher"), []
    monkeypatch.setattr(
        "ActiveSegmentationLib.uncertainty.gradients.mean_squared_gradients",
        lambda model, stack, rows, weights, **_: seen.append((rows, weights)) or np.zeros(4),
    )
    points = strategy.points(pool, QuerySet(np.array([4, 9]), np.array([300, 100])), rng())
    rows, weights = seen[0]
    assert rows.tolist() == [4, 9]
    assert weights.sum() == FISHER_SLICES
    assert 120 < weights[0] < 180
    assert points.shape == (60, 1)  # nothing to learn anywhere: all slices are equal
    assert not points.any()


def test_the_fisher_information_of_volumes_is_over_their_slices(monkeypatch):
    strategy = create_strategy("usim-fisher")
    pool, seen = make_pool("usim-fisher", FakeStack(4, 5), unit="volume", annotated=()), []
    monkeypatch.setattr(
        "ActiveSegmentationLib.uncertainty.gradients.mean_squared_gradients",
        lambda model, stack, rows, weights, **_: seen.append((rows, weights)) or np.zeros(4),
    )
    strategy.points(pool, QuerySet(np.array([1, 3]), np.array([1, 2])), rng())
    assert seen[0][0].tolist() == [5, 6, 7, 8, 9, 15, 16, 17, 18, 19]
    assert seen[0][1].tolist() == [1] * 5 + [2] * 5


@pytest.mark.parametrize("name", ["usim-cosine", "usim-fisher"])
def test_options_reach_the_scores_and_the_first_pick_states_its_share(name):
    strategy = create_strategy(f"{name}/passes=3/p=0.3")
    (spec,) = strategy.score_specs
    assert (spec.sampler.passes, spec.sampler.p, spec.name) == (3, 0.3, "class-variance")
    choices = strategy.select(make_pool(name), 3, rng())
    assert "of the slices that the model is unsure of" in choices[0].reason
    assert all(choice.score >= 0 for choice in choices)


@pytest.mark.parametrize("name", ["usim-cosine", "usim-fisher"])
def test_copies_of_a_pick_are_left_out_where_nothing_but_coverage_counts(name):
    stack = FakeStack()
    images = stack.batches(np.arange(60))
    stack._images = images[np.arange(60) % 12]
    strategy = create_strategy(f"{name}/eta=0/normalise=yes" if name == "usim-fisher" else f"{name}/eta=0")
    pool = make_pool(name, stack, annotated=())
    picks = [pool.ids.index(choice.slice) for choice in strategy.select(pool, 5, rng())]
    assert len({position % 12 for position in picks}) == 5


@pytest.mark.parametrize("name", ["usim-cosine", "usim-fisher"])
def test_a_model_without_dropout_is_refused_in_words(name):
    settings = TrainingSettings(features=(4, 4, 4, 4, 4), dropout=(0.0,) * 5, decoder_dropout=(0.0,) * 4)
    model = Ensemble((SegmentationModel(build_network(1, 3, settings, seed=0).eval(), 1, 3, settings, "none"),))
    with pytest.raises(BadInput, match="dropout"):
        choose_slices(create_strategy(name), make_pool(name, model=model), 3, rng())
    assert "dropout" in create_strategy(name).unavailable_reason(replace(Situation(), dropout=False))
    assert create_strategy(name).unavailable_reason(Situation()) == ""


def test_nothing_to_pick_gives_nothing():
    stack = FakeStack(1, 3)
    everything = [SliceId("volume00", index) for index in range(3)]
    pool = make_pool(stack=stack, annotated=everything, statistics=fake_statistics(stack, everything))
    assert choose_slices(create_strategy("usim-cosine"), pool, 2, rng()) == []
    capped = make_pool(stack=stack, annotated=(), constraints=Constraints(max_per_volume=1))
    assert len(choose_slices(create_strategy("usim-fisher"), capped, 3, rng())) == 1
