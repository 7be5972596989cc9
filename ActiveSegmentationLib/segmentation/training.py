"""Training: a fixed number of steps, the same result from the same seed, killed or not."""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.cohort import IGNORE_LABEL
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.files import hash_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.seeds import torch_generator, torch_seed
from ActiveSegmentationLib.segmentation.augmentation import augment
from ActiveSegmentationLib.segmentation.checkpoint import CHECKPOINT, History, TrainingState
from ActiveSegmentationLib.segmentation.crops import RandomCrops
from ActiveSegmentationLib.segmentation.examples import KEEP, Examples
from ActiveSegmentationLib.segmentation.loss_head import ATTACHED, head_optimiser, ranking_loss
from ActiveSegmentationLib.segmentation.losses import segmentation_loss, slice_losses
from ActiveSegmentationLib.segmentation.network import UNet, build_network
from ActiveSegmentationLib.segmentation.segmenter import FORMAT, Segmenter, load_segmenter, saved_key
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices, plane_images, whole_planes
from ActiveSegmentationLib.segmentation.validation import batch_dice, foreground_dice

DICE_EVERY = 10
"""Steps between two looks at the Dice of the training batch, which people watch; nothing is learned from it."""

HISTORY_SECONDS = 2.0
"""Time between two states of ``history.json``; its final content does not depend on it."""


