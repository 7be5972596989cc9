"""Combinations of representativeness and uncertainty against literal versions."""

from __future__ import annotations

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool, random_features
from scipy.stats import rankdata

from ActiveSegmentationLib.acquisition import create_strategy
from ActiveSegmentationLib.acquisition.ranking import significant
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.loop import choose_slices

SEEN = (SliceId("volume00", 3), SliceId("volume04", 8))


def pool_of(name, **options):
    strategy = create_strategy(name)
    stack = FakeStack()
    return fake_pool(
        stack, features=random_features(stack), annotated=SEEN, model=fake_model(), strategy=strategy, **options
    )


def scaled(values):
    values = significant(values)
    return (values - values.min()) / (values.max() - values.min())


def literal(name, joint, budget):
    """Greedy over distances to the nearest centre and scores, with a loop over everything."""
    pool = pool_of(name)
    features, scores = pool.embeddings("segmenter").astype(float), create_strategy("entropy").score(pool).astype(float)
    centres = [pool.ids.index(slice_id) for slice_id in SEEN]
    picks = []
    for _ in range(budget):
        open_positions = [p for p in range(len(pool)) if p not in centres]
        gains = np.array([min(np.linalg.norm(features[p] - features[c]) for c in centres) for p in open_positions])
        values = joint(gains, scores[open_positions])
        picks.append(open_positions[int(np.argmax(significant(values)))])
        centres.append(picks[-1])
    return [pool.ids[p] for p in picks]


@pytest.mark.parametrize("weight", [0.5, 1, 3])
def test_product_is_gain_times_score(weight):
    name = f"product:coreset+entropy/weight={weight}"
    found = choose_slices(create_strategy(name), pool_of(name), 12, np.random.default_rng(0))
    expected = literal(name, lambda gains, scores: scaled(gains) * scaled(scores) ** weight, 12)
    assert [choice.slice for choice in found] == expected


def test_borda_adds_ranks():
    name = "borda:entropy+coreset"
    found = choose_slices(create_strategy(name), pool_of(name), 12, np.random.default_rng(0))
    expected = literal(name, lambda gains, scores: rankdata(significant(gains)) + rankdata(significant(scores)), 12)
    assert [choice.slice for choice in found] == expected


def test_prefilter_picks_among_the_highest_scores_only():
    name = "prefilter:entropy+coreset/factor=2"
    pool = pool_of(name)
    found = choose_slices(create_strategy(name), pool, 8, np.random.default_rng(0))
    scores = significant(create_strategy("entropy").score(pool))
    open_scores = np.sort(scores[~pool.annotated])[::-1]
    assert min(scores[pool.ids.index(choice.slice)] for choice in found) >= open_scores[15]
    alone = choose_slices(create_strategy("prefilter:entropy+coreset/factor=1000"), pool, 8, np.random.default_rng(0))
    coreset = choose_slices(create_strategy("coreset"), pool, 8, np.random.default_rng(0))
    assert [c.slice for c in alone] == [c.slice for c in coreset]


@pytest.mark.parametrize("name", ["product", "borda", "prefilter"])
def test_without_a_model_representativeness_decides_and_says_so(name):
    stack = FakeStack()
    pool = fake_pool(stack, annotated=SEEN)
    choices = choose_slices(create_strategy(f"{name}:coreset:pixels+entropy"), pool, 5, np.random.default_rng(0))
    alone = choose_slices(create_strategy("coreset:pixels"), pool, 5, np.random.default_rng(0))
    assert [c.slice for c in choices] == [c.slice for c in alone]
    assert all("No model is trained yet" in c.reason for c in choices)


def test_a_plus_within_an_argument_stays():
    strategy = create_strategy("product:group-contrastive-coreset:nt-xent=1+volume=0.35+entropy")
    assert strategy.cover.name == "group-contrastive-coreset"
    assert strategy.scorer.name == "entropy"
    assert strategy.embeddings == ("learned:nt-xent=1+volume=0.35",)


def test_options_reach_the_part_that_knows_them():
    strategy = create_strategy("product:coreset+bald/passes=3/weight=2")
    assert strategy.weight == 2.0
    assert strategy.scorer.passes == 3


@pytest.mark.parametrize(
    "name",
    ["product:coreset", "product:coreset+random", "product:entropy+bald", "borda:x+entropy", "product/size=3"],
)
def test_what_cannot_be_joined_is_refused_in_words(name):
    with pytest.raises(BadInput) as error:
        create_strategy(name)
    assert error.value.advice
