"""What a study has, so that it can be told beforehand which strategies it can use."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition import Situation
from ActiveSegmentationLib.loop.study_loop import StudyLoop
from ActiveSegmentationLib.study import Study


def study_situation(study: Study) -> Situation:
    """The situation of the next request of a study; reads no image.

    Models count as those of the latest training, and before the first as the study's settings have them.

    Args:
        study: The study.

    Raises:
        BadInput: If the study's settings or its latest model are damaged.
    """
    loop = StudyLoop(study, device="cpu")
    model = loop.latest_model()
    training = loop.settings.training if model is None else model.members[0].settings
    return Situation(
        annotated=study.status()["annotated"],
        members=loop.settings.members if model is None else len(model.members),
        dropout=any((*training.dropout, *training.decoder_dropout)),
    )
