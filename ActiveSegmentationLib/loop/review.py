"""Review: the latest model's prediction and uncertainty of every volume, cached, the most uncertain first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import Volume, volume_order, write_label_map, write_volume
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_json
from ActiveSegmentationLib.loop.study_loop import StudyLoop
from ActiveSegmentationLib.segmentation import Ensemble, predict_planes
from ActiveSegmentationLib.uncertainty import entropy_map

CERTAIN_BACKGROUND = 0.99
"""Pixels with at least this probability of background are left out of a volume's uncertainty, because they are far more
than those of the organ."""


@dataclass(frozen=True)
class VolumeReview:
    """Prediction and uncertainty of the latest model on one volume.

    Attributes:
        volume: Id of the volume.
        model: Key of the model.
        labels: Path of the label map (NRRD, label values, the volume's grid).
        uncertainty: Path of the uncertainty map (NRRD, float32): entropy of the class probabilities divided by its
            largest value, from 0 (certain) to 1.
        mean_uncertainty: Mean of the map over the pixels that may belong to a structure, 0 if there are none.
        slice_uncertainties: The same for each slice.
    """

    volume: str
    model: str
    labels: str
    uncertainty: str
    mean_uncertainty: float
    slice_uncertainties: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The review as JSON values."""
        return {
            "volume": self.volume,
            "model": self.model,
            "labels": self.labels,
            "uncertainty": self.uncertainty,
            "doubt": self.mean_uncertainty,
            "slice_doubt": list(self.slice_uncertainties),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> VolumeReview:
        """Inverse of ``to_json``."""
        paths = (value["volume"], value["model"], value["labels"], value["uncertainty"])
        return cls(*paths, value["doubt"], tuple(value["slice_doubt"]))


def review_study(loop: StudyLoop, volumes: Sequence[str] = ()) -> list[VolumeReview]:
    """Predict volumes with the latest model; cached predictions are used again.

    Args:
        loop: The study.
        volumes: Ids of the volumes. Default: all.

    Returns:
        One review for each volume, the most uncertain first, without the volumes in ``loop.left_out``.

    Raises:
        BadInput: If no model is trained or a volume unknown.
    """
    _, model = loop.require_model()
    chosen = usable(loop, volumes)
    folder = predictions_folder(loop, model)
    reviews = []
    for number, volume in enumerate(chosen):
        loop.progress.update("Predicting volumes", number, len(chosen))
        try:
            reviews.append(_review(loop, model, volume, folder))
        except BadInput as error:
            loop.note_left_out({volume.id: error})
    loop.progress.update("Predicting volumes", len(chosen), len(chosen))
    return sorted(reviews, key=lambda review: (-review.mean_uncertainty, review.volume))


def usable(loop: StudyLoop, volumes: Sequence[str]) -> list[Volume]:
    """The named volumes, or all, without those that had to be left out.

    Raises:
        BadInput: If a volume is unknown or excluded, or none can be used.
    """
    _ = loop.stack  # which volumes can be used is known once they are prepared
    named = [name for name in volumes if name not in loop.left_out]
    if volumes:
        return [loop.cohort.volume(name) for name in named]
    return list(loop.cohort.volumes)


def predictions_folder(loop: StudyLoop, model: Ensemble) -> Path:
    """Folder of the cached predictions of a model."""
    return loop.study.cache_folder / "predictions" / model.key[:16]


def known_review(loop: StudyLoop, model: Ensemble, volume: Volume) -> VolumeReview | None:
    """The cached prediction of a volume, or None if there is none or it can no longer be read."""
    record = _record(loop, volume, predictions_folder(loop, model))
    if not record.is_file():
        return None
    try:
        review = VolumeReview.from_json(read_json(record))
    except (BadInput, KeyError, TypeError):  # it is computed again
        return None
    labels, uncertainty = record.with_suffix(".labels.nrrd"), record.with_suffix(".uncertainty.nrrd")
    if not (labels.is_file() and uncertainty.is_file()):
        return None
    return replace(review, labels=str(labels), uncertainty=str(uncertainty))  # the study may have been moved


def _record(loop: StudyLoop, volume: Volume, folder: Path) -> Path:
    prepared = loop.stack.volume(volume.id)
    whole = "" if prepared.grid == prepared.overview else "-whole"  # earlier versions predicted the centre only
    return folder / f"{volume.id}-{prepared.content[:16]}{whole}.json"


def _review(loop: StudyLoop, model: Ensemble, volume: Volume, folder: Path) -> VolumeReview:
    known = known_review(loop, model, volume)
    if known is not None:
        return known
    record = _record(loop, volume, folder)
    found, entropies, possible = [], [], []
    for planes in predict_planes(model, loop.stack, volume.id, compute=Compute(loop.device)):
        found.append(loop.study.labels.to_values(planes.argmax(1).astype(np.uint8)))
        entropies.append(entropy_map(planes, axis=1) / math.log(model.classes))
        possible.append(planes[:, 0] < CERTAIN_BACKGROUND)
    entropy, open_pixels = np.concatenate(entropies), np.concatenate(possible)
    labels, uncertainty = record.with_suffix(".labels.nrrd"), record.with_suffix(".uncertainty.nrrd")
    write_label_map(labels, volume_order(np.concatenate(found), volume.axis), volume.geometry)
    write_volume(uncertainty, volume_order(entropy, volume.axis), volume.geometry)
    review = VolumeReview(
        volume=volume.id,
        model=model.key,
        labels=str(labels),
        uncertainty=str(uncertainty),
        mean_uncertainty=_mean(entropy, open_pixels),
        slice_uncertainties=tuple(_mean(*planes) for planes in zip(entropy, open_pixels, strict=True)),
    )
    write_json(record, review.to_json())
    return review


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    return round(float(values[where].mean()), 5) if where.any() else 0.0
