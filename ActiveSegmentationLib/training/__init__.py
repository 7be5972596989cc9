"""The training harness that all learners share, and the base of their settings.

A learner (of segmentations, the learned metric, an autoencoder, VAAL, a graph network) defines one optimisation step;
``run_training`` does the rest: checkpoints, resuming, history, progress and cancelling.
"""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.training.checkpoints import CHECKPOINT, Checkpoints
    from ActiveSegmentationLib.training.harness import (
        Learner,
        Losses,
        StepLosses,
        descend,
        endless_batches,
        run_training,
    )
    from ActiveSegmentationLib.training.history import History
    from ActiveSegmentationLib.training.image_stack import ImageStack
    from ActiveSegmentationLib.training.model_files import ModelFiles, SavedModel, training_versions
    from ActiveSegmentationLib.training.randomness import private_randomness, seeded_weights
    from ActiveSegmentationLib.training.schedules import Schedule, rate_factor, set_learning_rate
    from ActiveSegmentationLib.training.settings_base import Settings, settings, validated_json
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
