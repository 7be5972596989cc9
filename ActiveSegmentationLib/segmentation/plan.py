"""The plan of a training: the settings that its learner decided on, kept so that every repetition uses them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json, read_json, write_json
from ActiveSegmentationLib.segmentation.learners import learner_class
from ActiveSegmentationLib.segmentation.settings import TrainingSettings

if TYPE_CHECKING:
    from ActiveSegmentationLib.common.compute import Compute
    from ActiveSegmentationLib.segmentation.examples import Examples
    from ActiveSegmentationLib.segmentation.slices import Slices

PLAN = "plan.json"
"""Name of the plan in the folder of a round's models."""


def planned_settings(
    settings: TrainingSettings,
    stack: Slices,
    examples: Examples,
    classes: int,
    *,
    folder: Path,
    compute: Compute,
) -> TrainingSettings:
    """The settings to train with: those in the folder if they were decided for the same task, otherwise newly decided.

    A decision may rest on a measurement of time, so that it differs from one time to the next; a training that is
    resumed or repeated in the same folder must not decide again. All ensemble members share one plan.

    Args:
        settings: Settings as they were asked for.
        stack: The cohort's slices.
        examples: Annotated slices.
        classes: Number of classes including background.
        folder: Folder of the models.
        compute: Device and progress reporter.

    Raises:
        BadInput: If the learner cannot use the settings, or the plan in the folder is damaged.
    """
    learner = learner_class(settings.learner)
    learner.check(settings)
    examples.check(classes, stack.grid_shape)
    key = hash_json([stack.key, examples.key, classes, settings.to_json()])
    path = folder / PLAN
    if path.is_file():
        plan = read_json(path)
        if not isinstance(plan, dict) or not {"key", "settings"} <= set(plan):
            advice = "Delete this file: the settings are then decided again."
            raise BadInput("The plan of the training is damaged.", where=path, advice=advice)
        if plan["key"] == key:
            return TrainingSettings.from_json(plan["settings"])
    decided = learner.configure(learner.fitted_to(settings, examples), stack, classes, compute=compute)
    if decided != settings:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"key": key, "asked": settings.to_json(), "settings": decided.to_json()})
    return decided
