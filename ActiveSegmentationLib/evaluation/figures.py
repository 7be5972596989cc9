"""Pictures of slices with annotations or predictions, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation

from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.evaluation.drawing import (
    INK,
    Color,
    grey_levels,
    label_color,
    new_figure,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SliceView:
    """One slice to show.

    Attributes:
        image: (H, W) float, any range.
        labels: (H, W) uint8 label values; where 255 (unlabelled) occurs they are shown as scribbles (wider on large
            planes), otherwise as contours; None for no overlay.
        title: Short text above the picture.
        aspect: Height of a pixel over its width.
    """

    image: np.ndarray
    labels: np.ndarray | None = None
    title: str = ""
    aspect: float = 1.0


@dataclass(frozen=True)
class PredictionView:
    """One slice with reference and prediction.

    Attributes:
        image: (H, W) float, any range.
        truth: (H, W) uint8 label values.
        prediction: (H, W) uint8 label values.
        title: Short text above the pictures.
        aspect: Height of a pixel over its width.
    """

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    title: str = ""
    aspect: float = 1.0


def slice_picture(view: SliceView, *, colors: Mapping[int, Color] | None = None, pixels: int = 200) -> bytes:
    """One slice with its annotation as an overlay, without margins or text.

    Args:
        view: The slice.
        colors: Colour of each label value. Default: a palette.
        pixels: Length of the longer side of the picture.

    Returns:
        PNG bytes.
    """
    proportion = float(np.clip(_proportion(view.image, view.aspect), 0.25, 4.0))
    width, height = (1.0, proportion) if proportion <= 1 else (1.0 / proportion, 1.0)
    figure = new_figure(2 * width, 2 * height)
    axes = figure.add_axes((0, 0, 1, 1))
    _show(axes, view.image, view.aspect)
    if view.labels is not None:
        _overlay(axes, view.labels, colors)
    return to_png(figure, dpi=pixels // 2)


def prediction_gallery(
    views: Sequence[PredictionView],
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, Color] | None = None,
) -> bytes:
    """Image, reference and prediction side by side, one row per view; cropped to where either has labels.

    Args:
        views: The slices, usually of the best, the median and the worst volume.
        names: Name of each label value, for a legend below. Default: no legend.
        colors: Colour of each label value. Default: a palette.

    Returns:
        PNG bytes.

    Raises:
        ValueError: If there is nothing to show.
    """
    if not views:
        raise ValueError("There is no prediction to show.")
    windows = [foreground_window((view.truth, view.prediction)) for view in views]
    tall = max(_proportion(view.image[window], view.aspect) for view, window in zip(views, windows, strict=True))
    tall = float(np.clip(tall, 0.4, 1.6))
    key, head, side = (0.4 if names else 0.1), 0.35, 2.5
    row = side * tall + 0.15 + 0.17 * max(view.title.count("\n") + 1 for view in views)
    height = len(views) * row + head + key
    figure = new_figure(3 * side, height)
    for line, (view, window) in enumerate(zip(views, windows, strict=True)):
        for column, labels in enumerate((None, view.truth, view.prediction)):
            bottom = 1 - (head + (line + 1) * row) / height
            axes = figure.add_axes((column / 3 + 0.004, bottom, 1 / 3 - 0.008, side * tall / height))
            _show(axes, view.image[window], view.aspect)
            if labels is not None:
                _overlay(axes, labels[window], colors)
        figure.text(0.006, bottom + (side * tall + 0.06) / height, view.title, fontsize=10, color=INK, va="bottom")
    for column, name in enumerate(("image", "reference", "prediction")):
        figure.text((column + 0.5) / 3, 1 - 0.22 / height, name, ha="center", fontsize=11, fontweight="bold", color=INK)
    _add_legend(figure, names, colors)
    return to_png(figure)


def _show(axes: Axes, image: np.ndarray, aspect: float) -> None:
    axes.imshow(grey_levels(image), cmap="gray", vmin=0, vmax=1, aspect=aspect, interpolation="bilinear")
    axes.set_axis_off()
    axes.autoscale(False)


def _overlay(axes: Axes, labels: np.ndarray, colors: Mapping[int, Color] | None) -> None:
    values = [int(value) for value in np.unique(labels) if value != IGNORE_LABEL]
    if (labels == IGNORE_LABEL).any():
        picture = np.zeros((*labels.shape, 4))
        width = round(max(labels.shape) / 150)
        for value in values:  # the background first, the labels over it
            stroke = binary_dilation(labels == value, iterations=width) if width else labels == value
            picture[stroke] = (*label_color(value, colors), 0.9)
        axes.imshow(picture, aspect=axes.get_aspect(), interpolation="nearest")
        return
    for value in values:
        mask = np.pad(labels == value, 1).astype(float)
        if value == 0 or not mask.any():
            continue
        height, width = mask.shape
        place = {"X": np.arange(width) - 1, "Y": np.arange(height) - 1}
        for color, line in (("black", 2.6), (label_color(value, colors), 1.5)):  # the dark rim keeps it visible
            axes.contour(place["X"], place["Y"], mask, levels=[0.5], colors=[color], linewidths=line)


def _add_legend(figure: Figure, names: Mapping[int, str] | None, colors: Mapping[int, Color] | None) -> None:
    if not names:
        return
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=label_color(value, colors), linewidth=5, label=name) for value, name in names.items()
    ]
    columns = min(len(handles), 6)
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=10, handlelength=1.2)


def _proportion(image: np.ndarray, aspect: float) -> float:
    return image.shape[0] * aspect / max(image.shape[1], 1)


def foreground_window(label_maps: Sequence[np.ndarray], margin: float = 0.35, least: int = 32) -> tuple[slice, slice]:
    """The part of a plane where any of the maps has a label, with some room around it."""
    found = np.logical_or.reduce([(labels > 0) & (labels != IGNORE_LABEL) for labels in label_maps])
    if not found.any():
        return slice(0, found.shape[0]), slice(0, found.shape[1])
    sides = []
    reach = max(float(np.ptp(places)) for places in np.nonzero(found)) + 1
    half = max(reach * (0.5 + margin), least / 2)
    for places, length in zip(np.nonzero(found), found.shape, strict=True):
        middle = (places.min() + places.max()) / 2
        sides.append(slice(max(0, int(middle - half)), min(length, int(middle + half) + 2)))
    return sides[0], sides[1]
