"""One round from end to end, over a study folder or for an experiment: choose, train, predict, score, export."""

from ActiveSegmentationLib.loop.device import describe_device, resolve_device, versions
from ActiveSegmentationLib.loop.embeddings import embedders, learned_encoder
from ActiveSegmentationLib.loop.labels import label_set_for
from ActiveSegmentationLib.loop.outputs import EXPORT_FORMATS, evaluate_study, export_study, predict_study
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.loop.study_loop import StudyLoop
from ActiveSegmentationLib.loop.suggestion import Question, Suggestion, suggest
from ActiveSegmentationLib.loop.training import VolumeScore, evaluate_volumes, tell_left_out, train, volumes_of

__all__ = [
    "EXPORT_FORMATS",
    "LoopSettings",
    "Question",
    "StudyLoop",
    "Suggestion",
    "VolumeScore",
    "describe_device",
    "embedders",
    "evaluate_study",
    "evaluate_volumes",
    "export_study",
    "label_set_for",
    "learned_encoder",
    "predict_study",
    "resolve_device",
    "suggest",
    "tell_left_out",
    "train",
    "versions",
    "volumes_of",
]
