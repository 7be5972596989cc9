"""Pictures of slices: requested ones, predictions, the map of all. All functions return PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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

Status = Literal["rest", "annotated", "requested"]
"""What a slice is to the study at the moment."""


@dataclass(frozen=True)
class SliceView:
    """One slice to show.

    Attributes:
        image: (H, W) float, any range.
        labels: (H, W) uint8 label values; where 255 (unlabelled) occurs they are shown as scribbles (widened on large
            planes, to be seen), else as contours; None for no overlay.
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
        title: Short text beside the pictures.
        aspect: Height of a pixel over its width.
    """

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    title: str = ""
    aspect: float = 1.0


def requested_slices(
    views: Sequence[SliceView],
    *,
    columns: int = 4,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, Color] | None = None,
) -> bytes:
    """A gallery of requested slices with their annotations on top.

    Args:
        views: The slices, in the order of the requests.
        columns: Pictures in a row.
        names: Name of each label value, for a key below.
        colors: Colour of each label value; a palette unless told.

    Returns:
        PNG bytes.

    Raises:
        ValueError: If there is nothing to show.
    """
    if not views:
        raise ValueError("There is no slice to show.")
    columns = min(columns, len(views))
    lines = -(-len(views) // columns)
    relief = max(view.title.count("\n") + 1 if view.title else 0 for view in views) * 0.17 + 0.08
    tall = float(np.clip(max(_proportion(view.image, view.aspect) for view in views), 0.4, 2.0))
    key = 0.35 if names else 0.05
    width, height = 2.2 * columns, lines * (2.1 * tall + relief) + key
    figure = new_figure(width, height)
    for place, view in enumerate(views):
        axes = figure.add_subplot(lines, columns, place + 1)
        _show(axes, view.image, view.aspect)
        if view.labels is not None:
            _overlay(axes, view.labels, colors)
        axes.set_title(view.title, fontsize=9, color=INK, pad=3)
    figure.subplots_adjust(
        left=0.01,
        right=0.99,
        top=1 - relief / height,
        bottom=key / height,
        wspace=0.04,
        hspace=(relief + 0.03) / (2.1 * tall),
    )
    _add_key(figure, names, colors)
    return to_png(figure)


def slice_picture(view: SliceView, *, colors: Mapping[int, Color] | None = None, pixels: int = 200) -> bytes:
    """One slice with its annotation on top and no text, as large as the plane (for pages that bring their own text).

    Args:
        view: The slice.
        colors: Colour of each label value; a palette unless told.
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
    """Image, reference and prediction side by side, one row a view; cut to where either has labels.

    Args:
        views: The slices, usually of the best, the median and the worst volume.
        names: Name of each label value, for a key below.
        colors: Colour of each label value; a palette unless told.

    Returns:
        PNG bytes.

    Raises:
        ValueError: If there is nothing to show.
    """
    if not views:
        raise ValueError("There is no prediction to show.")
    windows = [_window((view.truth, view.prediction)) for view in views]
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
    _add_key(figure, names, colors)
    return to_png(figure)


def embedding_map(xy: np.ndarray, status: Sequence[Status], *, title: str = "") -> bytes:
    """The map of all slices, one dot each: close dots are alike.

    Args:
        xy: (n, 2) float, places of the slices on the map.
        status: (n,) what each slice is: "rest", "annotated" or "requested".
        title: Text above.

    Returns:
        PNG bytes.

    Raises:
        ValueError: If the lengths differ or a status is unknown.
    """
    states = np.asarray(status)
    if xy.shape != (len(states), 2) or not np.isin(states, ["rest", "annotated", "requested"]).all():
        raise ValueError("One known status a place (n, 2) is needed.")
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot()
    size = float(np.clip(9000 / max(len(states), 1), 6, 40))
    looks = {
        "rest": ("#b4b4b4", "o", size, "none"),
        "annotated": ("#0072B2", "s", 2.0 * size, "white"),
        "requested": ("#D55E00", "D", 2.2 * size, "black"),
    }
    for state, (color, marker, area, edge) in looks.items():
        chosen = states == state
        if chosen.any():
            label = f"{state} ({np.count_nonzero(chosen)})"
            axes.scatter(
                xy[chosen, 0],
                xy[chosen, 1],
                s=area,
                c=color,
                marker=marker,
                edgecolors=edge,
                linewidths=0.7,
                label=label,
            )
    axes.set(xticks=[], yticks=[])
    axes.margins(0.05)
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_color("#c8c8c8")
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    columns = max(1, len(set(states.tolist())))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=columns, frameon=False, fontsize=10)
    figure.tight_layout()
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


def _add_key(figure: Figure, names: Mapping[int, str] | None, colors: Mapping[int, Color] | None) -> None:
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


def _window(label_maps: Sequence[np.ndarray], margin: float = 0.35, least: int = 32) -> tuple[slice, slice]:
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
