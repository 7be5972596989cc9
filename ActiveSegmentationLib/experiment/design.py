"""The design of an experiment, and what its runs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ActiveSegmentationLib.acquisition import Constraints
from ActiveSegmentationLib.cohort import AnnotationKind, Role, SliceId, SliceStack
from ActiveSegmentationLib.common.files import hash_json
from ActiveSegmentationLib.evaluation import AbsentRule
from ActiveSegmentationLib.experiment.annotators import Annotator
from ActiveSegmentationLib.loop import LoopSettings
from ActiveSegmentationLib.study import LabelSet

Scored = Literal["ensemble", "best"]
"""Which model of a round is scored: the mean of the ensemble, or its best member on the validation volumes."""


@dataclass(frozen=True)
class Design:
    """Design of an experiment, which all its runs share.

    Attributes:
        cohort: Name of the cohort in the result files.
        rows: Rows of the stack by role; strategies choose from those of the pool.
        labels: The label set.
        annotation: Masks or scribbles.
        rounds: Cumulative numbers of annotated slices.
        initial: Strategy of the first round, which selects the same slices for all strategies of a seed; "" lets each
            strategy select its own.
        constraints: Limits on every choice.
        settings: Settings of the loop.
        metrics: Names of the evaluation metrics to compute.
        absent: Dice of a class that neither the reference nor the prediction has, see ``volume_metrics``.
        unit: "slice", or "volume" to request whole volumes; the rounds count slices in both cases.
        marks: Whether strategies know the extent of the structures in every volume of the pool.
        initial_seed: Seed of the slices of the first round, the same for all runs. Default: each run's own.
        training_seed: Seed of all trainings of models, the same for all runs. Default: each run's own.
        initial_sets: Slices of the first round by the seed of the run, instead of ``initial``.
        scored: Which model of a round is scored: the "ensemble", or its "best" member on the validation volumes.
        diagnostics: Whether every round also measures the uncertainty of its batch and how it predicts errors, and
            keeps predictions of a few test planes.
    """

    cohort: str
    rows: dict[Role, np.ndarray]
    labels: LabelSet
    annotation: AnnotationKind
    rounds: tuple[int, ...]
    initial: str
    constraints: Constraints
    settings: LoopSettings
    metrics: tuple[str, ...]
    absent: AbsentRule = "nan"
    unit: str = "slice"
    marks: bool = False
    initial_seed: int | None = None
    training_seed: int | None = None
    initial_sets: Mapping[int, tuple[SliceId, ...]] | None = None
    scored: Scored = "ensemble"
    diagnostics: bool = False

    @property
    def shares_first_round(self) -> bool:
        """Whether all strategies of a seed start from the same slices."""
        return bool(self.initial) or self.initial_sets is not None

    def to_json(self) -> dict[str, Any]:
        """The design as JSON values; the rows by their hash."""
        rows = {str(role): hash_json([int(row) for row in rows]) for role, rows in self.rows.items()}
        return {
            "cohort": self.cohort,
            "rows": rows,
            "labels": self.labels.to_json(),
            "annotation": str(self.annotation),
            "rounds": list(self.rounds),
            "initial": self.initial,
            "constraints": self.constraints.to_json(),
            "settings": self.settings.to_json(),
            "metrics": list(self.metrics),
            **({} if self.unit == "slice" else {"unit": self.unit}),
            **({} if self.absent == "nan" else {"absent": self.absent}),
            **({"marks": True} if self.marks else {}),
            **({} if self.scored == "ensemble" else {"scored": self.scored}),
            **({"diagnostics": True} if self.diagnostics else {}),
            "seeds": self._seeds(),
        }

    def _seeds(self) -> dict[str, Any]:
        """The seed of each part; earlier versions had one learned metric for all seeds, so that they differ here."""
        seeds: dict[str, Any] = {"learned networks": "run"}
        seeds["first round"] = "run" if self.initial_seed is None else self.initial_seed
        seeds["training"] = "run" if self.training_seed is None else self.training_seed
        if self.initial_sets is not None:
            sets = sorted((seed, [[s.volume, s.index] for s in chosen]) for seed, chosen in self.initial_sets.items())
            seeds["first round"] = f"given ({hash_json(sets)[:16]})"
        return seeds


@dataclass(frozen=True)
class RunContext:
    """Data and settings that all runs of an experiment share.

    Attributes:
        design: What all runs share.
        stack: The cohort's slices with their reference labels.
        annotator: Answers the requests.
        cache: Folder of learned networks and embeddings, shared by all runs.
        device: PyTorch device, or "auto" for the one of the computer that computes.
    """

    design: Design
    stack: SliceStack
    annotator: Annotator
    cache: Path
    device: str
