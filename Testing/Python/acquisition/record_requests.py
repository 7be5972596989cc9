"""What every strategy asks for in small pools, as ``recorded/requests.json`` keeps it.

The file was recorded from commit fcdf45f. To record it again from the present code, which is right only where requests
are meant to change:

    PYTHONPATH=.:Testing/Python python Testing/Python/acquisition/record_requests.py
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from acquisition_fakes import CLASSES, FakeStack, fake_model, fake_pool
from computer import computer

from ActiveSegmentationLib.acquisition import Constraints, Pool, create_strategy, selection_generator
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.loop import choose_slices
from ActiveSegmentationLib.segmentation import Ensemble

RECORDED = Path(__file__).parent / "recorded" / "requests.json"
BUDGET = 6
CPU_DEPENDENT = ("vaal",)
"""Strategies that train a network in these pools, whose requests differ from one kind of CPU to another."""

SEEN = tuple(SliceId(f"volume{v:02d}", i) for v, i in ((0, 2), (2, 5), (3, 5), (4, 0)))
"""Annotated slices of a pool in the middle of a study."""

PLAIN = """
badge balanced balanced-random bald bayesian-sample-querying borda clasp-pe class-entropy coregcn coreset
dropout-entropy dropout-jsd dropout-variance ensemble-entropy entropy facility-location foreground-random
group-contrastive-coreset learning-loss least-confidence margin mean-std per-second power prefilter probcover product
random recommended sample-ratio stochastic-batches strided suggestive-annotation tta-jsd typiclust usim-cosine
usim-fisher vaal variance-ratio
"""
"""Every strategy that commit fcdf45f had."""

VARIANTS = """
badge/loss=training/start=annotated/parameters=50
badge/entries=first/parameters=50
balanced:bald/passes=3/window=0.3/trim=0.1/volumes=unsure/balance=volume
balanced:entropy/window=0/batches=3/foreground=0.66
balanced:margin/beta=1e9
bald/passes=3/aggregate=top/p=0.3
bayesian-sample-querying/greedy=yes/p=0.5/factor=3
bayesian-sample-querying:ozdemir2021/passes=3
borda:coreset:pixels+margin/weight=2
clasp-pe:dropout-variance/passes=3
clasp-pe:mean-std/passes=3/rounds=4
coregcn:pixels/steps=20/lambda=2
coreset/first=typical
coreset:learned
coreset:learned:nt-xent=1+volume=0.35
coreset:pixels
coreset:segmenter-map
dropout-jsd/formula=plus/passes=4
dropout-variance/passes=5/aggregate=max
entropy/aggregate=foreground
entropy/aggregate=max
facility-location:learned/annotated=no
facility-location:pixels
foreground-random/share=1/pixels=3
foreground-random/share=0
foreground-random:marked/share=0.66
foreground-random:oracle
group-contrastive-coreset:ntxent-volume/first=typical
group-contrastive-coreset:nt-xent=1+patient=0.05+volume=0.35+slice=0
least-confidence/aggregate=sum
mean-std/statistic=var/aggregate=sum/passes=3
per-second:bald/passes=3/weight=0.5
power:entropy/beta=5
power:learning-loss/rank=yes
power:margin/rank=yes
power:per-second:entropy
prefilter:entropy+coreset/factor=3
prefilter:typiclust+margin
probcover:segmenter/clusters=3/purity=0.5
product:coreset+per-second:bald/passes=3
product:dropout-variance+group-contrastive-coreset/weight=2/passes=3
product:sample-ratio+entropy
borda:coregcn+learning-loss
sample-ratio/greedy=no
stochastic-batches/batches=20/reduce=max
stochastic-batches:bald/passes=3/reduce=sum
stochastic-batches:ensemble-entropy
balanced:learning-loss/beta=20
strided:3
suggestive-annotation/factor=3/passes=4
tta-jsd/passes=2/aggregate=max/rotation=30/noise=0.1/formula=plus
typiclust:learned:all/clusters=2/neighbours=3
typiclust:segmenter/smallest=1
usim-cosine/entries=first/parameters=50/greedy=stochastic/passes=4
usim-cosine/queries=12/eta=0/p=0.3/passes=4
usim-fisher/normalise=yes/queries=20/eta=0/damping=0.01/passes=4
vaal/steps=8/latent=8
variance-ratio/aggregate=foreground
"""
"""Arguments, options and wrappers."""

NAMES = (*PLAIN.split(), *VARIANTS.split())


@functools.cache
def sharp_model() -> Ensemble:
    """Two untrained networks that are sure of some pixels, so that no two slices have nearly the same score."""
    model = copy.deepcopy(fake_model())
    for network in model.networks():
        *_, last = (layer for layer in network.modules() if getattr(layer, "out_channels", 0) == CLASSES)
        last.weight.data *= 20.0
    return model


Situation = Callable[[Any], Pool]


def _cold(strategy: Any) -> Pool:
    """Before the first annotation and the first model."""
    return fake_pool(FakeStack(5, 6, side=16), strategy=strategy, seed=3)


def _annotated_only(strategy: Any) -> Pool:
    """Annotations, and no model yet."""
    return fake_pool(FakeStack(5, 6, side=16), strategy=strategy, annotated=SEEN, seed=3, number=2)


def _warm(strategy: Any) -> Pool:
    """In the middle of a study: a model of two members, annotations, a skipped and a blank slice."""
    stack = FakeStack(5, 6, blank=(17,), side=16)
    options: dict[str, Any] = {"annotated": SEEN, "skipped": [SliceId("volume01", 1)], "model": sharp_model()}
    return fake_pool(stack, strategy=strategy, seed=3, number=3, planned=5, **options)


def _limited(strategy: Any) -> Pool:
    """The same with limits, rows in another order, and another seed."""
    stack = FakeStack(5, 6, side=16)
    limits = Constraints(max_per_volume=2, max_per_patient=3, min_gap=2, blank=True)
    options: dict[str, Any] = {"annotated": SEEN[:2], "model": sharp_model(), "constraints": limits}
    return fake_pool(stack, rows=_shuffled(len(stack)), strategy=strategy, seed=7, number=4, **options)


def _volumes(strategy: Any) -> Pool:
    """Whole volumes."""
    stack = FakeStack(6, 3, blank=(3,), side=16)
    options: dict[str, Any] = {"annotated": SEEN[:1], "model": sharp_model(), "unit": "volume"}
    return fake_pool(stack, strategy=strategy, seed=3, number=2, **options)


SITUATIONS: dict[str, Situation] = {
    "cold": _cold,
    "annotated": _annotated_only,
    "warm": _warm,
    "limited": _limited,
    "volumes": _volumes,
}


def requests(name: str, situation: str) -> dict[str, list[Any]]:
    """What a strategy asks for: ``slices`` as [volume number, index], and ``scores``, None where it has none."""
    strategy = create_strategy(name)
    pool = SITUATIONS[situation](strategy)
    budget = 4 if situation == "volumes" else BUDGET
    rng = selection_generator(pool.plan.seed, name, pool.plan.number)
    choices = choose_slices(strategy, pool, budget, rng)
    slices = [[int(choice.slice.volume[-2:]), choice.slice.index] for choice in choices]
    return {"slices": slices, "scores": [None if c.score is None else float(f"{c.score:.6g}") for c in choices]}


LATER_NEEDS = {"augmentation", "features", "gradients", "loss-head"}
"""Needs that strategies declare since there are learners that do not meet them; the recording is older."""


def declared(name: str) -> dict[str, Any]:
    """What a strategy says of itself before it is used; the loop prepares embeddings and scores by it."""
    strategy = create_strategy(name)
    return {
        "embeddings": list(strategy.embeddings),
        "needs": sorted(strategy.needs - LATER_NEEDS),
        "head": strategy.loss_head,
    }


def _shuffled(count: int) -> list[int]:
    return sorted(range(count), key=lambda row: (row * 7919) % 101)


def cases() -> Iterator[tuple[str, str]]:
    """Every strategy in every situation; the long training of "vaal" only where it is left out."""
    return ((name, place) for name in NAMES for place in SITUATIONS if name != "vaal" or place == "cold")


def main() -> None:
    """Record."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {name: {"declared": declared(name)} for name in NAMES}
    for name, situation in cases():
        found[name][situation] = list(requests(name, situation).values())
    RECORDED.parent.mkdir(exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in found.items()]
    text = f'{{"computer": {json.dumps(computer())},\n"requests": {{\n' + ",\n".join(lines) + "\n}}\n"
    RECORDED.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
