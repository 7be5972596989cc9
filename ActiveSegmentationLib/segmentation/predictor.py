"""Base of models and ensembles: predicts probabilities of slices, batch by batch or all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.slices import Slices, plane_images, same_shape_runs
from ActiveSegmentationLib.segmentation.windows import PIXELS_PER_BATCH, mean_over_windows


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

    @abstractmethod
    def networks(self) -> list[torch.nn.Module]:
        """The networks of the model, of an ensemble in the order of its members."""

    @abstractmethod
    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of images on the networks' device, without dropout.

        Args:
            images: (n, channels, H, W) float32; images larger than those of the training are predicted window by
                window.

        Returns:
            (n, classes, H, W) float32, summing to 1 over the classes.
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

        For a plane larger than the grid, the mean over its windows.
        """
        batches = iterate_images(self, stack, rows, compute, stage="Predicting losses")
        window = stack.grid_shape
        found = [mean_over_windows(self.predict_loss, images, window).cpu().numpy() for _, images in batches]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)

    def to(self, device: str) -> Predictor:
        """Move the networks to a device; returns the model itself."""
        for network in self.networks():
            network.to(device)
        return self

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
        for chosen, images in iterate_images(self, stack, rows, compute, stage="Predicting slices"):
            yield chosen, self.predict(images).cpu().numpy()

    def probabilities(self, stack: Slices, rows: np.ndarray, compute: Compute | None = None) -> np.ndarray:
        """Probabilities (n, classes, H, W) float32 of all ``rows``, whose planes have one shape.

        Example:
            >>> model = load_model(folder)
            >>> labels = model.probabilities(stack, stack.volume_rows("patient1")).argmax(1)
        """
        found = [values for _, values in self.iterate_probabilities(stack, rows, compute)]
        empty = np.zeros((0, self.classes, *stack.grid_shape), dtype=np.float32)
        return np.concatenate(found) if found else empty


def iterate_images(
    model: Predictor,
    stack: Slices,
    rows: np.ndarray,
    compute: Compute | None = None,
    *,
    stage: str = "Reading slices",
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Move the model to the device, set it to evaluation, and yield its input batch by batch.

    Args:
        model: The model.
        stack: The cohort's slices.
        rows: (n,) rows of the stack.
        compute: Device, batch size and progress reporter. Default: the CPU.
        stage: What progress reports call this.

    Yields:
        Rows (b,) int64 and their images (b, channels, H, W) float32 on the device. Slices whose planes are larger than
        the grid come as whole planes, in batches of their own.
    """
    compute = compute or Compute()
    rows = np.asarray(rows, dtype=np.int64)
    model.to(compute.device)
    for network in model.networks():
        network.eval()
    done, limit = 0, PIXELS_PER_BATCH
    if compute.batch_size is not None:
        limit = compute.batch_size * stack.grid_shape[0] * stack.grid_shape[1]
    for run, (height, width) in same_shape_runs(stack, rows):
        size = max(1, limit // (height * width))
        for start in range(0, len(run), size):
            chosen = run[start : start + size]
            yield chosen, plane_images(stack, chosen, compute.device)
            done += len(chosen)
            compute.progress.update(stage, done, len(rows))
