"""The learners that a study can use, and the one that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ActiveSegmentationLib.cohort import AnnotationKind
from ActiveSegmentationLib.common.defaults import DEFAULT_LEARNER
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.loop.overview import trained_rounds
from ActiveSegmentationLib.loop.situation import change_training, study_settings
from ActiveSegmentationLib.loop.validation import has_validation
from ActiveSegmentationLib.segmentation import LearnerInfo, describe_learners, with_learner, with_options
from ActiveSegmentationLib.study import Study

NEEDS_MASKS = "It cannot learn from scribbles, which this study has: choose another learner."


def study_learners(study: Study | None = None) -> list[LearnerInfo]:
    """All learners with their options, and why the study cannot use some of them.

    Imports the learners, and with them PyTorch, if it is installed.

    Args:
        study: The study. Default: none, and so no reason that only a study has.
    """
    found = describe_learners(options=True)
    if study is None or study.annotation != AnnotationKind.SCRIBBLE:
        return found
    return [replace(info, unavailable_reason=NEEDS_MASKS) if info.needs_masks else info for info in found]


def chosen_learner(study: Study) -> dict[str, Any]:
    """The learner that a study uses: its "name", its "options" that are set, and how long it trains.

    The length is "minutes" unless they are 0, else "epochs" unless they are 0, else "steps".

    Raises:
        BadInput: If the study's settings are damaged.
    """
    training = study_settings(study).training
    length = {"minutes": training.minutes, "epochs": training.epochs, "steps": training.steps}
    return {"name": training.learner, "options": dict(training.options), **length}


def trained_learner(study: Study) -> str | None:
    """Name of the learner of a study's latest model; None before the first training.

    Raises:
        BadInput: If the model's files are damaged.
    """
    rounds = trained_rounds(study)
    if not rounds:
        return None
    training = (study.requests.read_record(max(rounds), "config") or {}).get("settings", {}).get("training", {})
    return training.get("learner", DEFAULT_LEARNER)


def choose_learner(study: Study, name: str, options: Mapping[str, str], *, progress: Progress | None = None) -> None:
    """Change the learner of a study from now on; the study's record keeps the change.

    Args:
        study: The study.
        name: Name of the learner. Other settings of the training stay if it is the present one; otherwise they are
            those that belong to its name.
        options: Texts of its options; options that are not given have their usual values.
        progress: Gets a message if the last weights are kept although the learner's own settings want the best, because
            the study has no validation masks. Default: none.

    Raises:
        BadInput: If the learner or an option cannot be used, or the study cannot be written.
    """
    training = with_options(with_learner(study_settings(study).training, name), options)
    if training.select == "best" and not has_validation(study.cohort):
        training = replace(training, select="last")
        or_silent(progress).message(
            "Trainings will keep the weights of their last step, not the best: no volume for validation has a mask."
        )
    change_training(study, training)
