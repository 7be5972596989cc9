"""One act of choosing: from a stack and what is annotated to the slices to annotate next."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.acquisition import Choice, Constraints, Pool, check_choices, create_strategy
from ActiveSegmentationLib.cohort import SliceId, SliceStack
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop.device import describe_device, versions
from ActiveSegmentationLib.loop.embeddings import embedders
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import Ensemble


@dataclass(frozen=True)
class Question:
    """What is asked for.

    Attributes:
        strategy: Name of the strategy.
        budget: Number of slices wanted.
        seed: Seed of the strategy's random draws.
        round: Number of the round; part of the random stream, so that rounds differ.
        constraints: Limits on the choice.
    """

    strategy: str
    budget: int
    seed: int = 0
    round: int = 1
    constraints: Constraints = field(default_factory=Constraints)


@dataclass(frozen=True)
class Suggestion:
    """What came of it.

    Attributes:
        choices: Chosen slices, the most urgent first.
        provenance: Settings, versions, keys and seconds, as JSON values.
    """

    choices: tuple[Choice, ...]
    provenance: dict[str, Any]


def suggest(
    question: Question,
    stack: SliceStack,
    rows: np.ndarray,
    settings: LoopSettings,
    *,
    annotated: Collection[SliceId],
    skipped: Collection[SliceId] = (),
    model: Ensemble | None,
    cache: Path,
    device: str,
    progress: Progress | None = None,
) -> Suggestion:
    """Choose slices from the pool.

    Args:
        question: What is asked for.
        stack: The cohort's slices.
        rows: Rows of the pool; the learned metric is trained on them, without labels.
        settings: Settings of the loop.
        annotated: Slices annotated so far.
        skipped: Slices that must not be asked for.
        model: The model of the round before; None before the first training.
        cache: Folder of what can be computed again.
        device: Torch device.
        progress: Told of every step.

    Raises:
        BadInput: If the budget is not positive, the strategy unknown, or no slice is left to ask for.
    """
    if question.budget < 1:
        raise BadInput(f"At least 1 slice must be asked for, not {question.budget}.", where="count")
    strategy = create_strategy(question.strategy)
    start = time.perf_counter()
    available = embedders(
        stack,
        rows,
        settings,
        model=model,
        cache=cache,
        device=device,
        kinds=strategy.embeddings,
        progress=progress,
    )
    pool = Pool(
        stack,
        rows,
        annotated=annotated,
        skipped=skipped,
        constraints=question.constraints,
        embedders=available,
        device=device,
    )
    _require_open_slice(pool)
    rng = generator(question.seed, "acquisition", question.strategy, question.round)
    choices = strategy.select(pool, question.budget, rng)
    check_choices(choices, pool, question.budget)
    if len(choices) < question.budget:
        or_silent(progress).message(f"Only {len(choices)} of {question.budget} slices can still be asked for.")
    provenance = {
        "versions": versions(),
        "device": describe_device(device),
        "stack": stack.key,
        "model": None if model is None else model.key,
        "pool slices": len(pool),
        "annotated slices": int(pool.annotated.sum()),
        "skipped slices": int(pool.skipped.sum()),
        "seconds": round(time.perf_counter() - start, 3),
    }
    return Suggestion(tuple(choices), provenance)


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
