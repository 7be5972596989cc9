"""Segmentation: networks, losses, training, ensembles, and prediction of slices and volumes."""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.clean_up import CleanUp, cleaned
    from ActiveSegmentationLib.segmentation.ensemble import Ensemble, fit_ensemble, load_ensemble
    from ActiveSegmentationLib.segmentation.examples import Examples, closed_background, examples_from_annotations
    from ActiveSegmentationLib.segmentation.export_context import ExportContext
    from ActiveSegmentationLib.segmentation.learner import CAPABILITIES, SegmentationLearner
    from ActiveSegmentationLib.segmentation.learner_choice import (
        check_learner,
        training_for,
        with_learner,
        with_options,
    )
    from ActiveSegmentationLib.segmentation.learner_info import LearnerInfo, describe_learner, describe_learners
    from ActiveSegmentationLib.segmentation.learners import LEARNERS, lacking, learner_class, learner_names
    from ActiveSegmentationLib.segmentation.losses import SegmentationLoss, partial_cross_entropy, partial_dice
    from ActiveSegmentationLib.segmentation.model_files import is_trained, member_settings, trained_key
    from ActiveSegmentationLib.segmentation.neighbours import with_neighbours
    from ActiveSegmentationLib.segmentation.network import SegmentationNetwork
    from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
    from ActiveSegmentationLib.segmentation.plan import planned_settings
    from ActiveSegmentationLib.segmentation.prediction import Sampler, VolumePrediction, predict_planes, predict_volume
    from ActiveSegmentationLib.segmentation.predictor import Batch, Predictor, TrainedModel
    from ActiveSegmentationLib.segmentation.presets import TRAINING_PRESETS
    from ActiveSegmentationLib.segmentation.segmentation_model import SegmentationModel
    from ActiveSegmentationLib.segmentation.settings import AugmentationSettings, TrainingSettings
    from ActiveSegmentationLib.segmentation.slices import Slices
    from ActiveSegmentationLib.segmentation.speed import seconds_per_step, trial_training, wait_for
    from ActiveSegmentationLib.segmentation.training import TrainingTask, fit, load_model
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
