"""The learner of a 3D U-Net, which trains on patches of volumes in which only some slices are annotated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute, on_device
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import torch_generator
from ActiveSegmentationLib.segmentation.augmentation import augment
from ActiveSegmentationLib.segmentation.examples import Examples
from ActiveSegmentationLib.segmentation.learner import DROPOUT, FEATURES
from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.validation import dice_of_parts
from ActiveSegmentationLib.segmentation.volume_model import VolumeModel, read_volume_model
from ActiveSegmentationLib.segmentation.volume_network import VolumeNetwork, build_volume_network
from ActiveSegmentationLib.segmentation.volume_patches import MASK, NO_ANNOTATION, VolumePatches
from ActiveSegmentationLib.segmentation.volume_plan import FEWEST_LEVELS, VolumeOptions, plan_for, sizes
from ActiveSegmentationLib.training import History

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.predictor import TrainedModel
    from ActiveSegmentationLib.segmentation.training import TrainingTask

FIXED: dict[str, tuple[Any, str]] = {
    "neighbours": (0, "it sees the neighbouring slices anyway"),
    "upsample": ("deconv", "it enlarges maps by transposed convolutions"),
    "loss_head": (False, "it has no head that predicts its loss"),
}
"""Settings that must have one value, and why."""


class VolumeLearner(NetworkLearner):
    """Trains a 3D U-Net on volumes of which single slices are annotated, with masks, scribbles, or both.

    - Network: MONAI's DynUNet with the settings' channels, normalisation and dropout. Each level shrinks only the
      directions with short voxels, see ``plan_for``.
    - A step takes ``batch_size`` patches, each around an annotated slice; every annotated slice is used once before any
      is used again. Other annotated slices in a patch count too.
    - The loss is that of the other learners, over the annotated slices of the patches; all other voxels have none.
    - Augmentation moves all slices of a patch alike, within their planes; ``flip_slices`` also mirrors their order.
    - Slices are those of the stack: planes have the stack's pixels, and the distance of slices stays the volume's own.

    Vepa et al. 2024 (Fig. 2) compare with a 3D U-Net that is trained from scratch on whole volumes, with settings that
    are not published. If the annotated slices are all those of some volumes, this is such a network.

    Models see several slices at once, so they cannot predict turned copies of single slices, nor give their gradients.
    """

    options = VolumeOptions
    small: ClassVar[Mapping[str, Any]] = {
        **NetworkLearner.small,
        "options": {"patch_slices": 4, "patch_rows": 32, "patch_columns": 32},
    }
    network: VolumeNetwork

    def __init__(
        self, stack: Slices, examples: Examples, classes: int, settings: TrainingSettings, *, seed: int, device: str
    ) -> None:
        self._asked = settings
        settings = planned(settings, stack, device=device)
        super().__init__(stack, examples, classes, settings, seed=seed, device=device)

    @classmethod
    def capabilities(cls, settings: TrainingSettings) -> frozenset[str]:
        """Features, and dropout if a level has it; see ``SegmentationLearner.capabilities``."""
        return frozenset({DROPOUT, FEATURES}) if settings.has_dropout else frozenset({FEATURES})

    @classmethod
    def check(cls, settings: TrainingSettings) -> None:
        """Refuse what a 3D network does not have; see ``SegmentationLearner.check``."""
        super().check(settings)
        for name, (value, reason) in FIXED.items():
            if getattr(settings, name) != value:
                advice = f"Leave it at {value!r}, or choose another learner."
                raise BadInput(f"'{settings.learner}': {reason}.", where=f"training settings, {name}", advice=advice)
        if settings.dropout_place == "entry":
            advice = "Use 'convolutions' or 'first', or choose another learner."
            message = f"'{settings.learner}' has dropout after its convolutions."
            raise BadInput(message, where="training settings, dropout_place", advice=advice)
        levels = len(settings.features)
        options = VolumeOptions.from_json(settings.options)
        if levels < FEWEST_LEVELS or (options.kernels and len(sizes(options.kernels)) != levels):
            message = f"'{settings.learner}' has {FEWEST_LEVELS} levels or more, as many as 'kernels' has sizes."
            advice = "Give as many numbers in 'features', or leave 'pooling' and 'kernels' empty."
            raise BadInput(message, where="training settings, features", advice=advice)

    @classmethod
    def configure(
        cls, settings: TrainingSettings, stack: Slices, classes: int, *, compute: Compute
    ) -> TrainingSettings:
        """The settings with the plan for this cohort and device; see ``SegmentationLearner.configure``."""
        decided = planned(settings, stack, device=compute.device)
        if decided != settings:
            options = VolumeOptions.from_json(decided.options)
            patch = " x ".join(map(str, options.patch))
            widths = " ".join(map(str, decided.features))
            compute.progress.message(f"3D U-Net with channels {widths}, patches of {patch} (slices x rows x columns).")
        return super().configure(decided, stack, classes, compute=compute)

    @classmethod
    def can_start_from(cls, initial: TrainedModel, settings: TrainingSettings, channels: int) -> bool:
        """Whether both networks have one shape; the size of the patches may differ."""
        if not isinstance(initial, VolumeModel) or initial.channels != channels:
            return False
        earlier = initial.planned or initial.settings
        before, now = (VolumeOptions.from_json(each.options) for each in (earlier, settings))
        if now.pooling and (before.pooling, before.kernels) != (now.pooling, now.kernels):
            return False
        return (earlier.features, earlier.norm) == (settings.features[: len(earlier.features)], settings.norm)

    @classmethod
    def load(cls, folder: Path) -> VolumeModel:
        """Read a model; see ``SegmentationLearner.load``."""
        return read_volume_model(folder)

    @staticmethod
    def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> VolumeNetwork:
        """See ``NetworkLearner.build_network``."""
        return build_volume_network(channels, classes, settings, seed=seed)

    def load_examples(self, stack: Slices, examples: Examples) -> None:
        """Keep where patches come from; see ``NetworkLearner.load_examples``."""
        self._own_options = VolumeOptions.from_json(self._settings.options)
        self._patches = VolumePatches(stack, examples, self._own_options.patch)
        self._count = len(examples)

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images (n, C, S, H, W), labels (n, S, H, W) and, on the CPU, the kinds of the slices (n, S) of a step."""
        images, labels, kinds = self._patches.batch(self.chosen(number).numpy(), self._seed, number)
        images, labels = on_device(images, self.device), on_device(labels, self.device)
        if not self._settings.augment:
            return images, labels, kinds
        generator = torch_generator(self._seed, "augmentation", number, device=self.device)
        n, channels, depth, height, width = images.shape
        flat = images.reshape(n, channels * depth, height, width)
        moved, labels = augment(flat, labels, self._settings.augmentation, generator, together=depth)
        images = moved.reshape(images.shape)
        if self._own_options.flip_slices:
            turned = (torch.rand(n, generator=torch_generator(self._seed, "slices", number)) < 0.5).tolist()
            for place in [place for place, turn in enumerate(turned) if turn]:
                images[place], labels[place] = images[place].flip(1), labels[place].flip(0)
                kinds[place] = kinds[place].flip(0)
        return images, labels, kinds

    def loss(self, outputs: list[torch.Tensor], labels: torch.Tensor, dense: torch.Tensor, number: int) -> torch.Tensor:
        """The loss of the annotated slices of patches; see ``NetworkLearner.loss``.

        Args:
            outputs: Logits (n, classes, S, H, W) float32.
            labels: (n, S, H, W) uint8 classes, 255 where unlabelled.
            dense: (n, S) int8 kinds of the slices, on the CPU.
            number: Number of the step, from 0.
        """
        annotated = torch.nonzero(dense.flatten() != NO_ANNOTATION).flatten()
        masks = (dense.flatten()[annotated] == MASK).to(labels.device)
        annotated = annotated.to(labels.device)
        logits = outputs[0].transpose(1, 2).flatten(0, 1)
        return self._loss(logits.index_select(0, annotated), labels.flatten(0, 1).index_select(0, annotated), masks)

    def validate_on(self, examples: Examples) -> None:
        """Keep the weights with the best Dice on these slices instead of the last ones."""
        self._validation = examples

    def validation_dice(self) -> float:
        """Mean Dice of the validation slices; see ``NetworkLearner.validation_dice``."""
        assert isinstance(self._validation, Examples)
        return dice_of_parts(self._validated(self._validation), self._classes)

    def _validated(self, examples: Examples) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Probabilities (n, classes, H, W) and labels (n, H, W) of the validation slices, batch by batch."""
        number = {int(row): place for place, row in enumerate(examples.rows)}
        model = self._model(self._stack.channels, "")
        for batch in model.batches(self._stack, examples.rows, Compute(self.device)):
            places = [number[int(row)] for row in batch.rows]
            labels = np.stack([examples.whole.get(place, examples.labels[place]) for place in places])
            yield batch.of_rows(model.predict(batch.inputs)), torch.from_numpy(labels).to(self.device)

    def finished_model(self, task: TrainingTask, history: History) -> VolumeModel:
        """The trained model with the record of its training and its plan."""
        record = self.training_record(task, history)
        self.trained_network()
        return self._model(task.stack.channels, task.key, record)

    def _model(self, channels: int, key: str, record: dict[str, Any] | None = None) -> VolumeModel:
        about = (channels, self._classes, self._asked, key, record or {}, self._own_options.patch[1:])
        return VolumeModel(self.network, *about, planned=None if self._asked == self._settings else self._settings)


def planned(settings: TrainingSettings, stack: Slices, *, device: str) -> TrainingSettings:
    """The settings with a plan for the cohort, and with as many levels as it has; those with a plan as they are.

    Args:
        settings: Settings as they were asked for.
        stack: The cohort's slices.
        device: PyTorch device.
    """
    options = VolumeOptions.from_json(settings.options)
    plan = plan_for(stack, len(settings.features), options, device=device)
    levels = len(plan.kernels)
    return replace(
        settings,
        options=plan.options(settings.options),
        features=settings.features[:levels],
        dropout=settings.dropout[:levels],
        decoder_dropout=settings.decoder_dropout[: levels - 1],
    )