def fit(
    stack: Slices,
    examples: Examples,
    classes: int,
    settings: TrainingSettings,
    *,
    seed: int,
    folder: Path,
    device: str = "cpu",
    validation: Examples | None = None,
    initial: Segmenter | None = None,
    progress: Progress | None = None,
    stage: str = "Training",
    checkpoint_every: int = 100,
) -> Segmenter:
    """Train a model; load it where this very training is finished, go on where it was interrupted.

    The same arguments give bit-identical weights on the same machine's CPU, with or without interruptions.

    Args:
        stack: The cohort's slices.
        examples: Annotated slices.
        classes: Classes including background.
        settings: How to train.
        seed: Seed of initial weights, batches, augmentation and dropout.
        folder: Where the model, its checkpoint and ``history.json`` live; used by one training at a time.
        device: Torch device.
        validation: Slices that pick the best weights; looked at only where the settings select "best".
        initial: Model to start from where the settings ask for a warm start.
        progress: Told of every step.
        stage: What to call this training in the progress.
        checkpoint_every: Steps between checkpoints; the result does not depend on it.

    Raises:
        BadInput: If there is nothing to learn from, labels and classes do not agree, the best weights are to be kept
            and there is nothing to validate on, or the initial model does not fit.
        JobFailed: If the loss is not finite any more.
    """
    report = or_silent(progress)
    examples.check(classes, stack.grid_shape)
    validation = _validation(validation, classes, stack, settings)
    initial = _initial(initial, stack.channels, classes, settings)
    key = _key(stack, examples, classes, settings, seed, validation, initial)
    if saved_key(folder) == key:
        return load_segmenter(folder)
    _tell_absent(examples, classes, report)
    run = _Run(stack, examples, classes, settings, seed, device, validation)
    state = run.start(initial)
    state.resume(folder, key, report)
    run.complete(state, folder, key, report, stage, checkpoint_every)
    record = {"seed": seed, "device": device, "seconds": round(state.history.seconds, 3)}
    record |= {"examples": len(examples), "final loss": state.history.loss[-1], "versions": _versions()}
    if state.history.validation:
        record["validation Dice"] = max(dice for _, dice in state.history.validation)
    model = Segmenter(run.finish(state), stack.channels, classes, settings, key, record, stack.grid_shape)
    state.history.write(folder)
    model.save(folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return model


def training_key(
    stack: Slices,
    examples: Examples,
    classes: int,
    settings: TrainingSettings,
    *,
    seed: int,
    validation: Examples | None = None,
    initial: Segmenter | None = None,
) -> str:
    """Key of the model that ``fit`` makes from these arguments, known before it is trained.

    Raises:
        BadInput: As ``fit`` does.
    """
    examples.check(classes, stack.grid_shape)
    validation = _validation(validation, classes, stack, settings)
    initial = _initial(initial, stack.channels, classes, settings)
    return _key(stack, examples, classes, settings, seed, validation, initial)


class _Run:
    """One training: its data on the device, and one step after the other."""

    def __init__(
        self,
        stack: Slices,
        examples: Examples,
        classes: int,
        settings: TrainingSettings,
        seed: int,
        device: str,
        validation: Examples | None,
    ) -> None:
        self._channels, self._classes = stack.channels, classes
        self._settings, self._seed, self._device = settings, seed, device
        self._data = _on_device(stack, examples, device)
        self._dense = torch.from_numpy(examples.dense).to(device)
        self._crops = _crops(stack, examples)
        self._validation = None if validation is None else _on_device(stack, validation, device)
        self._whole_validation = None if validation is None else _WholeSlices(stack, validation, device)
        self._class_weights = (
            _inverse_frequency(self._data[1], classes) if settings.class_weights == "inverse" else None
        )
        self._shown_dice = 0.0

    def start(self, initial: Segmenter | None) -> TrainingState:
        """The state before the first step."""
        settings = self._settings
        network = build_network(self._channels, self._classes, settings, seed=torch_seed(self._seed, "weights"))
        if initial is not None:
            network.net.load_state_dict(initial.network.net.state_dict())
            if network.loss_head is not None and initial.network.loss_head is not None:
                network.loss_head.load_state_dict(initial.network.loss_head.state_dict())
        network.to(self._device)
        parameters, rate, decay = network.net.parameters(), settings.learning_rate, settings.weight_decay
        optimiser: torch.optim.Optimizer
        if settings.optimiser == "sgd":
            optimiser = torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=settings.nesterov, weight_decay=decay)
        elif settings.optimiser == "adam":
            optimiser = torch.optim.Adam(parameters, rate, weight_decay=decay)
        else:
            optimiser = torch.optim.AdamW(parameters, rate, weight_decay=decay)
        head = None if network.loss_head is None else head_optimiser(network.loss_head)
        return TrainingState(network, optimiser, History(settings.steps), head_optimiser=head)

    def complete(
        self, state: TrainingState, folder: Path, key: str, report: Progress, stage: str, checkpoint_every: int
    ) -> None:
        """Do the steps that are left."""
        steps, before, begun = self._settings.steps, state.history.seconds, time.monotonic()
        written = begun
        with _private_randomness(self._device):
            while state.step < steps:
                loss = self._step(state)
                if not math.isfinite(loss):
                    advice = "Lower the learning rate, and check the images of the annotated slices."
                    message = f"The training diverged: the loss of step {state.step + 1} is not a finite number."
                    raise JobFailed(message, where=folder, advice=advice)
                state.history.loss.append(loss)
                self._validate(state)
                now = time.monotonic()
                state.history.seconds = before + now - begun
                if state.step % checkpoint_every == 0 and state.step < steps:
                    state.save(folder, key)
                elif now - written > HISTORY_SECONDS:
                    state.history.write(folder)
                    written = now
                report.update(stage, state.step, steps, loss=round(loss, 4), dice=round(self._shown_dice, 3))

    def finish(self, state: TrainingState) -> UNet:
        """The network with the weights to keep."""
        if state.best is not None:
            state.network.load_state_dict(state.best)
        state.network.eval()
        return state.network

    def _step(self, state: TrainingState) -> float:
        settings, step = self._settings, state.step
        images, labels, dense = self._batch(step)
        torch.manual_seed(torch_seed(self._seed, "dropout", step))
        for group in state.optimiser.param_groups:
            group["lr"] = settings.rate(step)
        state.network.train()
        mixed = settings.mixed_precision and self._device.startswith("cuda")
        with torch.autocast("cuda", torch.bfloat16, enabled=mixed):
            maps = state.network.encode(images)
            logits = state.network.decode(maps, (images.shape[-2], images.shape[-1]))
        form: dict[str, Any] = {
            "background": settings.dice_background,
            "squared": settings.dice_squared,
            "scribble_dice": settings.scribble_dice,
            "dice_share": settings.dice_share,
            "absent": settings.dice_absent,
            "class_weights": self._class_weights,
        }
        loss = total = segmentation_loss(logits.float(), labels, dense, **form)
        if state.network.loss_head is not None:
            seen = maps if step < ATTACHED * settings.steps else [each.detach() for each in maps]
            with torch.no_grad():
                losses = slice_losses(logits.float(), labels, dense, **form)
            total = loss + ranking_loss(state.network.loss_head(seen), losses)
        if step % DICE_EVERY == 0:
            self._shown_dice = batch_dice(logits.detach(), labels)
        state.network.zero_grad(set_to_none=True)
        total.backward()
        for part, optimiser in self._optimised(state):
            if settings.clip > 0:
                torch.nn.utils.clip_grad_norm_(part.parameters(), settings.clip)
            optimiser.step()
        return float(loss.detach()) if bool(torch.isfinite(total)) else math.nan

    @staticmethod
    def _optimised(state: TrainingState) -> Iterator[tuple[torch.nn.Module, torch.optim.Optimizer]]:
        """What learns, and by which optimiser: the head's parameters are no other optimiser's."""
        yield state.network.net, state.optimiser
        if state.network.loss_head is not None and state.head_optimiser is not None:
            yield state.network.loss_head, state.head_optimiser

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images, labels and kinds of a step; every example comes up once before any comes up again."""
        size, n = self._settings.batch_size, len(self._dense)
        first = step * size
        epochs = range(first // n, (first + size - 1) // n + 1)
        order = torch.cat([self._permutation(epoch) for epoch in epochs])
        chosen = order[first % n : first % n + size]
        images, labels = (values.index_select(0, chosen) for values in self._data)
        images = images.float()
        if self._crops is not None:
            self._crops.put(chosen, images, labels, self._seed, step)
        if self._settings.augment:
            generator = torch_generator(self._seed, "augmentation", step, device=self._device)
            images, labels = augment(images, labels, self._settings.augmentation, generator)
        return images, labels, self._dense[chosen]

    def _permutation(self, epoch: int) -> torch.Tensor:
        generator = torch_generator(self._seed, "epoch", epoch, device=self._device)
        return torch.randperm(len(self._dense), generator=generator, device=self._device)

    def _validate(self, state: TrainingState) -> None:
        done, settings = state.step, self._settings
        if self._validation is None or (done % settings.validate_every and done != settings.steps):
            return
        state.network.eval()
        images, labels = self._validation
        size, whole = 4 * settings.batch_size, self._whole_validation or ()
        dice = foreground_dice(state.network, images, labels, self._classes, batch_size=size, whole=whole)
        if all(dice > before for _, before in state.history.validation):
            state.best = {name: value.detach().cpu().clone() for name, value in state.network.state_dict().items()}
        state.history.validation.append((done, dice))


class _WholeSlices:
    """Examples whose planes are larger than the grid, one at a time: images (1, C, h, w) and labels (1, h, w)."""

    def __init__(self, stack: Slices, examples: Examples, device: str) -> None:
        self._stack, self._examples, self._device = stack, examples, device

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for number, labels in sorted(self._examples.whole.items()):
            images = plane_images(self._stack, self._examples.rows[number : number + 1], self._device)
            yield images, torch.from_numpy(labels[None]).to(self._device)


def _crops(stack: Slices, examples: Examples) -> RandomCrops | None:
    planes = whole_planes(stack)
    if planes is None or not examples.whole:
        return None
    return RandomCrops(planes, examples.rows, examples.whole, stack.grid_shape)


def _tell_absent(examples: Examples, classes: int, report: Progress) -> None:
    for absent in examples.absent_classes(classes):
        if absent in examples.lost:
            report.message(f"Class {absent} is annotated, but no pixel of it is left on the prepared slices. {KEEP}")
        else:
            report.message(f"No annotated pixel has class {absent}: the model cannot learn it yet.")


def _on_device(stack: Slices, examples: Examples, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images in half precision, as the stack stores them, and labels."""
    images = [stack.batches(examples.rows[i : i + 256], device).half() for i in range(0, len(examples), 256)]
    return torch.cat(images), torch.from_numpy(examples.labels).to(device)


