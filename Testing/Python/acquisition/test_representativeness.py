"""The sample ratio, Bayesian sample querying, facility location and suggestive annotation, held against literals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool, random_features

from ActiveSegmentationLib.acquisition import Constraints, create_strategy
from ActiveSegmentationLib.acquisition.facility_location import Facilities
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec
from ActiveSegmentationLib.acquisition.sample_ratio import Gaussian, SampleRatioGains
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices

SEEN = (SliceId("volume00", 2), SliceId("volume02", 5), SliceId("volume03", 5))


def literal_likelihood(point, mean, deviation):
    """The product of Eq. 8 over the dimensions, factor by factor; 1 + erf(-x) is erfc(x), which is 0 later."""
    product = 1.0
    for z, m, s in zip(point, mean, deviation, strict=True):
        x = abs(z - m) / (s * math.sqrt(2))
        assert 1 + math.erf(-x) == pytest.approx(math.erfc(x), abs=1e-15)
        product *= math.erfc(x)
    return product


def literal_ratios(points, annotated):
    cohort = points.mean(axis=0), points.std(axis=0)
    known = points[annotated].mean(axis=0), points[annotated].std(axis=0)
    return [math.log(literal_likelihood(p, *cohort)) - math.log(literal_likelihood(p, *known)) for p in points]


def test_the_ratio_equals_its_equations():
    points = np.random.default_rng(0).normal(size=(40, 4))
    annotated = np.arange(40) % 7 == 0
    ratios = SampleRatioGains(points, annotated, greedy=False).ratios()
    np.testing.assert_allclose(ratios, literal_ratios(points, annotated), rtol=1e-9, atol=1e-12)


def test_gains_are_the_ratios_above_the_lowest():
    points = np.random.default_rng(1).normal(size=(30, 3))
    state = SampleRatioGains(points, np.arange(30) < 5, greedy=False)
    np.testing.assert_allclose(state.gains(), state.ratios() - state.ratios().min())


def test_the_toy_of_figure_1():
    """Cohort N(0, 1), annotated N(-1, 1.5): asked for is what lies right of 0."""
    grid = np.linspace(-4, 4, 801)[:, None]
    cohort, known = Gaussian(np.array([[-1.0], [1.0]])), Gaussian(np.array([[-2.5], [0.5]]))
    assert (cohort.mean, cohort.deviation, known.mean, known.deviation) == (0, 1, -1, 1.5)
    ratio = cohort.log_likelihood(grid) - known.log_likelihood(grid)
    best = grid[ratio.argmax(), 0]
    assert 0 < best < 1
    assert ratio[400 + 100] > ratio[400 - 100]  # at +1 and -1


def test_far_points_stay_finite_where_the_product_underflows():
    points = np.concatenate([np.zeros((50, 200)), np.full((1, 200), 300.0)])
    points[:50] += np.random.default_rng(0).normal(size=(50, 200))
    assert np.isfinite(SampleRatioGains(points, np.arange(51) < 10, greedy=False).ratios()).all()


def test_greedy_equals_fitting_anew_after_each_pick():
    points = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    annotated = np.arange(40) < 3
    state = SampleRatioGains(points, annotated, greedy=True)
    for position in (7, 20, 33, 8):
        state.take(position)
        annotated[position] = True
        fresh = SampleRatioGains(points, annotated, greedy=True)
        np.testing.assert_allclose(state.ratios(), fresh.ratios(), rtol=1e-9)


@pytest.mark.parametrize("annotated", [[0], [0, 3, 9]])
def test_the_ratio_of_a_volume_is_the_mean_over_its_slices(annotated):
    """Scores are aggregated over a volume (Ozdemir et al., "3D Image Volumes"); at first one is annotated."""
    points, items = np.random.default_rng(4).normal(size=(40, 3)), np.arange(40) // 4
    known = np.isin(items, annotated)
    state = SampleRatioGains(points, known, items, greedy=True)
    literal = literal_ratios(points, known)
    np.testing.assert_allclose(state.ratios(), np.reshape(literal, (10, 4)).mean(axis=1), rtol=1e-9, atol=1e-12)
    state.take(5)
    after = np.reshape(literal_ratios(points, known | (items == 5)), (10, 4)).mean(axis=1)
    np.testing.assert_allclose(state.ratios(), after, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["sample-ratio/greedy=no", "bayesian-sample-querying"])
def test_whole_volumes_are_asked_for_by_that_mean(name):
    stack = FakeStack(6, 5)
    features = random_features(stack, width=3)
    strategy = create_strategy(name)
    annotated = [stack.slice_id(row) for row in range(5)]
    pool = fake_pool(stack, features=features, annotated=annotated, model=None, strategy=strategy, unit="volume")
    known = np.arange(30) < 5
    literal = np.reshape(literal_ratios(features.astype(np.float64), known), (6, 5)).mean(axis=1)
    chosen = [choice.slice.volume for choice in strategy.select(pool, 2, generator(0))]
    order = [position for position in np.argsort(-literal) if position != 0][:2]
    assert chosen == [pool.ids[position].volume for position in order]


def test_one_annotated_slice_has_the_deviation_of_the_cohort():
    points = np.random.default_rng(3).normal(size=(20, 3))
    one, cohort = Gaussian(points[:1], points.std(axis=0)), Gaussian(points)
    np.testing.assert_allclose(one.deviation, cohort.deviation)
    copies = Gaussian(points[[0, 0, 0]], points.std(axis=0))
    np.testing.assert_allclose(copies.deviation, 1e-3 * points.std(axis=0))
    assert (Gaussian(np.ones((4, 2))).deviation == 1).all()


def test_what_is_under_represented_is_asked_for():
    """Annotated slices lie in one half of the space; the typical ones of the other half come first."""
    stack = FakeStack()
    features = random_features(stack, width=2)
    rows = np.flatnonzero(features[:, 0] < -0.5)[:6]
    pool = fake_pool(
        stack,
        features=features,
        annotated=[stack.slice_id(row) for row in rows],
        model=None,
        strategy=create_strategy("sample-ratio"),
    )
    chosen = choose_slices(create_strategy("sample-ratio"), pool, 3, generator(0))
    values = [features[pool.rows[pool.ids.index(choice.slice)]] for choice in chosen]
    assert values[0][0] > 0
    assert all("under-represented" in choice.reason for choice in chosen)


@pytest.mark.parametrize("name", ["sample-ratio", "bayesian-sample-querying"])
def test_presets_of_the_autoencoder(name):
    assert create_strategy(f"{name}:ozdemir2021").embeddings == ("infovae:ozdemir2021",)
    with pytest.raises(BadInput, match="preset 'x'"):
        create_strategy(f"{name}:x")


def bayesian_pool(name="bayesian-sample-querying", **options):
    stack = FakeStack()
    return fake_pool(stack, strategy=create_strategy(name), annotated=SEEN, **{"model": fake_model(), **options})


def test_bayesian_sample_querying_equals_its_two_stages():
    pool = bayesian_pool()
    strategy = create_strategy("bayesian-sample-querying")
    variance = pool.scores(ScoreSpec(strategy.score_specs[0].sampler, "foreground-variance")).copy()
    variance[pool.annotated] = -1
    uncertain = set(np.argsort(-variance, kind="stable")[:10])
    ratios = np.array(literal_ratios(pool.embeddings("infovae").astype(float), pool.annotated))
    expected = sorted(uncertain, key=lambda position: -ratios[position])[:5]
    chosen = strategy.select(pool, 5, generator(0))
    assert [pool.ids.index(choice.slice) for choice in chosen] == expected
    np.testing.assert_allclose([choice.score for choice in chosen], ratios[expected], rtol=1e-6)


def test_without_a_model_the_ratio_stands_alone():
    pool = bayesian_pool(model=None)
    chosen = choose_slices(create_strategy("bayesian-sample-querying"), pool, 4, generator(0))
    alone = choose_slices(create_strategy("sample-ratio/greedy=no"), pool, 4, generator(0))
    assert [choice.slice for choice in chosen] == [choice.slice for choice in alone]
    assert all(choice.reason.startswith("No model is trained yet: ") for choice in chosen)


def test_the_shortlist_keeps_the_limits():
    pool = bayesian_pool(constraints=Constraints(max_per_volume=2))
    listed = create_strategy("suggestive-annotation").shortlist(pool, 6)
    assert listed.sum() == 12
    assert np.bincount(pool.volumes[listed]).max() == 2


def literal_worth(points, chosen):
    """The sum of Eq. 10, pair by pair."""
    total = 0.0
    for point in points:
        cosines = [float(point @ other / np.linalg.norm(point) / np.linalg.norm(other)) for other in chosen]
        total += max([-1.0, *cosines])
    return total


def test_facility_location_equals_its_equation():
    rng = np.random.default_rng(0)
    points, candidates, start = rng.normal(size=(30, 3)), rng.normal(size=(12, 3)), rng.normal(size=(2, 3))
    for chosen in ([], list(start)):
        state = Facilities(points, candidates, np.array(chosen) if chosen else None)
        for pick in (3, 7, 7, 0):
            worth = literal_worth(points, chosen)
            gains = [literal_worth(points, [*chosen, candidate]) - worth for candidate in candidates]
            np.testing.assert_allclose(state.gains(), gains, atol=1e-9)
            chosen.append(candidates[pick])
            state.choose(pick)


def test_negative_cosines_are_distinguished():
    """Nothing is similar to anything: with a start of 0 both candidates would be worth the same."""
    points, candidates = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0], [-1.0, 1.0]])
    np.testing.assert_allclose(Facilities(points, candidates).gains(), [0.0, 1 - math.sqrt(0.5)])


def test_suggestive_annotation_equals_its_two_stages():
    strategy = create_strategy("suggestive-annotation")
    pool = bayesian_pool("suggestive-annotation")
    variance = pool.scores(ScoreSpec(strategy.score_specs[0].sampler, "foreground-variance")).copy()
    variance[pool.annotated] = -1
    uncertain = sorted(np.argsort(-variance, kind="stable")[:8])
    features = pool.embeddings("segmenter").astype(float)
    others, expected = features[~pool.annotated], []
    for _ in range(4):
        taken = [features[position] for position in expected]
        left = [position for position in uncertain if position not in expected]
        expected.append(max(left, key=lambda position: literal_worth(others, [*taken, features[position]])))
    chosen = strategy.select(pool, 4, generator(0))
    assert [pool.ids.index(choice.slice) for choice in chosen] == expected


def test_facility_location_takes_one_of_each_group():
    stack = FakeStack(4, 10)
    features = np.eye(4, dtype=np.float32)[np.arange(40) % 4] + 0.01 * random_features(stack, width=4)
    annotated = [stack.slice_id(0)]
    pool = fake_pool(stack, features=features, annotated=annotated, model=fake_model())
    chosen = choose_slices(create_strategy("facility-location"), pool, 3, generator(0))
    assert {stack.index[pool.rows[pool.ids.index(c.slice)]] % 4 for c in chosen} <= {0, 1, 2, 3}
    assert sorted(pool.rows[pool.ids.index(c.slice)] % 4 for c in chosen) == [1, 2, 3]


def test_facility_location_says_what_it_compares():
    pool = fake_pool(embedders={"pixels": lambda rows: random_features(FakeStack())[rows]})
    assert "their pixels" in choose_slices(create_strategy("facility-location"), pool, 1, generator(0))[0].reason
    with pytest.raises(BadInput, match="space called 'x'"):
        create_strategy("facility-location:x")
