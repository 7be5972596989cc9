"""Settings of a new study for which no learner was chosen."""

from __future__ import annotations

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, StackSettings
from ActiveSegmentationLib.cohort.preprocessing import resolve
from ActiveSegmentationLib.common.defaults import DEFAULT_LEARNER, FITTING_LEARNER, LARGE_SIDE
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.study.study_file import StudySettings


def usual_learner(cohort: Cohort, annotation: AnnotationKind, stack: StackSettings) -> str:
    """The learner of a study for which none was chosen.

    "auto" for scribbles, and for slices with more than 160 pixels on their longer side: there it was far better in the
    same time. Otherwise "unet", which is as good on small masks in less time. docs/experiments/learners.md has the
    measurements.

    Args:
        cohort: The cohort.
        annotation: Masks or scribbles.
        stack: How slices are prepared.
    """
    size = resolve(stack, cohort.volumes).size if cohort.volumes else None
    large = size is not None and max(size) > LARGE_SIDE
    return FITTING_LEARNER if large or annotation == AnnotationKind.SCRIBBLE else DEFAULT_LEARNER


def with_usual_learner(settings: StudySettings, cohort: Cohort, annotation: AnnotationKind | str) -> StudySettings:
    """The settings of a new study, which name the learner that fits the cohort if they say nothing of the training.

    Args:
        settings: JSON values in sections.
        cohort: The cohort.
        annotation: Masks or scribbles.

    Raises:
        BadInput: If the section "stack" cannot be used.
    """
    if "training" in settings:
        return dict(settings)
    with parsing("settings, section stack", "The settings of the slices cannot be used.", "Correct them."):
        stack = StackSettings.from_json(settings.get("stack", {}))
    learner = usual_learner(cohort, AnnotationKind(annotation), stack)
    return dict(settings) if learner == DEFAULT_LEARNER else {**settings, "training": {"learner": learner}}
