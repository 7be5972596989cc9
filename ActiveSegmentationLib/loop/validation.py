"""Whether a cohort has what the best weights of a training can be chosen on."""

from __future__ import annotations

from ActiveSegmentationLib.cohort import Cohort, Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import TrainingSettings


def has_validation(cohort: Cohort) -> bool:
    """Whether any validation volume has a reference mask."""
    return any(volume.role == Role.VALIDATION and volume.mask is not None for volume in cohort.volumes)


def require_validation(training: TrainingSettings, cohort: Cohort) -> None:
    """Refuse settings that want the best weights of a cohort without validation masks, before anything is annotated.

    Raises:
        BadInput: If the settings select "best" and there is nothing to choose on.
    """
    if training.select == "best" and not has_validation(cohort):
        raise nothing_to_choose_on()


def nothing_to_choose_on() -> BadInput:
    """The error for a training that wants the best weights and has no validation masks."""
    advice = "Give the cohort validation volumes with masks, or keep the last weights (--select last)."
    return BadInput("There is no volume to choose the best weights on.", where="validation", advice=advice)
