"""What learns from annotations and predicts: network, losses, training, ensembles, prediction of volumes."""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.ensemble import (
        Ensemble,
        fit_ensemble,
        is_trained,
        load_ensemble,
        trained_key,
    )
    from ActiveSegmentationLib.segmentation.examples import Examples, closed_background, examples_from_annotations
    from ActiveSegmentationLib.segmentation.losses import partial_cross_entropy, partial_dice, segmentation_loss
    from ActiveSegmentationLib.segmentation.prediction import Sampler, VolumePrediction, predict_planes, predict_volume
    from ActiveSegmentationLib.segmentation.predictor import Predictor, iterate_images
    from ActiveSegmentationLib.segmentation.segmenter import Segmenter, load_segmenter
    from ActiveSegmentationLib.segmentation.settings import TRAINING_PRESETS, AugmentationSettings, TrainingSettings
    from ActiveSegmentationLib.segmentation.slices import Slices
    from ActiveSegmentationLib.segmentation.training import fit
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
