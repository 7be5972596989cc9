"""Select the slices to annotate next, from a slice stack and its annotations so far."""

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
    Pool,
    PoolStatistics,
    RoundPlan,
    Situation,
    Sources,
    Strategy,
    as_clause,
    check_choices,
    create_strategy,
    selection_generator,
)
from ActiveSegmentationLib.cohort import SliceId, SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.loop.device import describe_device, versions
from ActiveSegmentationLib.loop.embeddings import Embeddings
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import Ensemble

NOT_READY = "balanced-random"
"""Fallback for strategies that are not ready yet."""

LOSS_HEAD = "loss head"
"""In the provenance of requests: whether models that learn from the answers are to predict their loss."""


@dataclass(frozen=True)
class SelectionRequest:
    """How many slices to select, and how.

    Attributes:
        strategy: Name of the strategy.
        budget: Number of slices to select; with the unit "volume" the number of volumes, unless ``in_slices`` is True.
        seed: Seed of the strategy's random draws, of dropout masks and of networks that it trains for this selection.
        round: Number of the round; part of the random stream, so that rounds differ.
        rounds: Number of rounds that are planned, or None if it is not known.
        constraints: Limits on the choice.
        unit: "slice" or "volume".
        in_slices: Whether the budget counts slices where volumes are selected: as many volumes are selected as needed,
            and only the slices within the budget are requested.
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
class SelectionState:
    """The slices, annotations and model that a selection starts from.

    Attributes:
        stack: The cohort's slices.
        rows: Rows of the pool; the learned metric is trained on them, without labels.
        annotated: Slices annotated so far.
        skipped: Slices that must not be requested.
        model: The model of the previous round; None before the first training.
        statistics: What else is known about the cohort.
    """

    stack: SliceStack
    rows: np.ndarray
    annotated: Collection[SliceId] = ()
    skipped: Collection[SliceId] = ()
    model: Ensemble | None = None
    statistics: PoolStatistics | None = None


@dataclass(frozen=True)
class SelectionResult:
    """The selected slices, and how they were selected.

    Attributes:
        choices: Selected slices, the most urgent first.
        provenance: Settings, versions, keys and seconds, as JSON values.
    """

    choices: tuple[Choice, ...]
    provenance: dict[str, Any]


def suggest(
    request: SelectionRequest,
    state: SelectionState,
    settings: LoopSettings,
    *,
    cache: Path,
    compute: Compute | None = None,
) -> SelectionResult:
    """Select the slices to annotate next.

    Args:
        request: How many slices to select, and how.
        state: Slices, annotations and model to start from.
        settings: Settings of the loop.
        cache: Folder of what can be computed again.
        compute: Device and progress reporter. Default: the CPU.

    Raises:
        BadInput: If the budget is not positive, the strategy is unknown, or no slice is left to request.

    Example:
        >>> state = SelectionState(stack, rows, annotated=annotations)
        >>> suggest(SelectionRequest("balanced-random", budget=10), state, LoopSettings(), cache=folder).choices
    """
    compute = compute or Compute()
    _require_sense(request)
    strategy = create_strategy(request.strategy)
    start = time.perf_counter()
    embeddings = Embeddings(state.stack, state.rows, settings, cache, compute)
    pool = _pool(request, state, strategy, embeddings)
    _require_open_slice(pool)
    choices = _choose(strategy, pool, request)
    _report_missing(request, choices, compute.progress)
    provenance = _provenance(pool, state, compute.device)
    provenance |= {"learned networks": embeddings.keys, LOSS_HEAD: strategy.loss_head}
    provenance["seconds"] = round(time.perf_counter() - start, 3)
    return SelectionResult(tuple(choices), provenance)


def _pool(request: SelectionRequest, state: SelectionState, strategy: Strategy, embeddings: Embeddings) -> Pool:
    return Pool(
        state.stack,
        state.rows,
        annotated=state.annotated,
        skipped=state.skipped,
        statistics=state.statistics,
        plan=RoundPlan(request.round, request.rounds, request.seed, request.unit, request.constraints),
        sources=Sources(
            state.model,
            embeddings.embedders(state.model, strategy.embeddings),
            strategy.score_specs,
            embeddings.compute,
        ),
    )


def _provenance(pool: Pool, state: SelectionState, device: str) -> dict[str, Any]:
    return {
        "versions": versions(),
        "device": describe_device(device),
        "stack": state.stack.key,
        "model": None if state.model is None else state.model.key,
        "pool slices": len(pool),
        "annotated slices": int(pool.annotated.sum()),
        "skipped slices": int(pool.skipped.sum()),
    }


def choose_slices(strategy: Strategy, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
    """Let a strategy select slices; if it is not ready yet, draw balanced random ones, and the reasons say so.

    The fallback slices are those that "balanced-random" draws with the pool's seed in this round, so all strategies
    that need a model start from the same slices.

    Args:
        strategy: The strategy.
        pool: The slices to choose from.
        budget: Number of slices wanted.
        rng: Source of the strategy's random draws.
    """
    reason = strategy.not_ready_reason(pool)
    if not reason:
        return strategy.select(pool, budget, rng)
    rng = selection_generator(pool.plan.seed, NOT_READY, pool.plan.number)
    chosen = create_strategy(NOT_READY).select(pool, budget, rng)
    return [Choice(choice.slice, None, f"{reason}, so {as_clause(choice.reason)}") for choice in chosen]


def require_usable(name: str, situation: Situation) -> None:
    """Refuse a strategy that cannot be used in a situation.

    Raises:
        BadInput: If there is no such strategy, or it cannot be used; the message says why.
    """
    reason = create_strategy(name).unavailable_reason(situation)
    if reason:
        advice = "Change that, or choose another strategy; the command strategies lists them."
        raise BadInput(f"This strategy cannot be used here. {reason}", where=f"strategy {name}", advice=advice)


def settings_for(name: str, settings: LoopSettings) -> LoopSettings:
    """The settings, adapted to what a strategy needs from the training.

    Raises:
        BadInput: If there is no such strategy.
    """
    return with_loss_head(settings) if create_strategy(name).loss_head else settings


def with_loss_head(settings: LoopSettings) -> LoopSettings:
    """The settings, changed so that models predict their own loss."""
    return replace(settings, training=replace(settings.training, loss_head=True))


def _require_sense(request: SelectionRequest) -> None:
    if request.budget < 1:
        raise BadInput(f"At least 1 slice must be requested, not {request.budget}.", where="count")
    limits = request.constraints
    if request.unit == "volume" and (limits.max_per_volume is not None or limits.min_gap > 1):
        advice = "Leave them out, or request slices; the limit on patients counts volumes."
        message = "Limits on the slices of a volume do not apply to requests of whole volumes."
        raise BadInput(message, where="max_per_volume, min_gap", advice=advice)


def _report_missing(request: SelectionRequest, choices: list[Choice], progress: Progress) -> None:
    if request.unit == "slice" or request.in_slices:
        found, what = len(choices), "slices"
    else:
        found, what = len({choice.slice.volume for choice in choices}), "volumes"
    if found < request.budget:
        progress.message(f"Only {found} of {request.budget} {what} can still be requested.")


def _choose(strategy: Strategy, pool: Pool, request: SelectionRequest) -> list[Choice]:
    """The slices to request, whether single slices or whole volumes are selected."""

    def select(budget: int) -> list[Choice]:
        rng = selection_generator(request.seed, request.strategy, request.round)
        choices = choose_slices(strategy, pool, budget, rng)
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
    """Every open slice of the selected volumes."""
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
        f"No slice is left to request: {annotated} of {len(pool)} are annotated, {skipped} skipped, {blank} empty "
        "or excluded by the limits.",
        where="pool",
        advice="Relax the limits, add volumes to the cohort, or continue with training and export.",
    )
