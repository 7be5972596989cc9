"""Foreground-aware random: shares, classes, volumes, and sources of the foreground."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool, fake_statistics
from scipy import stats

from ActiveSegmentationLib.acquisition import PoolStatistics, Situation, create_strategy
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices
from ActiveSegmentationLib.uncertainty import Deterministic


def chosen(name, pool, budget, seed=0):
    return choose_slices(create_strategy(name), pool, budget, generator(seed, "foreground"))


def truth_of(stack, shown) -> PoolStatistics:
    truth = np.zeros((len(stack), 3), dtype=bool)
    truth[:, 0] = True
    for of_class, rows in shown.items():
        truth[rows, of_class] = True
    return PoolStatistics(truth=lambda rows: truth[rows])


@pytest.mark.parametrize(("share", "expected"), [("0.33", 7), ("0.66", 13), ("1", 20), ("0", 0)])
def test_the_share_shows_foreground(share, expected):
    stack = FakeStack(10, 20)
    pool = fake_pool(stack, statistics=truth_of(stack, {1: np.flatnonzero(stack.index == 4), 2: stack.index > 17}))
    choices = chosen(f"foreground-random:oracle/share={share}", pool, 20)
    truly = [c for c in choices if "reference labels contain" in c.reason]
    assert len(choices) == 20
    assert len(truly) == expected
    for choice in truly:
        of_class = int(choice.reason.split("class ")[1][0])
        assert choice.slice.index == 4 if of_class == 1 else choice.slice.index > 17
    assert choices[: len(truly)] == truly


def test_classes_are_drawn_evenly_however_rare():
    stack = FakeStack(4, 100)
    pool = fake_pool(stack, statistics=truth_of(stack, {1: stack.index < 90, 2: stack.index >= 97}))
    found = [chosen("foreground-random:oracle/share=1", pool, 1, seed)[0].reason for seed in range(400)]
    assert stats.binomtest(sum("class 2" in reason for reason in found), 400).pvalue > 1e-3


def test_an_exhausted_class_leaves_its_part_to_the_others_and_then_to_chance():
    stack = FakeStack(4, 10)
    pool = fake_pool(stack, statistics=truth_of(stack, {1: [3], 2: [11, 25]}))
    choices = chosen("foreground-random:oracle/share=1", pool, 10)
    assert [("reference labels contain" in c.reason) for c in choices] == [True] * 3 + [False] * 7


def test_volumes_take_turns():
    stack = FakeStack(5, 20)
    pool = fake_pool(stack, statistics=truth_of(stack, {1: stack.index > 5}))
    counts = Counter(c.slice.volume for c in chosen("foreground-random:oracle/share=0.66", pool, 15))
    assert set(counts.values()) == {3}
    annotated = [SliceId("volume00", i) for i in range(3)]
    poor = fake_pool(stack, annotated=annotated, statistics=truth_of(stack, {1: stack.index > 5}))
    assert "volume00" not in {c.slice.volume for c in chosen("foreground-random:oracle/share=0.66", poor, 12)}


def test_without_a_share_it_is_balanced_random():
    """The same distribution: every slice of the poorest volume is as likely."""
    stack = FakeStack(3, 6)
    annotated = [SliceId(f"volume{v:02d}", 0) for v in (0, 1)]
    pool = fake_pool(stack, annotated=annotated, model=fake_model())
    found = [chosen("foreground-random/share=0", pool, 1, seed)[0].slice for seed in range(600)]
    assert {s.volume for s in found} == {"volume02"}
    assert stats.chisquare(np.bincount([s.index for s in found], minlength=6)).pvalue > 1e-3


def test_predicted_goes_by_the_pixels_that_the_model_gives_to_a_class():
    stack, model = FakeStack(6, 10), fake_model()
    labels = model.probabilities(stack, np.arange(len(stack))).argmax(1)
    pixels = np.stack([(labels == c).sum((1, 2)) for c in (1, 2)], 1)
    least = int(np.median(pixels[:, 0][pixels[:, 0] > 0]))
    pool = fake_pool(stack, model=model, strategy=create_strategy("foreground-random"))
    shown = 0
    for choice in chosen(f"foreground-random/share=1/pixels={least}", pool, 30):
        if choice.score is None:
            continue
        position, of_class = pool.ids.index(choice.slice), int(choice.reason.split("class ")[1][0])
        assert pixels[position, of_class - 1] >= least
        assert choice.score == pytest.approx(pixels[position, of_class - 1] / 32**2)
        shown += 1
    assert shown > 0
    enough = (pixels >= least).any(1).sum()
    assert shown == min(30, enough)
    assert create_strategy("foreground-random").score_specs == ((Deterministic(), "class-share"),)


def test_marked_goes_by_the_extents():
    stack = FakeStack(4, 20)
    pool = fake_pool(stack, statistics=PoolStatistics(extents={"volume01": (5, 7), "volume03": (0, 0)}))
    choices = chosen("foreground-random:marked/share=1", pool, 6)
    inside = {c.slice for c in choices if "marked" in c.reason}
    assert inside == {SliceId("volume01", i) for i in (5, 6, 7)} | {SliceId("volume03", 0)}
    assert len(choices) == 6
    assert (
        "marked extent"
        in chosen("foreground-random:marked", fake_pool(stack, statistics=PoolStatistics()), 2)[0].reason
    )


def test_what_each_source_needs():
    person = Situation()
    assert create_strategy("foreground-random").unavailable_reason(person) == ""
    assert "marked" in create_strategy("foreground-random:marked").unavailable_reason(person)
    assert "reference labels" in create_strategy("foreground-random:oracle").unavailable_reason(person)
    assert create_strategy("foreground-random:marked").unavailable_reason(Situation(extents=True)) == ""
    assert create_strategy("foreground-random:oracle").unavailable_reason(Situation(experiment=True)) == ""
    with pytest.raises(BadInput, match="experiments only"):
        chosen("foreground-random:oracle", fake_pool(statistics=PoolStatistics()), 3)
    with pytest.raises(BadInput, match="foreground-random:guess is not allowed"):
        create_strategy("foreground-random:guess")


def test_before_the_first_model_it_is_balanced_random_and_says_so():
    choices = chosen("foreground-random", fake_pool(), 4)
    assert all(c.reason.startswith("No model is trained yet, so drawn at random") for c in choices)
    stack = FakeStack()
    oracle = chosen("foreground-random:oracle", fake_pool(stack, statistics=fake_statistics(stack)), 3)
    assert "reference labels" in oracle[0].reason  # knows without a model
