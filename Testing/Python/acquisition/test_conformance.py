"""What every strategy must do, whatever it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_model, fake_pool, fake_statistics, random_features

from ActiveSegmentationLib.acquisition import (
    Constraints,
    Situation,
    check_choices,
    create_strategy,
    selection_generator,
    strategies,
    strategy_class,
    strategy_names,
)
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices

VARIANTS = [
    "badge/loss=training/start=annotated/parameters=50",
    "balanced:bald/window=0.3/trim=0.1/volumes=unsure/balance=volume",
    "balanced:margin/window=0/batches=3",
    "balanced:entropy/window=0/batches=3/foreground=0.66",
    "bald/passes=3/aggregate=top",
    "bayesian-sample-querying/greedy=yes/p=0.5",
    "borda:coreset:pixels+margin",
    "clasp-pe:dropout-variance/passes=3",
    "coregcn:pixels/steps=20",
    "coreset:learned",
    "coreset:learned:nt-xent=1+volume=0.35",
    "coreset:pixels",
    "coreset:segmenter-map",
    "dropout-jsd/formula=plus",
    "entropy/aggregate=foreground",
    "facility-location:learned/annotated=no",
    "facility-location:pixels",
    "foreground-random/share=1/pixels=3",
    "foreground-random:marked/share=0.66",
    "foreground-random:oracle",
    "group-contrastive-coreset:nt-xent=1+patient=0.05+volume=0.35+slice=0",
    "mean-std/statistic=var/aggregate=sum",
    "per-second:bald/passes=3/weight=0.5",
    "power:entropy/beta=5",
    "power:learning-loss/rank=yes",
    "power:margin/rank=yes",
    "prefilter:entropy+coreset/factor=3",
    "probcover:segmenter/clusters=3/purity=0.5",
    "product:dropout-variance+group-contrastive-coreset/weight=2/passes=3",
    "sample-ratio/greedy=no",
    "sample-ratio/greedy=yes",
    "stochastic-batches/batches=20/reduce=max",
    "stochastic-batches:bald/passes=3",
    "stochastic-batches:ensemble-entropy",
    "strided:3",
    "tta-jsd/passes=2/aggregate=max",
    "typiclust:learned:all/clusters=2/neighbours=3",
    "typiclust:segmenter/smallest=1",
    "usim-cosine/entries=first/parameters=50/greedy=stochastic",
    "usim-fisher/normalise=yes/queries=20/eta=0",
]
"""Strategies with an argument or options that change what they do."""

NAMES = [*strategy_names(), *VARIANTS]
BLIND = {"random", "balanced-random", "strided", "strided:3"} | {
    name for name in NAMES if name.startswith(("foreground-random:marked", "foreground-random:oracle"))
}
"""Strategies that look at no image and no feature."""

SEEN = tuple(SliceId(f"volume{v:02d}", i) for v, i in ((0, 2), (2, 5), (3, 5), (4, 0)))
"""Annotated slices of an ordinary pool."""


def make_pool(name, *args, trained=True, **options):
    """An ordinary pool in the middle of a study, or before its first training."""
    options.setdefault("annotated", SEEN if trained else ())
    options.setdefault("model", fake_model() if trained else None)
    return fake_pool(*args, strategy=create_strategy(name), **options)


def choose(name, pool, budget, seed=0):
    choices = choose_slices(create_strategy(name), pool, budget, generator(seed, "test"))
    check_choices(choices, pool, budget)
    return choices


def slices(choices):
    return [choice.slice for choice in choices]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["trained", "untrained"])
def trained(request):
    return request.param


@pytest.mark.parametrize("budget", [1, 7, 56])
def test_right_count_without_duplicates(name, trained, budget):
    chosen = slices(choose(name, make_pool(name, trained=trained), budget))
    assert len(chosen) == len(set(chosen)) == budget


def test_budget_larger_than_the_pool_takes_all(name, trained):
    assert len(choose(name, make_pool(name, trained=trained), 1000)) == (56 if trained else 60)


def test_pool_of_one(name, trained):
    pool = make_pool(name, FakeStack(1, 1), trained=trained)
    assert slices(choose(name, pool, 3)) == [SliceId("volume00", 0)]


def test_one_slice_left(name):
    stack = FakeStack(2, 5)
    annotated = [SliceId("volume00", i) for i in range(5)] + [SliceId("volume01", i) for i in range(4)]
    assert slices(choose(name, make_pool(name, stack, annotated=annotated), 3)) == [SliceId("volume01", 4)]


def test_never_an_annotated_skipped_or_blank_slice(name, trained):
    annotated = [SliceId("volume00", i) for i in range(10)]
    skipped = [SliceId("volume01", i) for i in range(9)]
    pool = make_pool(name, FakeStack(blank=(25, 26)), annotated=annotated, skipped=skipped, trained=trained)
    chosen = set(slices(choose(name, pool, 1000)))
    assert not chosen & {*annotated, *skipped, SliceId("volume02", 5), SliceId("volume02", 6)}
    assert len(chosen) == 60 - 19 - 2


def test_blank_slices_on_request(name):
    pool = make_pool(name, FakeStack(blank=(25,)), constraints=Constraints(blank=True), annotated=SEEN[:1])
    assert SliceId("volume02", 5) in slices(choose(name, pool, 60))


def test_caps_and_gap_hold(name, trained):
    constraints = Constraints(max_per_volume=2, max_per_patient=3, min_gap=4)
    annotated = [SliceId("volume03", 5)]
    pool = make_pool(name, annotated=annotated, constraints=constraints, trained=trained)
    chosen = slices(choose(name, pool, 60))
    for volume in {s.volume for s in chosen}:
        indices = sorted(s.index for s in [*chosen, *annotated] if s.volume == volume)
        assert len([s for s in chosen if s.volume == volume]) <= 2
        assert all(b - a >= 4 for a, b in itertools.pairwise(indices))
    for patient in range(3):
        assert 1 <= len([s for s in chosen if int(s.volume[-2:]) // 2 == patient]) <= 3


def test_same_seed_same_choices_and_pool_order_does_not_matter(name, trained):
    stack = FakeStack()
    options = {"features": random_features(stack), "trained": trained}
    rows = np.arange(len(stack))
    shuffled = np.random.default_rng(3).permutation(rows)
    first = choose(name, make_pool(name, stack, **options), 12)
    again = choose(name, make_pool(name, stack, **options), 12)
    other = choose(name, make_pool(name, stack, rows=shuffled, **options), 12)
    assert first == again == other


def test_constant_images_and_features(name, trained):
    stack = FakeStack(constant=True)
    pool = make_pool(name, stack, features=np.ones((len(stack), 4), dtype=np.float32), trained=trained)
    assert len(choose(name, pool, 15)) == 15


def test_duplicate_slices(name):
    stack = FakeStack()
    copies = np.arange(len(stack)) % 3
    images = stack.batches(np.arange(len(stack)))
    stack._images = images[copies]
    pool = make_pool(name, stack, features=random_features(stack)[copies])
    assert len(choose(name, pool, 20)) == 20


@pytest.mark.parametrize("classes", [(0,), (0, 1)])
def test_annotations_of_one_class_only(name, classes):
    stack = FakeStack()
    pool = make_pool(name, stack, statistics=fake_statistics(stack, SEEN, classes=classes))
    assert len(choose(name, pool, 10)) == 10


def test_broken_values_are_refused_by_the_slice_they_come_from(name):
    """A NaN in images and features must be refused by those that look at them, never ranked."""
    stack = FakeStack()
    features = random_features(stack)
    features[17] = np.nan
    stack.batches([0])
    stack._images[17] = float("nan")
    pool = make_pool(name, stack, features=features)
    if name in BLIND:
        assert len(choose(name, pool, 10)) == 10
        return
    with pytest.raises(BadInput) as error:
        choose(name, pool, 10)
    assert error.value.where == "volume01"


def test_works_from_zero_annotations_and_gives_reasons(name, trained):
    for choice in choose(name, make_pool(name, trained=trained), 5) + choose(
        name, make_pool(name, annotated=(), model=fake_model() if trained else None), 5
    ):
        assert choice.reason.endswith(".")
        assert len(choice.reason) > 10
        assert choice.reason[0].isupper()


def test_slices_outside_the_pool_are_never_chosen(name):
    pool = make_pool(name, rows=np.arange(20, 40), annotated=SEEN[:2])
    assert {s.volume for s in slices(choose(name, pool, 60))} == {"volume02", "volume03"}


def test_whole_volumes(name, trained):
    annotated = [SliceId("volume01", i) for i in range(10)] if trained else []
    pool = make_pool(name, FakeStack(blank=(25,)), unit="volume", annotated=annotated, trained=trained)
    choices = choose(name, pool, 3)
    volumes = {choice.slice.volume for choice in choices}
    assert len(volumes) == 3
    assert not (trained and "volume01" in volumes)
    for choice in choices:
        expected = [i for i in range(10) if (choice.slice.volume, i) != ("volume02", 5)]
        assert pool.slices_of(choice.slice) == [SliceId(choice.slice.volume, i) for i in expected]


def test_the_summary_is_one_line_and_the_docstring_names_paper_needs_and_cost():
    for info in strategies():
        assert info.summary.endswith(".")
        assert len(info.summary) <= 140
        cls = strategy_class(info.name)
        assert cls.name == info.name
        assert cls.source
        assert cls.requires
        text = (cls.__doc__ or "").lower()
        assert "need" in text, info.name
        assert "cost" in text, info.name


def test_unavailable_reasons_are_in_words():
    for info in strategies(Situation(members=1, dropout=False, extents=False, experiment=False)):
        assert info.unavailable_reason == "" or info.unavailable_reason.endswith(".")
    assert not any(info.unavailable_reason for info in strategies(Situation(5, True, True, True)))


@pytest.mark.parametrize("drawing", ["bald/passes=2", "dropout-variance/passes=2", "tta-jsd/passes=2", "vaal/steps=3"])
def test_what_is_drawn_for_a_score_follows_the_seed(drawing):
    strategy = create_strategy(drawing)
    scores = [strategy.score(make_pool(drawing, seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


@pytest.mark.parametrize("name", ["coreset:pixels", "group-contrastive-coreset"])
def test_the_first_centre_of_all_follows_the_seed_unless_the_typical_one_is_wanted(name):
    for option, several in (("random", True), ("typical", False)):
        firsts = {
            slices(choose(f"{name}/first={option}", make_pool(name, trained=False, seed=seed), 3))[0]
            for seed in range(6)
        }
        assert len(firsts) == (6 if several else 1)


def test_strategies_that_are_not_ready_draw_what_balanced_random_draws():
    for seed in (0, 1):
        pools = [
            make_pool(name, trained=False, seed=seed) for name in ("entropy", "clasp-pe", "vaal", "balanced-random")
        ]
        names = ("entropy", "clasp-pe", "vaal", "balanced-random")
        drawn = [
            slices(choose_slices(create_strategy(name), pool, 5, selection_generator(seed, name, 1)))
            for name, pool in zip(names, pools, strict=True)
        ]
        assert all(each == drawn[-1] for each in drawn)


def test_a_strategy_writes_the_name_that_makes_it(name):
    strategy = create_strategy(name)
    assert create_strategy(str(strategy)) == strategy
