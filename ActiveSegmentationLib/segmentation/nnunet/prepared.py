"""Images as nnU-Net's network takes them, and predictions brought back to the planes as they were acquired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ActiveSegmentationLib.cohort import BACKGROUND, Turn
from ActiveSegmentationLib.common.sized_cache import SizedCache
from ActiveSegmentationLib.segmentation.nnunet.plans import Plan
from ActiveSegmentationLib.segmentation.slices import Slices


def prepare(
    image: np.ndarray, labels: np.ndarray | None, spacing: tuple[float, float, float], plan: Plan
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Crop, normalise and resample a volume as nnU-Net does.

    Args:
        image: (C, S, h, w) float32 as it was acquired.
        labels: (1, S, h, w) int16 classes with the ignore label, or None.
        spacing: Millimetres between slices, rows and columns.
        plan: The plan.

    Returns:
        Image (C, s, H, W) float32, labels (1, s, H, W) int16 and nnU-Net's properties of the case.
    """
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    properties: dict[str, Any] = {"spacing": list(spacing)}
    found = DefaultPreprocessor(verbose=False).run_case_npy(
        image, labels, properties, plan.manager, plan.settings, plan.dataset
    )
    return found[0].astype(np.float32, copy=False), found[1].astype(np.int16, copy=False), found[2]


@dataclass(frozen=True)
class PreparedImage:
    """A volume as nnU-Net's network takes it.

    Attributes:
        data: (C, s, H, W) float32: cropped to what is not zero, normalised, and resampled as planned.
        properties: nnU-Net's properties of the case.
        turn: How the acquired planes were turned.
        plan: The plan it was prepared by.
    """

    data: np.ndarray
    properties: dict[str, Any]
    turn: Turn
    plan: Plan

    @property
    def box(self) -> list[tuple[int, int]]:
        """First and one past the last slice, row and column that are not cropped away."""
        return [(int(low), int(high)) for low, high in self.properties["bbox_used_for_cropping"]]

    @property
    def resampled_across(self) -> bool:
        """Whether the network takes other slices than the volume has, which only a 3D plan does."""
        low, high = self.box[0]
        return self.data.shape[1] != high - low

    def slices(self, indexes: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Slices of the volume, for a 2D plan, which does not resample across slices.

        Args:
            indexes: (n,) slices of the volume, from 0.

        Returns:
            Images (m, C, H, W) float32 of those that are not cropped away, and which they are, (n,) bool.
        """
        low, high = self.box[0]
        within = (indexes >= low) & (indexes < high)
        return torch.from_numpy(self.data[:, indexes[within] - low].swapaxes(0, 1).copy()), within

    def restore(self, logits: torch.Tensor) -> np.ndarray:
        """Resample logits to the acquired pixels, and make probabilities of them, as nnU-Net does.

        Args:
            logits: (classes, s, H, W) float on the CPU, of some slices, or of all where they are ``resampled_across``.

        Returns:
            (s', classes, h, w) float32 in the planes as they are stored; s' is s, or all slices that are not cropped
            away. Background is certain where rows and columns are cropped away.
        """
        plan, spacing = self.plan, [float(mm) for mm in self.properties["spacing"]]
        cropped = [high - low for low, high in self.box]
        shape = cropped if self.resampled_across else [logits.shape[1], *cropped[1:]]
        own = [float(mm) for mm in plan.settings.spacing]
        current = own if plan.is_3d else [spacing[0], *own]
        resampled = plan.settings.resampling_fn_probabilities(logits.float(), shape, current, spacing)
        probabilities = torch.softmax(torch.as_tensor(resampled, dtype=torch.float32), 0).numpy()
        return self._uncropped(probabilities.swapaxes(0, 1))

    def background(self, count: int) -> np.ndarray:
        """(count, classes, h, w) float32 planes of certain background, as they are stored."""
        shape = (count, self.plan.classes, *self.properties["shape_before_cropping"][1:])
        planes = np.zeros(shape, dtype=np.float32)
        planes[:, BACKGROUND] = 1
        return self.turn.undo(planes)

    def _uncropped(self, planes: np.ndarray) -> np.ndarray:
        whole = self.turn.apply(self.background(len(planes)))
        (_, _), (top, bottom), (left, right) = self.box
        whole[:, :, top:bottom, left:right] = planes
        return self.turn.undo(whole)


_CACHE: SizedCache[PreparedImage] = SizedCache(lambda image: image.data.nbytes)
"""The prepared images used last, by stack, volume and plan, for all models of the process."""


def prepared_image(stack: Slices, volume_id: str, plan: Plan) -> PreparedImage:
    """A volume as the network of a plan takes it; the last ones are kept in memory.

    Raises:
        BadInput: If the stack does not know the image as it was acquired, or it cannot be read.
    """

    def prepared() -> PreparedImage:
        source = stack.source_volume(volume_id)
        data, _, properties = prepare(source.image, None, source.spacing, plan)
        return PreparedImage(data, properties, source.turn, plan)

    return _CACHE.get((stack.key, volume_id, plan.key), prepared)
