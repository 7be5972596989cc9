"""Arms of a protocol as benchmarks: settings, parts of the cohort and first slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.acquisition import Constraints, Situation, create_strategy
from ActiveSegmentationLib.cohort import STACK_PRESETS, Cohort, Role, SliceId, StackSettings
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.embedding import EMBEDDING_PRESETS
from ActiveSegmentationLib.evaluation import CostModel
from ActiveSegmentationLib.experiment.parts import sets_without_copies, split_cohorts, with_copies
from ActiveSegmentationLib.experiment.protocol import parse_rounds
from ActiveSegmentationLib.experiment.protocol_files import Protocol
from ActiveSegmentationLib.experiment.protocol_settings import ArmSettings
from ActiveSegmentationLib.experiment.service import BenchmarkOptions, with_test_part
from ActiveSegmentationLib.experiment.workers import Workers
from ActiveSegmentationLib.loop import LoopSettings, model_abilities
from ActiveSegmentationLib.segmentation import TrainingSettings, check_learner, training_for


@dataclass(frozen=True)
class ExperimentOptions:
    """How a protocol is run.

    Attributes:
        protocol: The protocol.
        scale: Name of the scale.
        cohort: The cohort, its volumes with their roles.
        name: Name of the cohort in result files.
        out: Folder of the results.
        arms: Names of the arms to run. Default: all of the scale.
        labels: "1=NAME,2=NAME", or None for the cohort's own.
        initial_sets: Table with the first round's slices of each seed, instead of what the protocol says.
        costs: Seconds for annotating a slice.
        workers: Who computes, and how many runs at a time.
        track: Where finished rounds are shown too: "tensorboard" (files in the folders of the results) or "mlflow" (the
            server or database of MLFLOW_TRACKING_URI). Default: nowhere.
        device: "auto" or a PyTorch device.
        command: The command as it was typed, for the report.
    """

    protocol: Protocol
    scale: str
    cohort: Cohort
    name: str
    out: Path
    arms: tuple[str, ...] = ()
    labels: str | None = None
    initial_sets: Path | None = None
    costs: CostModel = field(default_factory=CostModel)
    workers: Workers = field(default_factory=Workers)
    track: str = ""
    device: str = "auto"
    command: str = ""


@dataclass(frozen=True)
class Part:
    """One benchmark of an experiment.

    Attributes:
        arm: Name of the arm.
        name: What distinguishes it from other parts of the arm, such as "holdout-1"; "" if it is the only one.
        options: The benchmark.
    """

    arm: str
    name: str
    options: BenchmarkOptions


def chosen_arms(options: ExperimentOptions) -> dict[str, ArmSettings]:
    """The arms to run, by name.

    Raises:
        BadInput: If an arm that is asked for is not in the protocol at this scale.
    """
    arms = options.protocol.arms(options.scale)
    unknown = [name for name in options.arms if name not in arms]
    if unknown:
        advice = f"Its arms are: {', '.join(arms)}."
        message = f"The experiment has no arm '{unknown[0]}' at the scale '{options.scale}'."
        raise BadInput(message, where=options.protocol.path, advice=advice)
    return {name: arm for name, arm in arms.items() if not options.arms or name in options.arms}


def unusable_learners(arms: Mapping[str, ArmSettings]) -> dict[str, str]:
    """Arms whose learner is not there, lacks a package or cannot do what a strategy needs, with the reason in words."""
    found = {}
    for name, arm in arms.items():
        try:
            training = training_of(arm)
            check_learner(training, arm.annotation)
            able = Situation(arm.models, extents=arm.marks, experiment=True, **model_abilities(training))
            reasons = {each: create_strategy(each).unavailable_reason(able) for each in arm.strategies}
        except BadInput as error:
            found[name] = error.message
            continue
        refused = [f"{strategy}: {reason}" for strategy, reason in reasons.items() if reason]
        if refused:
            found[name] = f"With the learner '{training.learner}' these strategies cannot be used. {' '.join(refused)}"
    return found


def require_learners(protocol: Protocol, arms: Mapping[str, ArmSettings]) -> None:
    """Refuse an experiment some of whose learners cannot be used; names all of them.

    Raises:
        BadInput: If there is such an arm.
    """
    found = unusable_learners(arms)
    if not found:
        return
    usable = [name for name in arms if name not in found]
    advice = "Correct the protocol, or install what is missing."
    if usable:
        advice = f"Run only the other arms with --arms {','.join(usable)}."
    lines = " ".join(f"{name}: {reason}" for name, reason in found.items())
    count = f"{len(found)} of {len(arms)} arms" if len(arms) > 1 else "The experiment"
    raise BadInput(f"{count} cannot be run here. {lines}", where=protocol.path, advice=advice)


def training_of(arm: ArmSettings) -> TrainingSettings:
    """The settings of an arm's training.

    Raises:
        BadInput: If there is no such preset or learner, or a setting is unknown or not valid.
    """
    preset = training_for(arm.training, arm.learner)
    changed = dict(arm.training_settings)
    if isinstance(changed.get("augmentation"), Mapping):
        changed["augmentation"] = {**preset.augmentation.to_json(), **changed["augmentation"]}
    changed["options"] = {**preset.options, **arm.learner_options}
    steps = changed.get("steps")
    if isinstance(steps, int):  # they replace the epochs or minutes of the preset
        preset = preset.with_steps(steps)
    return TrainingSettings.from_json({**preset.to_json(), **changed})


def loop_settings_of(arm: ArmSettings) -> LoopSettings:
    """The settings of an arm's loop.

    Raises:
        BadInput: If a preset does not exist, or a setting is unknown or not valid.
    """
    stack = _preset(STACK_PRESETS, arm.preparation, "preparation")
    stack = StackSettings.from_json({**stack.to_json(), **arm.stack_settings})
    embedding = _preset(EMBEDDING_PRESETS, arm.metric, "metric")
    if arm.metric_steps is not None:
        embedding = replace(embedding, steps=arm.metric_steps)
    return LoopSettings(stack, embedding, training_of(arm), arm.models)


def _preset(presets: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in presets:
        advice = f"Choose one of: {', '.join(sorted(presets))}."
        raise BadInput(f"There is no preset called '{name}'.", where=where, advice=advice)
    return presets[name]


def parts_of(options: ExperimentOptions, arm_name: str, arm: ArmSettings, progress: Progress) -> list[Part]:
    """The benchmarks of an arm: one for every repetition and every seed of the first slices.

    Args:
        options: How the protocol is run.
        arm_name: Name of the arm.
        arm: The arm.
        progress: Progress reporter.

    Raises:
        BadInput: If the cohort does not fit the arm.
    """
    cohorts = {"": options.cohort} if arm.splits is None else split_cohorts(options.cohort, arm.splits)
    initial_seeds: Iterable[int | None] = arm.initial_seeds or (None,)
    found = []
    for (part, cohort), initial_seed in product(cohorts.items(), initial_seeds):
        words = [*filter(None, [part]), *([] if initial_seed is None else [f"initial-{initial_seed}"])]
        name, folder = "-".join(words), options.out / "arms" / arm_name
        own = _benchmark(options, arm, with_test_part(cohort, progress), folder / name if name else folder)
        found.append(Part(arm_name, name, replace(own, initial_seed=initial_seed)))
    return found


def _benchmark(options: ExperimentOptions, arm: ArmSettings, cohort: Cohort, out: Path) -> BenchmarkOptions:
    sets = _initial_sets(options, arm, cohort)
    return BenchmarkOptions(
        cohort=with_copies(cohort, arm.copies) if arm.copies else cohort,
        name=options.name,
        strategies=arm.strategies,
        rounds=",".join(map(str, arm.rounds)),
        seeds=arm.seeds,
        out=out,
        initial="" if arm.initial == "own" else arm.initial,
        metrics=arm.metrics,
        absent=arm.absent,
        labels=options.labels,
        annotation=arm.annotation,
        constraints=Constraints(arm.max_per_volume, arm.max_per_patient, arm.min_gap, arm.blank),
        unit=arm.unit,
        marks=arm.marks,
        training_seed=arm.training_seed,
        initial_sets=sets,
        scored=arm.scored,
        diagnostics=arm.diagnostics,
        upper_bound=arm.upper_bound,
        costs=options.costs,
        settings=loop_settings_of(arm),
        workers=options.workers,
        device=options.device,
        command=options.command,
        stacks=options.out / "cache" / "stacks",
    )


def _initial_sets(
    options: ExperimentOptions, arm: ArmSettings, cohort: Cohort
) -> Path | Mapping[int, tuple[SliceId, ...]] | None:
    """Where the first slices of an arm come from, if neither a strategy nor a seed draws them."""
    if options.initial_sets is not None:
        return options.initial_sets
    if arm.initial_sets is not None:
        return options.protocol.path.parent / arm.initial_sets
    if not arm.copies:
        return None
    size = sum(volume.slice_count for volume in cohort.volumes if volume.role == Role.POOL)
    first = parse_rounds(str(arm.rounds[0]), size)[0]
    return sets_without_copies(cohort, arm.seeds, first)
