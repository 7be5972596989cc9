"""Measurements of a run that no strategy uses: uncertainty of batches and errors, and predictions of a few planes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, SliceId, SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.files import write_bytes
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.evaluation import correlation
from ActiveSegmentationLib.loop import volumes_of
from ActiveSegmentationLib.segmentation import Ensemble, predict_volume
from ActiveSegmentationLib.segmentation.learner import DROPOUT
from ActiveSegmentationLib.study import LabelSet
from ActiveSegmentationLib.uncertainty import Deterministic, Dropout, slice_scores

SAMPLE = 200
"""Slices of the pool on which uncertainty is compared with errors, rounded up to whole volumes."""

PASSES = 10
"""Predictions with dropout, as in Foellmer 2024."""

SHOWN_VOLUMES = 3
"""Test volumes of which one plane is kept after each round."""


def uncertainty_of(model: Ensemble, stack: SliceStack, rows: np.ndarray, compute: Compute) -> np.ndarray:
    """Uncertainty of slices: variance with dropout summed over the foreground classes (Foellmer 2024, Appendix D).

    A model without dropout has its entropy summed over the foreground classes instead.

    Args:
        model: The model.
        stack: The cohort's slices.
        rows: (n,) rows of the stack.
        compute: Device and progress reporter.

    Returns:
        (n,) float64.
    """
    able = DROPOUT in model.capabilities
    name, sampler = ("class-variance", Dropout(passes=PASSES)) if able else ("class-entropy", Deterministic())
    scores = slice_scores(model, stack, rows, sampler, names=(name,), compute=compute)[name]
    return scores[:, 1:].astype(np.float64).sum(axis=1)


def batch_uncertainty(model: Ensemble, stack: SliceStack, batch: Sequence[SliceId], compute: Compute) -> float:
    """Uncertainty of a batch under the model of the round before, summed over its slices (Foellmer 2024, Figure 5)."""
    rows = np.array([stack.row(slice_id) for slice_id in batch], dtype=np.int64)
    return float(uncertainty_of(model, stack, rows, compute).sum())


def uncertainty_against_error(
    model: Ensemble, stack: SliceStack, rows: np.ndarray, labels: LabelSet, *, seed: int, compute: Compute
) -> dict[str, Any]:
    """How well the uncertainty of slices predicts their misclassified pixels (Foellmer 2024, Figure 6).

    Args:
        model: The model.
        stack: The cohort's slices.
        rows: (n,) rows of slices that are not annotated; those of random volumes are used, about ``SAMPLE`` slices.
        labels: The label set.
        seed: Seed of the draw.
        compute: Device and progress reporter.

    Returns:
        "correlation" (NaN if it is not defined) and "slices", their number.
    """
    chosen = _drawn(stack, rows, seed)
    errors = _errors(model, stack, chosen, labels, compute)
    known = ~np.isnan(errors)
    if not known.any():
        return {"correlation": float("nan"), "slices": 0}
    uncertainty = uncertainty_of(model, stack, chosen[known], compute)
    return {"correlation": correlation(uncertainty, errors[known]), "slices": int(known.sum())}


def _drawn(stack: SliceStack, rows: np.ndarray, seed: int) -> np.ndarray:
    """The rows of random volumes, until there are ``SAMPLE`` of them."""
    volumes = stack.volume_number[rows]
    order = generator(seed, "uncertainty against error").permutation(np.unique(volumes))
    counts = np.cumsum([(volumes == number).sum() for number in order])
    taken = order[: int(np.searchsorted(counts, SAMPLE)) + 1]
    return rows[np.isin(volumes, taken)]


def _errors(model: Ensemble, stack: SliceStack, rows: np.ndarray, labels: LabelSet, compute: Compute) -> np.ndarray:
    """(n,) misclassified pixels of each slice, at the volume's own pixel size; NaN without a reference mask."""
    found = np.full(len(rows), np.nan)
    for volume_id in volumes_of(stack, rows) if len(rows) else []:
        masks = stack.truth(volume_id, AnnotationKind.MASK)
        if masks is None:
            continue
        truth = labels.to_classes(masks)
        predicted = predict_volume(model, stack, volume_id, keep_probabilities=False, compute=compute).labels
        for place, row in enumerate(rows):
            slice_id = stack.slice_id(int(row))
            if slice_id.volume == volume_id:
                own = truth[slice_id.index]
                found[place] = ((predicted[slice_id.index] != own) & (own != IGNORE_LABEL)).sum()
    return found


def shown_planes(stack: SliceStack, rows: np.ndarray) -> list[SliceId]:
    """The planes whose predictions are kept: of up to ``SHOWN_VOLUMES`` test volumes the one with most foreground.

    Args:
        stack: The cohort's slices with their reference masks.
        rows: Rows of the test volumes.
    """
    volumes = [v for v in volumes_of(stack, rows) if stack.has_truth(v, AnnotationKind.MASK)]
    places = np.linspace(0, len(volumes) - 1, min(SHOWN_VOLUMES, len(volumes))).round().astype(int)
    found = []
    for place in places:
        truth = stack.truth(volumes[place], AnnotationKind.MASK)
        assert truth is not None  # only such volumes are in the list
        index = int(((truth > 0) & (truth != IGNORE_LABEL)).sum(axis=(1, 2)).argmax())
        found.append(SliceId(volumes[place], index))
    return found


def write_planes(
    path: Path, model: Ensemble, stack: SliceStack, rows: np.ndarray, labels: LabelSet, compute: Compute
) -> None:
    """Write the predictions of ``shown_planes`` as label values, one array for each volume, in one atomic step.

    Args:
        path: The file (NumPy's npz).
        model: The model.
        stack: The cohort's slices with their reference masks.
        rows: Rows of the test volumes.
        labels: The label set.
        compute: Device and progress reporter.
    """
    planes: dict[str, Any] = {}
    for slice_id in shown_planes(stack, rows):
        predicted = predict_volume(model, stack, slice_id.volume, keep_probabilities=False, compute=compute)
        planes[slice_id.volume] = labels.to_values(predicted.labels[slice_id.index])
    stream = io.BytesIO()
    np.savez_compressed(stream, **planes)
    write_bytes(path, stream.getvalue())


def read_planes(path: Path) -> Mapping[str, np.ndarray]:
    """Read a file of ``write_planes``: (h, w) uint8 label values by volume."""
    with np.load(path, allow_pickle=False) as planes:
        return {name: planes[name] for name in planes.files}
