"""The base of all learners: what a model can do, how it is trained, and how it is read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.training import Settings, settings

if TYPE_CHECKING:
    from ActiveSegmentationLib.common.compute import Compute
    from ActiveSegmentationLib.segmentation.examples import Examples
    from ActiveSegmentationLib.segmentation.export_context import ExportContext
    from ActiveSegmentationLib.segmentation.predictor import Predictor, TrainedModel
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings
    from ActiveSegmentationLib.segmentation.slices import Slices
    from ActiveSegmentationLib.segmentation.training import TrainingTask

DROPOUT, AUGMENTATION, FEATURES, GRADIENTS, LOSS_HEAD = "dropout", "augmentation", "features", "gradients", "loss-head"

SAFETENSORS, TORCHSCRIPT, BUNDLE, NNUNET = "safetensors", "torchscript", "monai-bundle", "nnunet"

EXPORT_FORMATS: dict[str, str] = {
    BUNDLE: "a folder with which MONAI segments images, without this library",
    TORCHSCRIPT: "one file that PyTorch runs, also from C++, without this library",
    NNUNET: "a results folder with which nnU-Net predicts, for learners of nnU-Net",
    SAFETENSORS: "the files that this library keeps, to train or predict with it elsewhere",
}
"""Formats that models are exported in, with the words for people."""

OF_NETWORKS = (BUNDLE, TORCHSCRIPT, SAFETENSORS)
"""Formats of models that are one network, which takes prepared images."""

CAPABILITIES: dict[str, str] = {
    DROPOUT: "predicts several times with dropout",
    AUGMENTATION: "predicts rotated and noisy copies of prepared slices",
    FEATURES: "computes a feature vector of a slice",
    GRADIENTS: "computes the gradient of a loss with respect to its weights, slice by slice",
    LOSS_HEAD: "can be trained with a head that predicts its loss",
}
"""What a model may be able to do beyond predicting, with the words for people."""


@settings
class NoOptions(Settings):
    """Options of a learner that has none of its own."""

    where: ClassVar[str] = "learner options"


class SegmentationLearner(ABC):
    """A kind of segmentation model and the way it is trained; the base class of all learners.

    A learner is a class: these methods belong to the class, and nothing is kept between trainings. Most learners train
    a network slice by slice and are subclasses of ``NetworkLearner``.

    Attributes:
        options: Class of the learner's own settings, which ``TrainingSettings.options`` gives by name.
        needs_masks: Whether it cannot learn from scribbles.
        as_acquired: Whether it learns from images and labels as they were acquired, ``Slices.source_volume`` and
            ``Examples.acquired``, rather than from prepared slices.
        counts_minutes: Whether ``configure`` turns the minutes of the settings into a number of steps.
        small: Fields of ``TrainingSettings`` that make a model small and train it in seconds on a CPU, for the tests
            that all learners must pass.
        learns_from_unlabelled: Whether it also learns from unlabelled pixels, for example by labelling them itself.
        exports: Formats that ``export`` writes, keys of ``EXPORT_FORMATS`` or names of its own.
        exports_no_other: Why models cannot be exported in other formats, a sentence; "" if there is nothing to say.
    """

    options: ClassVar[type[Settings]] = NoOptions
    small: ClassVar[Mapping[str, Any]] = {"steps": 80, "batch_size": 2}
    needs_masks: ClassVar[bool] = False
    as_acquired: ClassVar[bool] = False
    counts_minutes: ClassVar[bool] = False
    learns_from_unlabelled: ClassVar[bool] = False
    exports: ClassVar[tuple[str, ...]] = (SAFETENSORS,)
    exports_no_other: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def capabilities(cls, settings: TrainingSettings) -> frozenset[str]:
        """What models trained with these settings can do: keys of ``CAPABILITIES``."""

    @classmethod
    def check(cls, settings: TrainingSettings) -> None:
        """Refuse settings that this learner cannot use, and packages that are missing.

        Raises:
            BadInput: If an option is unknown or out of range, the settings ask for something that the learner cannot
                do, or a package is missing; names the field or the package, and what to do.
        """
        cls.options.from_json(settings.options)
        if settings.minutes and not cls.counts_minutes:
            message = f"The learner '{settings.learner}' cannot be trained for a budget of time."
            advice = "Give a number of steps, and 0 minutes."
            raise BadInput(message, where="training settings, minutes", advice=advice)
        if settings.loss_head and LOSS_HEAD not in cls.capabilities(settings):
            advice = "Choose another strategy than 'learning-loss', or another learner."
            message = f"The learner '{settings.learner}' cannot be trained with a head that predicts its loss."
            raise BadInput(message, where="training settings, loss_head", advice=advice)

    @classmethod
    def configure(
        cls, settings: TrainingSettings, stack: Slices, classes: int, *, compute: Compute
    ) -> TrainingSettings:
        """The settings with everything that the learner decides from cohort and device filled in.

        Args:
            settings: Settings as they were asked for.
            stack: The cohort's slices.
            classes: Number of classes including background.
            compute: Device and progress reporter.

        Returns:
            Settings that train the same model again on another day. Default: the settings as they are.
        """
        return settings

    @classmethod
    def fitted_to(cls, settings: TrainingSettings, examples: Examples) -> TrainingSettings:
        """Settings that were decided from the annotations, before ``configure``. Default: the settings as they are."""
        return settings

    @classmethod
    def uses_unlabelled(cls, settings: TrainingSettings) -> bool:
        """Whether it also learns from unlabelled slices of the pool. Default: no."""
        return False

    @classmethod
    def key_of(cls, settings: TrainingSettings) -> Any:
        """What of the settings weights depend on, as JSON values for their key. Default: all settings.

        A learner that reads a file replaces its path by a hash of its content.
        """
        return settings.to_json()

    @classmethod
    def can_start_from(cls, initial: TrainedModel, settings: TrainingSettings, channels: int) -> bool:
        """Whether a training can start from the weights of an earlier model of this learner with equal classes.

        Args:
            initial: The earlier model.
            settings: Settings of the training.
            channels: Channels of the images.
        """
        return True

    @classmethod
    @abstractmethod
    def fit(
        cls, task: TrainingTask, *, folder: Path, compute: Compute, stage: str, checkpoint_every: int
    ) -> TrainedModel:
        """Train a model and save it in ``folder``; resume if an earlier call was interrupted. See ``training.fit``."""

    @classmethod
    def export(cls, model: Predictor, folder: Path, format_name: str, about: ExportContext) -> list[Path]:
        """Write a model for use outside of a study.

        Args:
            model: A model of this learner, or an ensemble of such models.
            folder: Folder to write to; created if missing.
            format_name: One of ``exports``.
            about: What the classes mean, and how images were prepared.

        Returns:
            The files written.

        Raises:
            BadInput: If there is no such format, or the model cannot be written in it.
            JobFailed: If the disk is full.
        """
        from ActiveSegmentationLib.segmentation import ensemble, exported_network, monai_bundle

        if format_name not in cls.exports:
            advice = f"Choose one of: {', '.join(cls.exports)}."
            message = f"Models of this learner cannot be exported as '{format_name}'. {cls.exports_no_other}".strip()
            raise BadInput(message, where="format", advice=advice)
        if format_name == TORCHSCRIPT:
            return exported_network.export_torchscript(model, folder, about)
        if format_name == BUNDLE:
            return monai_bundle.export_bundle(model, folder, about)
        return ensemble.save_ensemble(model, folder)

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> TrainedModel:
        """Read a model that ``fit`` saved.

        Raises:
            BadInput: If a file is missing or damaged, or a package is missing.
        """
