"""Evaluation metrics of a predicted label map against a reference: overlap and distance, per volume and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects, generate_binary_structure
from scipy.spatial import KDTree

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL

METRICS = ("dice", "dice2d", "hd95", "msd", "missed")
"""Every metric that ``volume_metrics`` knows."""

AbsentRule = Literal["nan", "one", "zero"]
"""Dice of a class that neither the reference nor the prediction has: left out, 1, or 0."""

_HD95_CONTOUR = generate_binary_structure(3, 1)  # Gaillochet 2023 measures with MONAI: 6 neighbours
_MSD_CONTOUR = generate_binary_structure(3, 3)  # Ozdemir 2021: mask minus its 3x3x3 erosion

_DENSE_VOXELS = 16
"""Voxels per contour pixel up to which a distance transform of the whole box is quicker than a tree of the contour.
A tree is slow where a contour fills the box, as that of a noisy prediction: 14 s for 2048 x 2048 pixels, not 0.5 s."""


@dataclass(frozen=True)
class MetricValue:
    """One evaluation metric of one class in one volume.

    Attributes:
        class_value: Value of the class in the label maps.
        class_name: Its name.
        metric: One of ``METRICS``.
        value: Dice in 0..1, distances in mm, ``missed`` 0 or 1; NaN if it is not defined.
    """

    class_value: int
    class_name: str
    metric: str
    value: float


def volume_metrics(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    classes: Mapping[int, str],
    spacing: Sequence[float],
    slice_axis: int,
    metrics: Sequence[str] = ("dice", "dice2d", "hd95", "msd"),
    absent: AbsentRule = "nan",
) -> list[MetricValue]:
    """Score a predicted label map against the reference.

    Unlabelled reference pixels (255) are ignored everywhere, and a border between them and a class is not a contour.

    - ``dice``: 2|P and G| / (|P| + |G|) over the volume. A class in only one of reference and prediction scores 0, so
      an empty prediction is never perfect. For a class in neither, see ``absent``.
    - ``dice2d``: mean of the same over the slices. With ``absent="nan"``, slices in which neither has the class are
      left out.
    - ``hd95``: 95th percentile Hausdorff distance in mm, the larger of both directions (Gaillochet 2023, Eq. 6).
    - ``msd``: mean surface distance in mm, pooled: (sum of distances from P's contour to G's + sum from G's to P's) /
      (pixels of both contours) (Ozdemir 2021, Eq. 11).
    - ``missed``: 1 if the reference has the class and the prediction does not, 0 if both have it, NaN if the reference
      does not. It is always computed with ``hd95`` and ``msd``, which are NaN when either side is empty.

    Args:
        prediction: (k, j, i) uint8 label values.
        truth: (k, j, i) uint8 label values, 255 unlabelled.
        classes: Name of every class to score, by label value.
        spacing: Distance of neighbouring pixels along (k, j, i) in mm.
        slice_axis: Array axis (0, 1, 2 for k, j, i) along which the volume is cut into slices.
        metrics: Names from ``METRICS``.
        absent: Dice of a class in neither reference nor prediction: "nan" (nnU-Net; left out of means), "one" (MONAI
            with ignore_empty=False; Gaillochet 2023) or "zero" (the released code of Vepa 2024).

    Returns:
        One value for every class and metric, class by class in the order given.

    Raises:
        BadInput: If the name of a metric is unknown.
        ValueError: If the arrays do not match or are not 3D, or an argument is out of range.

    Example:
        >>> volume_metrics(prediction, reference, classes={1: "liver"}, spacing=(3, 1, 1), slice_axis=0)
    """
    _check(prediction, truth, classes, spacing, slice_axis, absent)
    wanted = _wanted(metrics)
    labelled = truth != IGNORE_LABEL
    values = []
    for class_value, class_name in classes.items():
        predicted = (prediction == class_value) & labelled
        real = truth == class_value
        scores = _class_metrics(predicted, real, labelled, spacing, slice_axis, wanted, absent)
        values += [MetricValue(class_value, class_name, metric, scores[metric]) for metric in wanted]
    return values


def dice(prediction: np.ndarray, truth: np.ndarray, *, absent: AbsentRule = "nan") -> float:
    """Dice of two boolean arrays of one shape, 0..1; ``absent`` defines it where both are empty."""
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    return float(_dice(int(np.count_nonzero(prediction & truth)), total, absent))


def surface_distances(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    *,
    structure: np.ndarray = _HD95_CONTOUR,
    labelled: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Distances between the contours of two masks.

    The contour of a mask is its pixels that have a neighbour outside the mask or the array. Along an axis with one
    pixel there are no neighbours: the contour of a mask in a single slice is its outline.

    Args:
        prediction: (k, j, i) bool.
        truth: (k, j, i) bool.
        spacing: Distance of neighbouring pixels along (k, j, i) in mm.
        structure: (3, 3, 3) bool, which pixels are neighbours.
        labelled: (k, j, i) bool; neither mask is True elsewhere, and no contour is drawn there. Default: all pixels.

    Returns:
        Distances in mm from every pixel of the prediction's contour to the nearest of the reference's, and in the other
        direction; both are empty if either contour is.
    """
    box = find_objects((prediction | truth).view(np.uint8))
    if not box:
        return np.empty(0), np.empty(0)
    window = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box[0])
    unknown = np.zeros((), bool) if labelled is None else ~labelled[window]
    neighbours = _along(structure, prediction.shape)
    contours = [_contour(mask[window], unknown, neighbours) for mask in (prediction, truth)]
    if not contours[0].any() or not contours[1].any():
        return np.empty(0), np.empty(0)
    steps = np.asarray(spacing, dtype=np.float64)
    return _to_nearest(contours[0], contours[1], steps), _to_nearest(contours[1], contours[0], steps)


