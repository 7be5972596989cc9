"""What a training of a network holds: images and labels on a device, class weights, and the optimiser."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ActiveSegmentationLib.common.seeds import torch_generator
from ActiveSegmentationLib.segmentation.crops import RandomCrops
from ActiveSegmentationLib.segmentation.examples import Examples
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices, plane_images, whole_planes


class ValidationSlices:
    """Images and labels of validation slices on a device."""

    def __init__(self, stack: Slices, examples: Examples, device: str) -> None:
        self._stack, self._examples, self._device = stack, examples, device
        self.images, self.labels = images_and_labels(stack, examples, device)

    def whole_slices(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Slices whose planes are larger than the grid, one at a time: (1, C, h, w) images and (1, h, w) labels."""
        for number, labels in sorted(self._examples.whole.items()):
            images = plane_images(self._stack, self._examples.rows[number : number + 1], self._device)
            yield images, torch.from_numpy(labels[None]).to(self._device)


def crops_of(stack: Slices, examples: Examples) -> RandomCrops | None:
    """Random crops of the examples whose planes are larger than the grid, or None if there is none."""
    planes = whole_planes(stack)
    if planes is None or not examples.whole:
        return None
    return RandomCrops(planes, examples.rows, examples.whole, stack.grid_shape)


def images_and_labels(stack: Slices, examples: Examples, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, C, H, W) in half precision, as the stack stores them, and labels (n, H, W) uint8, on the device."""
    images = [stack.batches(examples.rows[i : i + 256], device).half() for i in range(0, len(examples), 256)]
    return torch.cat(images), torch.from_numpy(examples.labels).to(device)


def autocast(settings: TrainingSettings, device: str) -> torch.autocast:
    """The block in which a network computes in bfloat16, where the settings and the device allow it."""
    return torch.autocast("cuda", torch.bfloat16, enabled=settings.mixed_precision and device.startswith("cuda"))


def examples_of_step(seed: int, count: int, size: int, step: int) -> torch.Tensor:
    """Numbers of the examples of a step, (size,) int64 on the CPU, so that they are the same on every device.

    Every example is used once before any is used again.

    Args:
        seed: Seed of the training.
        count: Number of examples.
        size: Number of examples of a step.
        step: Number of the step, from 0.
    """
    first = step * size
    epochs = range(first // count, (first + size - 1) // count + 1)
    orders = [torch.randperm(count, generator=torch_generator(seed, "epoch", epoch)) for epoch in epochs]
    return torch.cat(orders)[first % count : first % count + size]


def inverse_frequency(examples: Examples, classes: int) -> torch.Tensor:
    """Weights (classes,) float32, inverse to the share of each class in the labelled pixels; the mean pixel has 1."""
    counts = torch.from_numpy(examples.class_counts(classes)).float()
    return counts.sum() / (classes * counts.clamp(min=1))


def optimiser_of(network: SegmentationNetwork, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser of all weights but those of the loss head."""
    parameters, rate, decay = network.net.parameters(), settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=settings.nesterov, weight_decay=decay)
    if settings.optimiser == "adam":
        return torch.optim.Adam(parameters, rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, rate, weight_decay=decay)
