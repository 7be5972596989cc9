"""Commands about learners: which there are, and which one a study uses: learners, settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli import settings_options
from ActiveSegmentationLib.cli.command import Options, command, say
from ActiveSegmentationLib.cli.next_steps import command_line

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation import LearnerInfo, TrainingSettings

COLUMN = 16
"""Width of the column of names."""


@command("learners")
@click.argument(
    "name", required=False, metavar="[NAME]", shell_complete=settings_options.complete_learner, help="only this learner"
)
def learners(options: Options) -> str:
    """List the learners."""
    from ActiveSegmentationLib.segmentation import describe_learner, describe_learners

    known = describe_learners() if options.name is None else [describe_learner(options.name, options=True)]
    if options.json:
        shared.print_json([info.to_json() for info in known])
    else:
        for info in known:
            say("\n".join(_lines(info)))
    return command_line("new", "STUDY", "--cohort", "C", "--annotation", "mask", "--learner", options.name or "NAME")


def _lines(info: LearnerInfo) -> list[str]:
    """A learner in lines: what it is, what it cannot do, what is missing, and its options."""
    lines = [f"{info.name:{COLUMN}} {info.summary}"]
    cannot = [*info.lacks, *(["learning from scribbles"] if info.needs_masks else [])]
    lines += [f"{'':{COLUMN}} Cannot: {', '.join(cannot)}."] if cannot else []
    lines += [f"{'':{COLUMN}} Not now: {info.unavailable_reason}"] if info.unavailable_reason else []
    lines += [f"{'':{COLUMN}} Exports: {', '.join(info.exports)}."] if info.exports else []
    for name, option in info.options.items():
        lines.append(f"{'':{COLUMN}}   {name}={_text(option.default)}  {option.meaning}")
    return lines


@command("settings")
@shared.study
@settings_options.training(unset="as it is", models="as it is")
def settings(options: Options) -> str:
    """Show or change how models are trained."""
    from ActiveSegmentationLib.loop import change_training, study_settings
    from ActiveSegmentationLib.study import Study

    study = Study.open(options.study)
    before = now = study_settings(study)
    if settings_options.any_given(options):
        with study.lock():
            training = settings_options.training_of(options, before.training)
            now = change_training(study, training, options.models)
    if options.json:
        shared.print_json({"training": _fields(now.training), "models": now.ensemble_members})
        return ""
    was, found = (_fields(each.training) | {"models": each.ensemble_members} for each in (before, now))
    for name, value in found.items():
        changed = f"  (was {_text(was[name])})" if value != was[name] else ""
        say(f"{name:{COLUMN}} {_text(value)}{changed}")
    return command_line("train", options.study)


def _fields(training: TrainingSettings) -> dict[str, Any]:
    """All settings of a training as JSON values, the learner first."""
    import dataclasses

    names = ["learner", "options", *(field.name for field in dataclasses.fields(training))]
    values = {name: getattr(training, name) for name in dict.fromkeys(names)}
    return values | {"options": dict(training.options), "augmentation": training.augmentation.to_json()}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(each)}" for name, each in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value).strip('"[]') or "none"