def _inverse_frequency(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weights (classes,) float32, inverse to the share of each class in the labelled pixels; the mean pixel has 1."""
    counts = torch.bincount(labels[labels != IGNORE_LABEL].long().flatten(), minlength=classes)[:classes].float()
    return counts.sum() / (classes * counts.clamp(min=1))


@contextlib.contextmanager
def _private_randomness(device: str) -> Iterator[None]:
    """Within the block torch's global generators may be seeded; afterwards they are as before."""
    index = torch.device(device).index
    cuda = [torch.cuda.current_device() if index is None else index] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        yield


def _validation(
    validation: Examples | None, classes: int, stack: Slices, settings: TrainingSettings
) -> Examples | None:
    if settings.select == "last":
        return None
    if validation is None or not len(validation):
        advice = "Give some volumes the role 'validation' and masks, or keep the last weights."
        raise BadInput("There is nothing to choose the best weights on.", where="validation", advice=advice)
    validation.check(classes, stack.grid_shape)
    return validation


def _initial(initial: Segmenter | None, channels: int, classes: int, settings: TrainingSettings) -> Segmenter | None:
    if initial is None or not settings.warm_start:
        return None
    before = initial.settings
    shapes = (initial.channels, initial.classes, before.features, before.norm, before.upsample)
    if shapes != (channels, classes, settings.features, settings.norm, settings.upsample):
        advice = "Train without warm start, or keep channels, labels, features and norm as they were."
        raise BadInput("The model to start from has another shape.", where="warm start", advice=advice)
    return initial


def _key(
    stack: Slices,
    examples: Examples,
    classes: int,
    settings: TrainingSettings,
    seed: int,
    validation: Examples | None,
    initial: Segmenter | None,
) -> str:
    parts = [FORMAT, stack.key, examples.key, classes, settings.to_json(), seed]
    return hash_json([*parts, validation.key if validation else None, initial.key if initial else None])


def _versions() -> dict[str, str]:
    return {"activesegmentation": __version__, "torch": torch.__version__, "python": platform.python_version()}
