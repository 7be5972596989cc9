"""Bases of models and ensembles: they predict probabilities of slices, batch by batch or all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute, on_device
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.memory import SmallerParts
from ActiveSegmentationLib.segmentation.slices import Slices, plane_images, same_shape_runs
from ActiveSegmentationLib.segmentation.windows import PIXELS_PER_BATCH, mean_over_windows

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings


class Batch(NamedTuple):
    """Slices that a model predicts together.

    Attributes:
        rows: (b,) int64 rows of the stack.
        inputs: What ``Predictor.predict`` takes: of most models images (b, channels, H, W) float32 on the device. A
            model that needs neighbouring slices, or images as they were acquired, has inputs of its own, which only
            it can read.
        kept: Where the rows are among the predictions (m, ...) of these inputs. Default: they are the rows, in order.
    """

    rows: np.ndarray
    inputs: Any
    kept: Any = slice(None)

    def of_rows(self, values: torch.Tensor) -> torch.Tensor:
        """Of what was computed from the inputs, (m, ...), the part that belongs to the rows: (b, ...)."""
        return values[self.kept]


class Predictor(ABC):
    """A model that predicts a probability of each class for every pixel of a slice."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of classes including background."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Hash of everything the model was made from."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[str]:
        """What the model can do beyond predicting: keys of ``learner.CAPABILITIES``."""

    @property
    def parts(self) -> SmallerParts:
        """Computes its batches in smaller parts once memory has run out; ``batches`` informs the user."""
        return vars(self).setdefault("_parts", SmallerParts())

    @abstractmethod
    def networks(self) -> list[torch.nn.Module]:
        """The networks of the model, of an ensemble in the order of its members."""

    @abstractmethod
    def predict(self, inputs: Any) -> torch.Tensor:
        """Probabilities of one batch, on the networks' device, without dropout.

        Args:
            inputs: Inputs of a batch of ``batches``. Models with the capability "augmentation" take images
                (n, channels, H, W) float32; images larger than those of the training are predicted window by window.

        Returns:
            (n, classes, H, W) float32 on the stack's grid, summing to 1 over the classes.
        """

    @abstractmethod
    def features(
        self, stack: Slices, rows: np.ndarray, *, flatten: bool = False, compute: Compute | None = None
    ) -> np.ndarray:
        """Features of slices, for models with the capability "features".

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            flatten: Whether to keep every position of the feature map, instead of the mean over positions.
            compute: Device, batch size and progress reporter. Default: the CPU.

        Returns:
            (n, features) float32.

        Raises:
            BadInput: If the model has no features.
        """

    def predict_loss(self, images: torch.Tensor) -> torch.Tensor:
        """The loss on images, as predicted by the loss head.

        Args:
            images: (n, channels, H, W) float32 on the networks' device.

        Returns:
            (n,) float32; only their order has a meaning.

        Raises:
            BadInput: If the model was trained without a loss head.
        """
        advice = "Train again with the setting 'loss_head', or choose another strategy."
        raise BadInput("The current model has no head that predicts its loss.", where="model", advice=advice)

    def predicted_losses(self, stack: Slices, rows: np.ndarray, compute: Compute | None = None) -> np.ndarray:
        """Predicted losses (n,) float32 of all ``rows``; see ``predict_loss`` and ``probabilities``.

        For a plane larger than ``largest_slice``, the mean over its windows.
        """
        slices = self.network_slices(stack, rows, compute, stage="Predicting losses")
        window, loss = self.largest_slice(stack), partial(self.parts.compute, self.predict_loss)
        found = [mean_over_windows(loss, images, window).cpu().numpy() for images, _ in slices]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)

    def to(self, device: str) -> Predictor:
        """Move the networks to a device; returns the model itself."""
        for network in self.networks():
            network.to(device)
        return self

    def batches(
        self,
        stack: Slices,
        rows: np.ndarray,
        compute: Compute | None = None,
        *,
        stage: str = "Reading slices",
    ) -> Iterator[Batch]:
        """Move the model to the device, set it to evaluation, and yield its inputs batch by batch.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            compute: Device, batch size and progress reporter. Default: the CPU.
            stage: What progress reports call this.

        Yields:
            Batches whose rows are together ``rows``, in order. Slices whose planes are larger than the grid come as
            whole planes, in batches of their own.
        """
        compute = compute or Compute()
        rows = np.asarray(rows, dtype=np.int64)
        self.to(compute.device)
        for network in self.networks():
            network.eval()
        done, limit = 0, PIXELS_PER_BATCH
        if compute.batch_size is not None:
            limit = compute.batch_size * stack.grid_shape[0] * stack.grid_shape[1]
        for run, (height, width) in same_shape_runs(stack, rows):
            size = max(1, limit // (height * width))
            for start in range(0, len(run), size):
                chosen = run[start : start + size]
                yield Batch(chosen, plane_images(stack, chosen, compute.device))
                done += len(chosen)
                if news := self.parts.news():
                    compute.progress.message(news)
                compute.progress.update(stage, done, len(rows))

    def plane_batches(self, stack: Slices, volume_id: str, compute: Compute | None = None) -> Iterator[Batch]:
        """The slices of a volume in their order, as inputs for predictions that ``planes`` takes.

        Default: those of ``batches``. A model that works on images as they were acquired has other inputs here, from
        which ``predict`` makes probabilities in the acquired planes, so that nothing is resampled twice.
        """
        yield from self.batches(stack, stack.volume_rows(volume_id), compute, stage="Predicting slices")

    def planes(self, stack: Slices, volume_id: str, predicted: torch.Tensor) -> np.ndarray:
        """Predictions of ``plane_batches`` (n, classes, H, W) -> (n, classes, h, w) float32 in the volume's planes."""
        return np.asarray(stack.from_grid(predicted.cpu().numpy(), volume_id), dtype=np.float32)

    def largest_slice(self, stack: Slices) -> tuple[int, int]:
        """Rows and columns that the network takes at once; larger slices are used window by window."""
        return stack.grid_shape

    def network_slices(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None, *, stage: str = "Reading slices"
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Slices as the network takes them, one by one independent of each other: for gradients and predicted losses.

        Default: those of the stack. A model that prepares images in its own way yields its own.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            compute: Device, batch size and progress reporter. Default: the CPU.
            stage: What progress reports call this.

        Yields:
            Images (b, channels, H, W) float32 on the device, and which of their pixels show the image, (b, H, W) bool;
            together all rows, in their order.
        """
        for batch in self.batches(stack, rows, compute, stage=stage):
            yield batch.inputs, on_device(stack.inside(batch.rows), batch.inputs.device)

    def iterate_probabilities(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Predict slices batch by batch, so that only one batch is in memory.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            compute: Device, batch size and progress reporter. Default: the CPU.

        Yields:
            Rows (b,) and their probabilities (b, classes, H, W) float32, of whole planes where these are larger.
        """
        for batch in self.batches(stack, rows, compute, stage="Predicting slices"):
            yield batch.rows, batch.of_rows(self.predict(batch.inputs)).cpu().numpy()

    def probabilities(self, stack: Slices, rows: np.ndarray, compute: Compute | None = None) -> np.ndarray:
        """Probabilities (n, classes, H, W) float32 of all ``rows``, whose planes have one shape.

        Example:
            >>> model = load_model(folder)
            >>> labels = model.probabilities(stack, stack.volume_rows("patient1")).argmax(1)
        """
        found = [values for _, values in self.iterate_probabilities(stack, rows, compute)]
        empty = np.zeros((0, self.classes, *stack.grid_shape), dtype=np.float32)
        return np.concatenate(found) if found else empty


class TrainedModel(Predictor):
    """A single trained model, as ``fit`` returns it.

    Attributes:
        settings: Settings of its training.
        record: Seed, device, seconds, versions and final losses of the training; JSON values.
    """

    settings: TrainingSettings
    record: dict[str, Any]

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
