"""What learns from annotations and predicts: network, losses, training, ensembles, prediction of volumes."""

from ActiveSegmentationLib.segmentation.ensemble import Ensemble, fit_ensemble, is_trained, load_ensemble, trained_key
from ActiveSegmentationLib.segmentation.examples import Examples, closed_background, examples_from_annotations
from ActiveSegmentationLib.segmentation.losses import partial_cross_entropy, partial_dice, segmentation_loss
from ActiveSegmentationLib.segmentation.prediction import Sampler, VolumePrediction, predict_planes, predict_volume
from ActiveSegmentationLib.segmentation.predictor import Predictor, iterate_images
from ActiveSegmentationLib.segmentation.segmenter import Segmenter, load_segmenter
from ActiveSegmentationLib.segmentation.settings import TRAINING_PRESETS, AugmentationSettings, TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.training import fit

__all__ = [
    "TRAINING_PRESETS",
    "AugmentationSettings",
    "Ensemble",
    "Examples",
    "Predictor",
    "Sampler",
    "Segmenter",
    "Slices",
    "TrainingSettings",
    "VolumePrediction",
    "closed_background",
    "examples_from_annotations",
    "fit",
    "fit_ensemble",
    "is_trained",
    "iterate_images",
    "load_ensemble",
    "load_segmenter",
    "partial_cross_entropy",
    "partial_dice",
    "predict_planes",
    "predict_volume",
    "segmentation_loss",
    "trained_key",
]
