"""Review: the latest model's prediction and uncertainty of every volume, cached, the most uncertain first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import Volume
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json, read_json, write_json
from ActiveSegmentationLib.loop.study_loop import StudyLoop
from ActiveSegmentationLib.loop.volume_maps import NOTHING, SliceProgress, VolumeMap, label_map, write_maps
from ActiveSegmentationLib.segmentation import CleanUp, Ensemble
from ActiveSegmentationLib.uncertainty import entropy_map

PREDICTING = "Predicting volumes"
"""What progress reports call the prediction of volumes."""

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


def review_study(loop: StudyLoop, volumes: Sequence[str] = (), *, clean_up: CleanUp = NOTHING) -> list[VolumeReview]:
    """Predict volumes with the latest model; cached predictions are used again.

    Args:
        loop: The study.
        volumes: Ids of the volumes. Default: all.
        clean_up: What is changed in label maps; uncertainties are those of the model's own prediction.

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
        loop.progress.update(PREDICTING, number, len(chosen))
        compute = Compute(loop.device, progress=SliceProgress(loop.progress, PREDICTING, number, len(chosen)))
        try:
            reviews.append(_review(loop, model, volume, folder, clean_up, compute))
        except BadInput as error:
            loop.note_left_out({volume.id: error})
    loop.progress.update(PREDICTING, len(chosen), len(chosen))
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


def known_review(loop: StudyLoop, model: Ensemble, volume: Volume, clean_up: CleanUp = NOTHING) -> VolumeReview | None:
    """The cached prediction of a volume, or None if there is none or it can no longer be read."""
    record = _record(loop, volume, predictions_folder(loop, model), clean_up)
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


def _record(loop: StudyLoop, volume: Volume, folder: Path, clean_up: CleanUp) -> Path:
    prepared = loop.stack.volume(volume.id)
    whole = "" if prepared.grid == prepared.overview else "-whole"  # earlier versions predicted the centre only
    changed = f"-{hash_json(clean_up.to_json())[:8]}" if clean_up else ""
    return folder / f"{volume.id}-{prepared.content[:16]}{whole}{changed}.json"


def _review(
    loop: StudyLoop, model: Ensemble, volume: Volume, folder: Path, clean_up: CleanUp, compute: Compute
) -> VolumeReview:
    known = known_review(loop, model, volume, clean_up)
    if known is not None:
        return known
    record = _record(loop, volume, folder, clean_up)
    labels, uncertainty = record.with_suffix(".labels.nrrd"), record.with_suffix(".uncertainty.nrrd")
    of_slices = _SliceUncertainties()
    maps = [label_map(labels, loop.study.labels, clean_up), VolumeMap(uncertainty, np.dtype(np.float32), of_slices.add)]
    write_maps(model, loop.stack, volume, maps, compute=compute, transforms=False)
    review = VolumeReview(
        volume=volume.id,
        model=model.key,
        labels=str(labels),
        uncertainty=str(uncertainty),
        mean_uncertainty=of_slices.mean_of_all(),
        slice_uncertainties=of_slices.means(),
    )
    write_json(record, {**review.to_json(), "clean-up": clean_up.to_json()})
    return review


class _SliceUncertainties:
    """Mean uncertainty of every slice and of all together, over the pixels that may belong to a structure."""

    def __init__(self) -> None:
        self._sums: list[float] = []
        self._counts: list[int] = []

    def add(self, planes: np.ndarray) -> np.ndarray:
        """The uncertainty (n, h, w) float32, from 0 to 1, of the next slices with probabilities (n, classes, h, w)."""
        entropy = entropy_map(planes, axis=1) / math.log(planes.shape[1])
        possible = planes[:, 0] < CERTAIN_BACKGROUND
        self._sums += entropy.sum(axis=(1, 2), where=possible, dtype=np.float64).tolist()
        self._counts += possible.sum(axis=(1, 2)).tolist()
        return entropy

    def means(self) -> tuple[float, ...]:
        """The mean of every slice, 0 where no pixel counts."""
        return tuple(map(_mean, self._sums, self._counts))

    def mean_of_all(self) -> float:
        """The mean over the pixels of all slices."""
        return _mean(sum(self._sums), sum(self._counts))


def _mean(total: float, count: int) -> float:
    return round(total / count, 5) if count else 0.0
