"""Checks label names of short-axis cardiac images: the left ventricle must be inside the myocardium."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.cohort.io import read_labels
from ActiveSegmentationLib.cohort.types import AnnotationKind, Cohort, Problem
from ActiveSegmentationLib.common.errors import ActiveSegmentationError

CHECKED = 3
"""Number of label maps to read; swapped names concern all of them."""

CLEAR = 0.3
"""Minimum difference of the two fractions; in ACDC they are 1.00 and 0.31."""


def name_problems(cohort: Cohort) -> list[Problem]:
    """Warn where RV and LV seem to be swapped: copies of public cohorts differ in their label values.

    A few label maps are read. Cohorts without masks or without labels called LV, RV and MYO are not checked.
    """
    values = {name: value for value, name in cohort.labels.items()}
    if not {"LV", "RV", "MYO"} <= set(values):
        return []
    inside = _mean_inside(cohort, values)
    if not inside or inside["RV"] - inside["LV"] < CLEAR:
        return []
    percent = {name: f"{100 * share:.0f} %" for name, share in inside.items()}
    message = (
        f"The names LV and RV seem to be swapped: the myocardium, which surrounds the left ventricle, makes "
        f"{percent['RV']} of the border of label {values['RV']} (RV) and {percent['LV']} of label {values['LV']} (LV)."
    )
    advice = f"Name them with --labels {values['RV']}=LV,{values['MYO']}=MYO,{values['LV']}=RV."
    return [Problem("labels", message, advice, "warning")]


def share_inside(labels: np.ndarray, value: int, wall: int) -> float:
    """Fraction of the pixels next to a structure, in the plane of the slices, that belong to the wall.

    Args:
        labels: (slices, rows, columns) label values.
        value: Label value of the structure.
        wall: Label value of what may surround it.

    Returns:
        0 to 1, NaN if the structure is absent.
    """
    own = labels == value
    grown = own.copy()
    for axis in (1, 2):
        for step in (-1, 1):
            grown |= _shifted(own, step, axis)
    border = grown & ~own
    return float((labels[border] == wall).mean()) if border.any() else float("nan")


def _shifted(plane: np.ndarray, step: int, axis: int) -> np.ndarray:
    moved = np.roll(plane, step, axis)
    edge: list[slice | int] = [slice(None)] * plane.ndim
    edge[axis] = 0 if step > 0 else -1
    moved[tuple(edge)] = False
    return moved


def _mean_inside(cohort: Cohort, values: dict[str, int]) -> dict[str, float]:
    with_masks = [volume for volume in cohort.volumes if volume.mask is not None]
    shares = []
    for volume in with_masks[:: max(1, len(with_masks) // CHECKED)][:CHECKED]:
        try:
            labels = read_labels(cohort, volume, AnnotationKind.MASK)
        except ActiveSegmentationError:  # reported where these labels are used; they are skipped here
            continue
        assert labels is not None
        order = np.moveaxis(labels, 2 - volume.axis, 0)
        shares.append([share_inside(order, values[name], values["MYO"]) for name in ("LV", "RV")])
    known = [pair for pair in shares if np.isfinite(pair).all()]
    return dict(zip(("LV", "RV"), map(float, np.mean(known, axis=0)), strict=True)) if known else {}
