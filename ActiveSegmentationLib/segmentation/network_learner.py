"""Learners that train a network slice by slice: they keep the data on the device and do the optimisation steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ActiveSegmentationLib.common.compute import on_device
from ActiveSegmentationLib.common.seeds import torch_generator, torch_seed
from ActiveSegmentationLib.segmentation.augmentation import augment
from ActiveSegmentationLib.segmentation.examples import Examples
from ActiveSegmentationLib.segmentation.learner import CAPABILITIES, DROPOUT, OF_NETWORKS, SegmentationLearner
from ActiveSegmentationLib.segmentation.loss_head import ATTACHED, head_optimiser, ranking_loss
from ActiveSegmentationLib.segmentation.losses import SegmentationLoss
from ActiveSegmentationLib.segmentation.model_files import HISTORY
from ActiveSegmentationLib.segmentation.neighbours import with_neighbours
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork, build_network
from ActiveSegmentationLib.segmentation.segmentation_model import SegmentationModel, read_network_model
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.speed import seconds_per_step, trial_training
from ActiveSegmentationLib.segmentation.training_parts import (
    ValidationSlices,
    autocast,
    crops_of,
    examples_of_step,
    images_and_labels,
    inverse_frequency,
    optimiser_of,
)
from ActiveSegmentationLib.segmentation.validation import class_counts, foreground_dice, mean_dice
from ActiveSegmentationLib.training import (
    Checkpoints,
    History,
    Learner,
    Losses,
    StepLosses,
    run_training,
    set_learning_rate,
    training_versions,
)

if TYPE_CHECKING:
    import numpy as np

    from ActiveSegmentationLib.common.compute import Compute
    from ActiveSegmentationLib.common.progress import Progress
    from ActiveSegmentationLib.segmentation.predictor import TrainedModel
    from ActiveSegmentationLib.segmentation.training import TrainingTask

FEWEST_STEPS, MOST_STEPS = 100, 10_000
"""Limits of the number of steps that a budget of time becomes."""

DICE_EVERY = 10
"""Steps between two measurements of the Dice of the training batch, which progress reports show."""

TASK, HEAD = "network", "loss head"
"""Names of the optimisers: of the U-Net, and of the head that predicts the loss."""


class NetworkLearner(SegmentationLearner, Learner):
    """Trains a U-Net on annotated slices; subclasses train other networks, or with other losses.

    The class is the learner; an instance is one training, which ``run_training`` drives.

    Attributes:
        shaped_by: Options that the shape of the network depends on, which must be equal for a warm start; None for all.

    Args:
        stack: The cohort's slices.
        examples: Annotated slices.
        classes: Number of classes including background.
        settings: Settings of the training.
        seed: Seed of initial weights, batches, augmentation and dropout.
        device: PyTorch device.
    """

    counts_minutes: ClassVar[bool] = True
    exports = OF_NETWORKS
    shaped_by: ClassVar[tuple[str, ...] | None] = None
    small: ClassVar[Mapping[str, Any]] = {
        "steps": 80,
        "minutes": 0.0,
        "batch_size": 2,
        "features": (8, 16, 16),
        "dropout": (0.0, 0.0, 0.1),
        "decoder_dropout": (0.0, 0.1),
        "optimiser": "adamw",
        "learning_rate": 1e-2,
        "clip": 1.0,
        "select": "last",
    }
    history_file: ClassVar[str] = HISTORY
    advice: ClassVar[str] = "Lower the learning rate, and check the images of the annotated slices."
    stage = "Training"
    network: SegmentationNetwork

    def __init__(
        self,
        stack: Slices,
        examples: Examples,
        classes: int,
        settings: TrainingSettings,
        *,
        seed: int,
        device: str,
    ) -> None:
        self.steps, self.device = settings.steps, device
        stack = with_neighbours(stack, settings.neighbours)
        self._stack, self._classes, self._settings, self._seed = stack, classes, settings, seed
        self._count = len(examples)
        self.load_examples(stack, examples)
        weights = inverse_frequency(examples, classes).to(device) if settings.class_weights == "inverse" else None
        self._loss = SegmentationLoss.of(settings, weights)
        self._validation: Any = None
        self._best: dict[str, torch.Tensor] | None = None
        self._counts, self._parts = torch.zeros((3, classes), dtype=torch.int64, device=device), 1
        weights_seed = torch_seed(seed, "weights")
        self.network = self.build_network(stack.channels, classes, settings, seed=weights_seed)
        self.network.to(device)
        self.optimisers = {TASK: optimiser_of(self.network, settings)}
        if self.network.loss_head is not None:
            self.optimisers[HEAD] = head_optimiser(self.network.loss_head)

    @classmethod
    def capabilities(cls, settings: TrainingSettings) -> frozenset[str]:
        """Everything; dropout only if a level has it. See ``SegmentationLearner.capabilities``."""
        return frozenset(CAPABILITIES) if settings.has_dropout else frozenset(CAPABILITIES) - {DROPOUT}

    @classmethod
    def configure(
        cls, settings: TrainingSettings, stack: Slices, classes: int, *, compute: Compute
    ) -> TrainingSettings:
        """The settings with the steps that fit into the minutes, if any; see ``SegmentationLearner.configure``."""
        if not settings.minutes:
            return settings
        step = seconds_per_step(trial_training(cls, stack, classes, settings, device=compute.device))
        steps = min(MOST_STEPS, max(FEWEST_STEPS, int(60 * settings.minutes / step)))
        compute.progress.message(
            f"A training step takes {step:.2g} s: {steps} steps, about {steps * step / 60:.2g} minutes."
        )
        return settings.with_steps(steps)

    @classmethod
    def can_start_from(cls, initial: TrainedModel, settings: TrainingSettings, channels: int) -> bool:
        """Whether both networks have one shape; see ``SegmentationLearner.can_start_from``."""
        shapes = [
            (each.features, each.norm, each.upsample, each.neighbours, cls._shaping(each))
            for each in (initial.settings, settings)
        ]
        return isinstance(initial, SegmentationModel) and initial.channels == channels and shapes[0] == shapes[1]

    @classmethod
    def _shaping(cls, settings: TrainingSettings) -> dict[str, Any]:
        """The options that the network's shape depends on, with their values."""
        options = cls.options.from_json(settings.options).to_json()
        return {name: options[name] for name in (options if cls.shaped_by is None else cls.shaped_by)}

    @classmethod
    def fit(
        cls, task: TrainingTask, *, folder: Path, compute: Compute, stage: str, checkpoint_every: int
    ) -> SegmentationModel:
        """Train a network; see ``SegmentationLearner.fit``."""
        checkpoints = Checkpoints(folder, task.key, checkpoint_every)
        learner = cls(task.stack, task.examples, task.classes, task.settings, seed=task.seed, device=compute.device)
        learner.stage = stage
        if task.validation is not None:
            learner.validate_on(task.validation)
        if isinstance(task.initial, SegmentationModel):
            learner.start_from(task.initial.network)
        else:
            learner.start_anew(compute.progress)
        if task.unlabelled is not None:
            learner.learn_from_unlabelled(task.unlabelled)
        history = run_training(learner, compute.progress, checkpoints)
        model = learner.finished_model(task, history)
        model.save(folder)
        checkpoints.remove()
        for remark in learner.remarks(task):
            compute.progress.message(remark)
        return model

    @classmethod
    def load(cls, folder: Path) -> SegmentationModel:
        """Read a model; see ``SegmentationLearner.load``."""
        return read_network_model(folder, cls.build_network)

    @staticmethod
    def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> SegmentationNetwork:
        """The network with random weights that depend on the seed only; subclasses may build another one."""
        return build_network(channels, classes, settings, seed=seed)

    def load_examples(self, stack: Slices, examples: Examples) -> None:
        """Keep what ``batch`` needs on the device: images and labels. Called once, before the network is built."""
        self._images, self._labels = images_and_labels(stack, examples, self.device)
        self._dense = torch.from_numpy(examples.dense).to(self.device)
        self._crops = crops_of(stack, examples)

    def validate_on(self, examples: Examples) -> None:
        """Keep the weights with the best Dice on these slices instead of the last ones."""
        self._validation = ValidationSlices(self._stack, examples, self.device)

    def learn_from_unlabelled(self, rows: np.ndarray) -> None:
        """Also learn from unlabelled slices; called when the network has its first weights.

        Args:
            rows: Their rows of the stack, at least one. Given only if ``uses_unlabelled`` says so.
        """

    def start_anew(self, progress: Progress) -> None:
        """Called before a training that starts from no earlier model, for example to read weights from a file."""

    def start_from(self, network: SegmentationNetwork) -> None:
        """Replace the random initial weights by those of a trained network of the same shape."""
        self.network.net.load_state_dict(network.net.state_dict())
        if self.network.loss_head is not None and network.loss_head is not None:
            self.network.loss_head.load_state_dict(network.loss_head.state_dict())

    def trained_network(self) -> SegmentationNetwork:
        """The network with the weights to keep, in evaluation mode."""
        if self._best is not None:
            self.network.load_state_dict(self._best)
        self.network.eval()
        return self.network

    def finished_model(self, task: TrainingTask, history: History) -> SegmentationModel:
        """The trained model with the record of its training."""
        record, network, stack = self.training_record(task, history), self.trained_network(), task.stack
        return SegmentationModel(
            network, stack.channels, task.classes, task.settings, task.key, record, stack.grid_shape
        )

    def training_record(self, task: TrainingTask, history: History) -> dict[str, Any]:
        """What is recorded about the finished training, as JSON values; see ``TrainedModel.record``."""
        record = {
            "seed": task.seed,
            "device": self.device,
            "seconds": round(history.seconds, 3),
            "examples": len(task.examples),
            "final loss": history.losses["loss"][-1],
            "versions": training_versions(),
        }
        if self._parts > 1:
            record["parts of a batch"] = self._parts
        if history.validation:
            record["validation Dice"] = max(dice for _, dice in history.validation)
        return record

    def remarks(self, task: TrainingTask) -> list[str]:
        """What the user should know about the finished training, a sentence each. Default: nothing."""
        return []

    def step(self, number: int) -> StepLosses:
        """Do one optimisation step; see ``Learner.step``."""
        batch = self.batch(number)
        torch.manual_seed(torch_seed(self._seed, "dropout", number))
        set_learning_rate(self.optimisers[TASK], self._settings.rate(number))
        self.network.train()
        self.network.zero_grad(set_to_none=True)
        if number % DICE_EVERY == 0:
            self._counts = torch.zeros_like(self._counts)
        parts = zip(*(values.chunk(self._parts) for values in batch), strict=True)
        losses = [self._backward(part, number, len(part[0]) / len(batch[0])) for part in parts]
        losses += self.more_losses(number)
        self._update()
        return {"loss": losses[0] if len(losses) == 1 else torch.stack(losses).sum()}

    def _backward(self, part: tuple[torch.Tensor, ...], number: int, share: float) -> torch.Tensor:
        """Add the gradients of a part of the batch; returns its share of the loss, NaN if that cannot be trained on."""
        images, labels, dense = part
        with autocast(self._settings, self.device):
            maps = self.network.encode(images)
            outputs = self.outputs(maps, (images.shape[-2], images.shape[-1]))
        outputs = [logits.float() for logits in outputs]
        loss = self.loss(outputs, labels, dense, number)
        total = loss + self._head_loss(maps, outputs[0], labels, dense, number)
        if number % DICE_EVERY == 0:
            self._counts = self._counts + class_counts(outputs[0].detach(), labels)
        (total * share).backward()
        return torch.where(torch.isfinite(total), loss, torch.nan).detach() * share

    def more_losses(self, number: int) -> list[torch.Tensor]:
        """Add the gradients of whatever else a step learns from; returns its losses, to be shown. Default: nothing."""
        return []

    def use_less_memory(self) -> str | None:
        """Compute batches in more parts; see ``Learner.use_less_memory``."""
        size = self._settings.batch_size
        if self._parts >= size:
            return None
        self._parts *= 2
        return (
            f"from now on, each batch of {size} slices is computed in {self._parts} parts. Batch normalisation and the "
            "Dice loss then see fewer slices at once."
        )

    def outputs(self, maps: list[torch.Tensor], size: tuple[int, int]) -> list[torch.Tensor]:
        """The encoder's maps of images of (H, W) pixels -> what is trained on: logits (n, classes, H, W), those of the
        prediction first. Default: only those of the prediction."""
        return [self.network.decode(maps, size)]

    def loss(self, outputs: list[torch.Tensor], labels: torch.Tensor, dense: torch.Tensor, number: int) -> torch.Tensor:
        """The loss of a step; subclasses may train with another one.

        Args:
            outputs: Logits (n, classes, H, W) float32, see ``outputs``.
            labels: (n, H, W) uint8 classes, 255 where unlabelled.
            dense: (n,) bool, True for slices with masks, False for scribbles.
            number: Number of the step, from 0.

        Returns:
            Scalar.
        """
        return self._loss(outputs[0], labels, dense)

    def _head_loss(
        self, maps: list[torch.Tensor], logits: torch.Tensor, labels: torch.Tensor, dense: torch.Tensor, number: int
    ) -> torch.Tensor | float:
        """Ranking loss of the loss head, 0 without one."""
        if self.network.loss_head is None:
            return 0.0
        with torch.no_grad():
            slice_losses = self._loss.by_slice(logits, labels, dense)
        attached = number < ATTACHED * self.steps
        seen = maps if attached else [level.detach() for level in maps]
        return ranking_loss(self.network.loss_head(seen), slice_losses)

    def after_step(self, history: History) -> None:
        """Validate from time to time, and keep the weights if the Dice is the best so far."""
        settings, done = self._settings, history.step
        if self._validation is None or (done % settings.validate_every and done != self.steps):
            return
        self.network.eval()
        dice = self.validation_dice()
        if all(dice > before for _, before in history.validation):
            self._best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        history.validation.append((done, dice))

    def validation_dice(self) -> float:
        """Mean Dice of the foreground classes on the validation slices, by the network in evaluation mode."""
        return foreground_dice(
            self.network,
            self._validation.images,
            self._validation.labels,
            self._classes,
            batch_size=4 * self._settings.batch_size,
            whole=self._validation.whole_slices(),
        )

    def shown_values(self, losses: Losses) -> Losses:
        """Loss of the step, and Dice of the training batch."""
        return {"loss": round(losses["loss"], 4), "dice": round(mean_dice(self._counts), 3)}

    def history_to_json(self, history: History) -> dict[str, Any]:
        """Loss of every step, validation scores and time, for a plot."""
        validation = [list(pair) for pair in history.validation]
        about = {"steps": history.steps, "seconds": history.seconds, "validation": validation}
        return about | {"loss": history.losses.get("loss", [])}

    def state(self) -> dict[str, Any]:
        """The state of the training with the best weights so far; see ``Learner.state``."""
        return super().state() | {"best": self._best}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        super().load_state(state)
        self._best = state["best"]

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images, labels and kinds (dense or scribbles) of a step."""
        numbers = self.chosen(number)
        chosen = on_device(numbers, self.device)
        images, labels = (values.index_select(0, chosen) for values in (self._images, self._labels))
        images = images.float()
        if self._crops is not None:
            self._crops.put(numbers, images, labels, self._seed, number)
        settings = self._settings
        if settings.augment:
            generator = torch_generator(self._seed, "augmentation", number, device=self.device)
            together = 2 * settings.neighbours + 1
            images, labels = augment(images, labels, settings.augmentation, generator, together=together)
        return images, labels, self._dense[chosen]

    def chosen(self, number: int) -> torch.Tensor:
        """Numbers of the examples of a step, (batch,) int64 on the CPU.

        Every example is used once before any is used again.
        """
        return examples_of_step(self._seed, self._count, self._settings.batch_size, number)

    def _update(self) -> None:
        """Update the weights; gradients are clipped separately for each optimiser."""
        parts = {TASK: self.network.net, HEAD: self.network.loss_head}
        for name, optimiser in self.optimisers.items():
            part = parts[name]
            if self._settings.clip > 0 and part is not None:
                torch.nn.utils.clip_grad_norm_(part.parameters(), self._settings.clip)
            optimiser.step()
