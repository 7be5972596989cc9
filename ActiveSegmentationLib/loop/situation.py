"""What a study offers to strategies, read from its files without loading a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ActiveSegmentationLib.acquisition import Situation
from ActiveSegmentationLib.loop.overview import trained_rounds
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.loop.validation import require_validation
from ActiveSegmentationLib.segmentation import TrainingSettings, check_learner, lacking, member_settings
from ActiveSegmentationLib.segmentation.learner import DROPOUT, LOSS_HEAD
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.study.study_file import STUDY_FILE


def study_settings(study: Study) -> LoopSettings:
    """The settings of the loop that a study keeps.

    Raises:
        BadInput: If a section of the study's file is damaged.
    """
    return LoopSettings.from_json(study.settings, where=study.folder / STUDY_FILE)


def change_training(study: Study, training: TrainingSettings, ensemble_members: int | None = None) -> LoopSettings:
    """Change how a study's models are trained from now on; its models and annotations stay.

    Args:
        study: The study.
        training: The new settings of the training.
        ensemble_members: Number of models to train in a round. Default: as before.

    Returns:
        The settings of the loop as they are now.

    Raises:
        BadInput: If the learner cannot be used, see ``check_learner``; if the best weights are wanted and there is
            nothing to choose on; or if the study cannot be written.
    """
    check_learner(training, study.annotation)
    require_validation(training, study.cohort)
    before = study_settings(study)
    members = before.ensemble_members if ensemble_members is None else ensemble_members
    after = replace(before, training=training, ensemble_members=members)
    if after != before:
        sections = after.to_json()
        study.change_settings({name: sections[name] for name in ("training", "members")})
    return after


def study_situation(study: Study) -> Situation:
    """What a study offers to strategies: its newest model, or the models that its settings will train.

    Whether there can be a head that predicts the loss depends on the settings alone: a request of a strategy that needs
    one decides how the next model is trained.

    Raises:
        BadInput: If the study's settings or the description of its model are damaged.
    """
    settings, trained = study_settings(study), trained_rounds(study)
    count, able = settings.ensemble_members, model_abilities(settings.training)
    if trained:
        members = member_settings(study.requests.round_folder(max(trained)) / "model")
        next_lacks = able["lacks"] & {LOSS_HEAD}
        count, able = len(members), model_abilities(members[0])
        able["lacks"] = able["lacks"] - {LOSS_HEAD} | next_lacks
    return Situation(members=count, extents=bool(study.extents.all()), **able)


def model_abilities(training: TrainingSettings) -> dict[str, Any]:
    """What models trained with these settings can do, as fields of ``Situation``.

    Raises:
        BadInput: If there is no such learner.
    """
    lacks = lacking(training)
    return {"dropout": DROPOUT not in lacks, "lacks": lacks - {DROPOUT}}
