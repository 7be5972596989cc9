"""What a protocol file may say: its fields, their types and their explanations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
from pydantic import Field

from ActiveSegmentationLib.training import Settings, settings

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Number = bool | int | float | str
Values = Number | tuple[Number, ...]
Budget = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")]


@settings
class Splits(Settings):
    """Parts of a cohort that are drawn anew for every repetition, instead of its own split.

    Attributes:
        kind: "holdout": random patients for each part, anew for each repetition; "fold": the patients in random order
            cut into equal folds, each of which is the test part of one repetition.
        count: Number of hold-outs, or of folds.
        used: Number of them that are run. Default: all.
        validation: Share of the patients for validation, 0 for none.
        test: Share of the patients for testing; not used by folds.
        seed: Seed of the draws.
    """

    where: ClassVar[str] = "splits"

    kind: Literal["holdout", "fold"]
    count: Annotated[int, Field(ge=2)]
    used: Count | None = None
    validation: float = Field(default=0.0, ge=0, lt=1)
    test: Share = 0.25
    seed: Natural = 0

    @pydantic.model_validator(mode="after")
    def _leaves_a_pool(self) -> Self:
        if self.used is not None and self.used > self.count:
            raise ValueError(f"'used' must be at most 'count' ({self.count}), not {self.used}.")
        if self.validation + self.test >= 1:
            raise ValueError("'validation' and 'test' together must leave patients for the pool.")
        return self


@settings
class ArmSettings(Settings):
    """One comparison: strategies on one kind of annotation with one learner.

    Attributes:
        annotation: What the simulated annotator draws: "mask" or "scribble".
        strategies: Names of the strategies to compare, with their options.
        rounds: Budgets: annotated slices after each round, cumulative, as numbers or percent of the pool ("2%").
        seeds: Seeds of the runs; every strategy is run with every seed.
        initial: Strategy of the first round, whose slices all strategies of a seed share; "own" lets each choose.
        initial_seeds: Seeds of the first round's slices, apart from the seeds of the runs: each of them is combined
            with every seed. Default: each run draws with its own seed.
        initial_sets: CSV table with the first round's slices of each seed, relative to the protocol file.
        training_seed: Seed of every training. Default: the seed of the run.
        unit: Request single slices ("slice") or whole volumes ("volume"); budgets count slices in both cases.
        learner: Name of the learner. Default: that of the training preset.
        learner_options: Settings that only this learner has.
        training: Training preset. Default: the learner's own.
        training_settings: Single settings of the training that differ from the preset.
        models: Models trained in every round, whose predictions are averaged.
        scored: Which of them is scored: their mean ("ensemble") or the "best" on the validation volumes.
        preparation: Preset of how slices are prepared.
        stack_settings: Single settings of the preparation that differ from the preset.
        metric: Preset of the learned metric.
        metric_steps: Training steps of learned metrics. Default: those of the preset.
        metrics: Evaluation metrics to compute.
        absent: Dice of a class in neither reference nor prediction: "nan" (left out), "one" or "zero".
        max_per_volume: Most slices of a volume in a round. Default: no limit.
        max_per_patient: Most slices of a patient in a round. Default: no limit.
        min_gap: Smallest distance of two slices of a volume.
        blank: Whether slices without image content may be requested.
        marks: Whether strategies know the first and last slice with structures of every volume.
        upper_bound: Whether a model is trained on the whole pool as well, for every seed.
        diagnostics: Whether uncertainty, its relation to errors, and predictions of a few planes are kept.
        splits: Parts drawn anew for repetitions. Default: the cohort's own split, or that of --split.
        copies: Number of copies of the first volume of the pool that are added to it after the first round.
    """

    where: ClassVar[str] = "experiment"

    annotation: Literal["mask", "scribble"] = "mask"
    strategies: tuple[str, ...] = Field(default=("random",), min_length=1)
    rounds: tuple[Budget, ...] = Field(default=("2%", "3%", "5%"), min_length=1)
    seeds: tuple[Natural, ...] = Field(default=(0,), min_length=1)
    initial: str = "random"
    initial_seeds: tuple[Natural, ...] = ()
    initial_sets: str | None = None
    training_seed: Natural | None = None
    unit: Literal["slice", "volume"] = "slice"
    learner: str | None = None
    learner_options: Mapping[str, Number] = field(default_factory=dict)
    training: str | None = None
    training_settings: Mapping[str, Any] = field(default_factory=dict)
    models: Count = 1
    scored: Literal["ensemble", "best"] = "ensemble"
    preparation: str = "auto"
    stack_settings: Mapping[str, Values] = field(default_factory=dict)
    metric: str = "auto"
    metric_steps: Count | None = None
    metrics: tuple[str, ...] = ("dice", "hd95")
    absent: Literal["nan", "one", "zero"] = "nan"
    max_per_volume: Count | None = None
    max_per_patient: Count | None = None
    min_gap: Natural = 0
    blank: bool = False
    marks: bool = False
    upper_bound: bool = False
    diagnostics: bool = False
    splits: Splits | None = None
    copies: Natural = 0

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("strategies", "seeds", "initial_seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"'{name}' names something twice.")
        given = [name for name in ("initial_seeds", "initial_sets", "copies") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"'{given[0]}' and '{given[1]}' both say where the first slices come from: leave one out.")
        return self


FIELDS = ArmSettings.meanings()
"""Every field of an experiment with its explanation."""


@settings
class Scale(Settings):
    """How a protocol is changed to be run at a smaller scale.

    Attributes:
        about: What is smaller, in a sentence.
        only: Names of the arms that are run. Default: all.
        experiment: Fields that are changed in every arm.
        arms: Fields that are changed in single arms, by the arm's name.
    """

    where: ClassVar[str] = "scale"

    about: str
    only: tuple[str, ...] = ()
    experiment: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@settings
class ProtocolFile(Settings):
    """A protocol file.

    Attributes:
        title: What is compared, a few words.
        source: Paper, table or figure that it follows.
        about: What the experiment should show, a few sentences.
        differences: What differs from the source, a sentence each.
        experiment: Fields of all arms.
        arms: Fields of single arms, by name: an arm has everything of the experiment and what it changes. Default: one
            arm.
        scales: Smaller versions, by name.
    """

    where: ClassVar[str] = "protocol"

    title: str
    experiment: Mapping[str, Any]
    source: str = ""
    about: str = ""
    differences: tuple[str, ...] = ()
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scales: Mapping[str, Scale] = field(default_factory=dict)
