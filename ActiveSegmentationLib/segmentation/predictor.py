"""What single models and ensembles have in common: probabilities of slices, in a stream or at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.segmentation.slices import Slices, plane_images, same_shape_runs
from ActiveSegmentationLib.segmentation.windows import PIXELS_PER_BATCH, mean_over_windows


class Predictor(ABC):
    """A model that gives each pixel of a slice a probability for each class."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """Classes including background."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Hash of everything the model was made from."""

    @abstractmethod
    def networks(self) -> list[torch.nn.Module]:
        """The networks behind it, in the order of its members."""

    @abstractmethod
    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of images on the networks' device, without dropout.

        Args:
            images: (n, channels, H, W) float32; images larger than what the model was trained on are predicted window
                by window.

        Returns:
            (n, classes, H, W) float32, summing to 1 over the classes.
        """

    def predict_loss(self, images: torch.Tensor) -> torch.Tensor:
        """How large the loss on images will be, by the head that was trained beside the network.

        Args:
            images: (n, channels, H, W) float32 on the networks' device.

        Returns:
            (n,) float32; only their order means anything.

        Raises:
            BadInput: If the model was trained without such a head.
        """
        advice = "Train again with the setting 'loss_head', or choose another strategy."
        raise BadInput("The present model has no head that predicts its loss.", where="model", advice=advice)

    def predicted_losses(
        self,
        stack: Slices,
        rows: np.ndarray,
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Predicted losses (n,) float32 of all ``rows``; see ``predict_loss`` and ``probabilities``.

        Of a plane larger than the grid, the mean over its windows.
        """
        batches = iterate_images(self, stack, rows, device, batch_size, "Predicting losses", progress)
        window = stack.grid_shape
        found = [mean_over_windows(self.predict_loss, images, window).cpu().numpy() for _, images in batches]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)

    def to(self, device: str) -> Predictor:
        """Move the networks to a device; returns the model itself."""
        for network in self.networks():
            network.to(device)
        return self

    def iterate_probabilities(
        self,
        stack: Slices,
        rows: np.ndarray,
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Predict slices batch by batch, so that only one batch is in memory.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            device: Torch device.
            batch_size: Slices a batch, chosen by the size of the grid unless told.
            progress: Told after every batch.

        Yields:
            Rows (b,) and their probabilities (b, classes, H, W) float32, of whole planes where these are larger.
        """
        for chosen, images in iterate_images(self, stack, rows, device, batch_size, "Predicting slices", progress):
            yield chosen, self.predict(images).cpu().numpy()

    def probabilities(
        self,
        stack: Slices,
        rows: np.ndarray,
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Probabilities (n, classes, H, W) float32 of all ``rows``, whose planes have one shape."""
        batches = self.iterate_probabilities(stack, rows, device=device, batch_size=batch_size, progress=progress)
        found = [values for _, values in batches]
        empty = np.zeros((0, self.classes, *stack.grid_shape), dtype=np.float32)
        return np.concatenate(found) if found else empty


def iterate_images(
    model: Predictor,
    stack: Slices,
    rows: np.ndarray,
    device: str = "cpu",
    batch_size: int | None = None,
    stage: str = "Reading slices",
    progress: Progress | None = None,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Move the model to the device, set it to evaluation and yield its input batch by batch.

    Yields:
        Rows (b,) int64 and their images (b, channels, H, W) float32 on the device; slices whose planes are larger than
        the grid come whole, in batches of their own.
    """
    rows = np.asarray(rows, dtype=np.int64)
    model.to(device)
    for network in model.networks():
        network.eval()
    report = or_silent(progress)
    done = 0
    for run, (height, width) in same_shape_runs(stack, rows):
        limit = PIXELS_PER_BATCH if batch_size is None else batch_size * stack.grid_shape[0] * stack.grid_shape[1]
        size = max(1, limit // (height * width))
        for start in range(0, len(run), size):
            chosen = run[start : start + size]
            yield chosen, plane_images(stack, chosen, device)
            done += len(chosen)
            report.update(stage, done, len(rows))
