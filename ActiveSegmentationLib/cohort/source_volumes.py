"""Volumes as they were acquired, for learners that prepare images in their own way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ActiveSegmentationLib.cohort.preprocessing import StackSettings
from ActiveSegmentationLib.cohort.stack_preparation import read_channels
from ActiveSegmentationLib.cohort.turns import Turn
from ActiveSegmentationLib.cohort.types import Cohort, Volume, slices_first


@dataclass(frozen=True)
class SourceVolume:
    """The image of a volume as it was acquired, in the order of its slices.

    Planes are turned like those of the slice stack, so that all volumes of a cohort lie alike; nothing else is changed.

    Attributes:
        image: (C, S, h, w) float32 in the units of the file: channels, slices, rows, columns.
        spacing: Millimetres between slices, between rows and between columns.
        axis: Image axis (0 = i, 1 = j, 2 = k) across which the slices lie.
        turn: How the stored planes were turned.
    """

    image: np.ndarray
    spacing: tuple[float, float, float]
    axis: int
    turn: Turn


def read_source_volume(cohort: Cohort, volume: Volume, settings: StackSettings) -> SourceVolume:
    """Read the image of a volume as it was acquired.

    Args:
        cohort: The cohort.
        volume: The volume.
        settings: They choose the channels; nothing else of them is used.

    Raises:
        BadInput: If the image cannot be read, or differs from the indexed one.
    """
    planes = slices_first(read_channels(cohort, volume, settings), volume.axis)
    image = np.ascontiguousarray(volume.turn.apply(planes))
    spacing = (volume.geometry.spacing[volume.axis], *volume.turned_spacing)
    return SourceVolume(image, spacing, volume.axis, volume.turn)
