"""What a pool is made of in addition to slices: statistics of the cohort, the round, embeddings and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ActiveSegmentationLib.acquisition.constraints import Constraints
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.compute import Compute

if TYPE_CHECKING:
    from ActiveSegmentationLib.uncertainty import Predictor, Sampler

Embedder = Callable[[np.ndarray], np.ndarray]
"""Rows of the stack (n,) -> features (n, d) float32."""

UNITS = ("slice", "volume")
"""Units of a request: single slices, or whole volumes."""


class ScoreSpec(NamedTuple):
    """A score of predictions that a strategy needs.

    Attributes:
        sampler: Source of the predictions.
        name: Name from ``uncertainty.SCORES`` (one number per slice) or ``uncertainty.CLASS_SCORES`` (one per class).
    """

    sampler: Sampler
    name: str


@dataclass(frozen=True)
class PoolStatistics:
    """What is known about a cohort in addition to its images.

    Attributes:
        class_pixels: For every annotated slice its number of pixels (C,) of each class, background first, without
            unlabelled pixels.
        seconds: For annotated slices whose annotation time was measured, that time in seconds.
        extents: For volumes with a marked extent, its first and last slice index, both included.
        truth: Rows of the stack (n,) -> (n, C) bool, the classes in a slice's reference labels, background first; in
            experiments only.
        class_names: Name of every class, background first.
    """

    class_pixels: Mapping[SliceId, np.ndarray] | None = None
    seconds: Mapping[SliceId, float] | None = None
    extents: Mapping[str, tuple[int, int]] | None = None
    truth: Callable[[np.ndarray], np.ndarray] | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoundPlan:
    """The round for which slices are selected.

    Attributes:
        number: Its number, from 1.
        planned: Number of planned rounds, None if unknown.
        seed: Seed of dropout masks, augmented predictions, networks that are trained during one selection, and of the
            fallback slices if a strategy is not ready.
        unit: "slice" or "volume".
        constraints: Limits on the choices.
    """

    number: int = 1
    planned: int | None = None
    seed: int = 0
    unit: str = "slice"
    constraints: Constraints = field(default_factory=Constraints)


@dataclass(frozen=True)
class Sources:
    """Sources of embeddings and predictions.

    Attributes:
        model: The model of the previous round, or None before the first training.
        embedders: Functions that compute each kind of embedding, called at most once per pool.
        score_specs: Scores that the strategy will ask for; scores of the same sampler are computed in one pass.
        compute: Device that strategies may compute on, and progress reporter.
    """

    model: Predictor | None = None
    embedders: Mapping[str, Embedder] = field(default_factory=dict)
    score_specs: Sequence[ScoreSpec] = ()
    compute: Compute = field(default_factory=Compute)
