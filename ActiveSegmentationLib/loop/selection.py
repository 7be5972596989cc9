"""One act of choosing: from a stack and what is annotated to the slices to annotate next."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.acquisition import (
    Choice,
    Constraints,
    Knowledge,
    Pool,
    Situation,
    Strategy,
    as_clause,
    check_choices,
    create_strategy,
    selection_generator,
)
from ActiveSegmentationLib.cohort import SliceId, SliceStack
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.loop.device import describe_device, versions
from ActiveSegmentationLib.loop.embeddings import embedders
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import Ensemble

LOSS_HEAD = "loss head"
"""In the provenance of requests: whether models that learn from the answers are to predict their loss."""


@dataclass(frozen=True)
class SelectionRequest:
    """What is asked for.

    Attributes:
        strategy: Name of the strategy.
        budget: Number of slices wanted; with the unit "volume" the number of volumes, unless ``in_slices``.
        seed: Seed of the strategy's random draws, of dropout masks and of what it trains for this choice.
        round: Number of the round; part of the random stream, so that rounds differ.
        rounds: Number of rounds that are planned, None where nobody knows.
        constraints: Limits on the choice.
        unit: "slice" or "volume".
        in_slices: Whether the budget counts slices where volumes are asked for: so many volumes are chosen as it takes,
            and the last one is asked for as far as the budget goes.
    """

    strategy: str
    budget: int
    seed: int = 0
    round: int = 1
    rounds: int | None = None
    constraints: Constraints = field(default_factory=Constraints)
    unit: str = "slice"
    in_slices: bool = False


@dataclass(frozen=True)
class SelectionResult:
    """What came of it.

    Attributes:
        choices: Chosen slices, the most urgent first.
        provenance: Settings, versions, keys and seconds, as JSON values.
    """

    choices: tuple[Choice, ...]
    provenance: dict[str, Any]


def suggest(
    request: SelectionRequest,
    stack: SliceStack,
    rows: np.ndarray,
    settings: LoopSettings,
    *,
    annotated: Collection[SliceId],
    skipped: Collection[SliceId] = (),
    model: Ensemble | None,
    knowledge: Knowledge | None = None,
    cache: Path,
    device: str,
    progress: Progress | None = None,
) -> SelectionResult:
    """Choose slices from the pool.

    Args:
        request: What is asked for.
        stack: The cohort's slices.
        rows: Rows of the pool; the learned metric is trained on them, without labels.
        settings: Settings of the loop.
        annotated: Slices annotated so far.
        skipped: Slices that must not be asked for.
        model: The model of the round before; None before the first training.
        knowledge: What else is known of the cohort.
        cache: Folder of what can be computed again.
        device: Torch device.
        progress: Told of every step.

    Raises:
        BadInput: If the budget is not positive, the strategy unknown, or no slice is left to ask for.
    """
    _require_sense(request)
    strategy = create_strategy(request.strategy)
    start = time.perf_counter()
    learned: dict[str, str] = {}
    available = embedders(
        stack,
        rows,
        settings,
        model=model,
        cache=cache,
        device=device,
        kinds=strategy.embeddings,
        keys=learned,
        progress=progress,
    )
    pool = Pool(
        stack,
        rows,
        annotated=annotated,
        skipped=skipped,
        constraints=request.constraints,
        embedders=available,
        device=device,
        model=model,
        knowledge=knowledge,
        figures=strategy.figures,
        unit=request.unit,
        round_number=request.round,
        rounds=request.rounds,
        seed=request.seed,
        progress=progress,
    )
    _require_open_slice(pool)
    choices = _choose(strategy, pool, request)
    _tell_missing(request, choices, or_silent(progress))
    provenance = {
        "versions": versions(),
        "device": describe_device(device),
        "stack": stack.key,
        "model": None if model is None else model.key,
        "learned networks": learned,
        "pool slices": len(pool),
        "annotated slices": int(pool.annotated.sum()),
        "skipped slices": int(pool.skipped.sum()),
        LOSS_HEAD: strategy.loss_head,
        "seconds": round(time.perf_counter() - start, 3),
    }
    return SelectionResult(tuple(choices), provenance)


def require_usable(name: str, situation: Situation) -> None:
    """Refuse a strategy that the situation does not allow.

    Raises:
        BadInput: If there is no such strategy, or it cannot be used; the message says why.
    """
    hindrance = create_strategy(name).hindrance(situation)
    if hindrance:
        advice = "Change that, or choose another strategy; the command strategies lists them."
        raise BadInput(f"This strategy cannot be used here. {hindrance}", where=f"strategy {name}", advice=advice)


def settings_for(name: str, settings: LoopSettings) -> LoopSettings:
    """The settings with what a strategy needs of the training.

    Raises:
        BadInput: If there is no such strategy.
    """
    return with_loss_head(settings) if create_strategy(name).loss_head else settings


def with_loss_head(settings: LoopSettings) -> LoopSettings:
    """The settings with models that predict their loss."""
    return replace(settings, training=replace(settings.training, loss_head=True))


def _require_sense(request: SelectionRequest) -> None:
    if request.budget < 1:
        raise BadInput(f"At least 1 slice must be asked for, not {request.budget}.", where="count")
    limits = request.constraints
    if request.unit == "volume" and (limits.max_per_volume is not None or limits.min_gap > 1):
        advice = "Leave them out, or ask for slices; the limit on patients counts volumes."
        message = "Limits on the slices of a volume mean nothing where whole volumes are asked for."
        raise BadInput(message, where="max_per_volume, min_gap", advice=advice)


def _tell_missing(request: SelectionRequest, choices: list[Choice], progress: Progress) -> None:
    if request.unit == "slice" or request.in_slices:
        found, what = len(choices), "slices"
    else:
        found, what = len({choice.slice.volume for choice in choices}), "volumes"
    if found < request.budget:
        progress.message(f"Only {found} of {request.budget} {what} can still be asked for.")


def _choose(strategy: Strategy, pool: Pool, request: SelectionRequest) -> list[Choice]:
    """The slices to ask for, whatever the unit."""

    def select(budget: int) -> list[Choice]:
        rng = selection_generator(request.seed, request.strategy, request.round)
        choices = strategy.select(pool, budget, rng)
        check_choices(choices, pool, budget)
        return choices

    if request.unit == "slice":
        return select(request.budget)
    if not request.in_slices:
        return _slices_of(select(request.budget), pool)
    counts = pool.slice_counts()
    volumes = max(1, round(request.budget / counts[counts > 0].mean()))
    chosen = _slices_of(select(volumes), pool)
    while len(chosen) < request.budget and len({choice.slice.volume for choice in chosen}) == volumes < len(pool):
        missing = request.budget - len(chosen)
        volumes = min(len(pool), volumes + max(1, round(missing / counts[counts > 0].mean())))
        chosen = _slices_of(select(volumes), pool)
    return chosen[: request.budget]


def _slices_of(choices: list[Choice], pool: Pool) -> list[Choice]:
    """Every open slice of the chosen volumes."""
    return [
        Choice(slice_id, choice.score, f"Whole volume: {as_clause(choice.reason)}")
        for choice in choices
        for slice_id in pool.slices_of(choice.slice)
    ]


def _require_open_slice(pool: Pool) -> None:
    if pool.allowance():
        return
    annotated, skipped = int(pool.annotated.sum()), int((pool.skipped & ~pool.annotated).sum())
    blank = len(pool) - annotated - skipped
    raise BadInput(
        f"No slice is left to ask for: {annotated} of {len(pool)} are annotated, {skipped} skipped, {blank} empty "
        "or ruled out by the limits.",
        where="pool",
        advice="Relax the limits, add volumes to the cohort, or go on with training and export.",
    )