def _to_nearest(start: np.ndarray, goal: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance in mm from every True pixel of ``start`` to the nearest one of ``goal``."""
    points = np.argwhere(start)
    if start.size > _DENSE_VOXELS * len(points):
        return KDTree(np.argwhere(goal) * spacing).query(points * spacing)[0]
    nearest = distance_transform_edt(~goal, sampling=spacing, return_distances=False, return_indices=True)
    return np.linalg.norm((nearest[:, start].T - points) * spacing, axis=1)


def _along(structure: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The (3, 3, 3) structure without the neighbours across axes that have one pixel only."""
    kept = structure.copy()
    for axis, size in enumerate(shape):
        if size == 1:
            np.moveaxis(kept, axis, 0)[[0, 2]] = False
    return kept


def _contour(mask: np.ndarray, unknown: np.ndarray, structure: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask | unknown, structure)


def _class_metrics(
    prediction: np.ndarray,
    truth: np.ndarray,
    labelled: np.ndarray,
    spacing: Sequence[float],
    slice_axis: int,
    wanted: Sequence[str],
    absent: AbsentRule,
) -> dict[str, float]:
    scores: dict[str, float] = {}
    if "dice" in wanted:
        scores["dice"] = dice(prediction, truth, absent=absent) if labelled.any() else np.nan
    if "dice2d" in wanted:
        scores["dice2d"] = _dice_of_slices(prediction, truth, labelled, slice_axis, absent)
    if "missed" in wanted:
        scores["missed"] = float(not prediction.any()) if truth.any() else np.nan
    if "hd95" in wanted:
        pair = surface_distances(prediction, truth, spacing, structure=_HD95_CONTOUR, labelled=labelled)
        scores["hd95"] = max(float(np.percentile(side, 95)) for side in pair) if pair[0].size else np.nan
    if "msd" in wanted:
        pair = surface_distances(prediction, truth, spacing, structure=_MSD_CONTOUR, labelled=labelled)
        scores["msd"] = float(np.concatenate(pair).mean()) if pair[0].size else np.nan
    return scores


def _dice(overlap: np.ndarray | int, total: np.ndarray | int, absent: AbsentRule) -> np.ndarray:
    empty = {"nan": np.nan, "one": 1.0, "zero": 0.0}[absent]
    return np.where(np.asarray(total) > 0, 2.0 * np.asarray(overlap) / np.maximum(total, 1), empty)


def _dice_of_slices(
    prediction: np.ndarray, truth: np.ndarray, labelled: np.ndarray, slice_axis: int, absent: AbsentRule
) -> float:
    plane = tuple(axis for axis in range(3) if axis != slice_axis)
    total = prediction.sum(axis=plane) + truth.sum(axis=plane)
    scores = _dice((prediction & truth).sum(axis=plane), total, absent)
    scores = scores[labelled.any(axis=plane) & ~np.isnan(scores)]
    return float(scores.mean()) if scores.size else np.nan


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse names that are not evaluation metrics.

    Raises:
        BadInput: If there are such names; lists the known metrics.
    """
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        advice = f"Choose from {', '.join(METRICS)}."
        raise BadInput(f"There is no evaluation metric {', '.join(unknown)}.", where="metrics", advice=advice)


def _wanted(metrics: Sequence[str]) -> tuple[str, ...]:
    check_metrics(metrics)
    needs_missed = "missed" not in metrics and bool({"hd95", "msd"} & set(metrics))
    return tuple(dict.fromkeys([*metrics, *(["missed"] if needs_missed else [])]))


def _check(
    prediction: np.ndarray,
    truth: np.ndarray,
    classes: Mapping[int, str],
    spacing: Sequence[float],
    slice_axis: int,
    absent: str,
) -> None:
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError(f"Two arrays of one 3D shape are needed, not {prediction.shape} and {truth.shape}.")
    if IGNORE_LABEL in classes:
        raise ValueError(f"{IGNORE_LABEL} marks unlabelled pixels and cannot be a class.")
    if len(spacing) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing):
        raise ValueError(f"Three positive spacings are needed, not {tuple(spacing)}.")
    if slice_axis not in (0, 1, 2):
        raise ValueError(f"The slice axis is 0, 1 or 2, not {slice_axis}.")
    if absent not in ("nan", "one", "zero"):
        raise ValueError(f"The rule for absent classes is nan, one or zero, not {absent!r}.")
