"""What a study offers to strategies, read from its files without loading a model."""

from __future__ import annotations

from typing import Any

from ActiveSegmentationLib.acquisition import Situation
from ActiveSegmentationLib.loop.overview import trained_rounds
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import TrainingSettings, lacking, member_settings
from ActiveSegmentationLib.segmentation.learner import DROPOUT
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.study.study_file import STUDY_FILE


def study_settings(study: Study) -> LoopSettings:
    """The settings of the loop that a study keeps.

    Raises:
        BadInput: If a section of the study's file is damaged.
    """
    return LoopSettings.from_json(study.settings, where=study.folder / STUDY_FILE)


def study_situation(study: Study) -> Situation:
    """What a study offers to strategies: its newest model, or the models that its settings will train.

    Raises:
        BadInput: If the study's settings or the description of its model are damaged.
    """
    settings, trained = study_settings(study), trained_rounds(study)
    count, training = settings.ensemble_members, settings.training
    if trained:
        members = member_settings(study.requests.round_folder(max(trained)) / "model")
        count, training = len(members), members[0]
    return Situation(members=count, extents=bool(study.extents.all()), **model_abilities(training))


def model_abilities(training: TrainingSettings) -> dict[str, Any]:
    """What models trained with these settings can do, as fields of ``Situation``.

    Raises:
        BadInput: If there is no such learner.
    """
    lacks = lacking(training)
    return {"dropout": DROPOUT not in lacks, "lacks": lacks - {DROPOUT}}
