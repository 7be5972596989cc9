"""Annotated volumes as nnU-Net's training cases: labels with its ignore label, description and fingerprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ActiveSegmentationLib.cohort import IGNORE_LABEL, SliceId, SourceVolume
from ActiveSegmentationLib.common.errors import BadInput

if TYPE_CHECKING:
    from ActiveSegmentationLib.common.progress import Progress
    from ActiveSegmentationLib.segmentation.nnunet.options import NnunetOptions
    from ActiveSegmentationLib.segmentation.training import TrainingTask

INTENSITIES = 10**7
"""Number of intensities of annotated and unlabelled pixels that the fingerprint's statistics rest on. nnU-Net draws ten
times as many; only the normalisation of CT uses them."""


@dataclass(frozen=True)
class Case:
    """An annotated volume.

    Attributes:
        name: Id of the volume.
        image: (C, S, h, w) float32 as it was acquired.
        labels: (1, S, h, w) int16 classes; where unlabelled, the ignore label of the data set.
        spacing: Millimetres between slices, rows and columns.
        axis: Image axis across which the slices lie, or None if the planes were turned as well.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float, float]
    axis: int | None


def annotated_volumes(task: TrainingTask) -> dict[str, list[int]]:
    """Numbers of the examples in each annotated volume, by the volume's id, in the order of the stack.

    Raises:
        BadInput: If the examples do not hold the classes as they were acquired.
    """
    if not task.examples.acquired:
        advice = "Make them with examples_from_annotations(..., acquired=True)."
        message = "nnU-Net learns from labels as they were acquired, and these examples hold prepared labels only."
        raise BadInput(message, where="examples", advice=advice)
    found: dict[str, list[int]] = {}
    for number, row in enumerate(task.examples.rows):
        found.setdefault(task.stack.slice_id(int(row)).volume, []).append(number)
    return found


def cases(task: TrainingTask, volumes: Mapping[str, list[int]], progress: Progress, stage: str) -> Iterator[Case]:
    """Read volumes one after the other, each with the labels of its annotated slices.

    Args:
        task: The training.
        volumes: Numbers of the examples in each volume, by the volume's id.
        progress: Progress reporter, called after every volume.
        stage: What progress reports call this.

    Raises:
        BadInput: If an image cannot be read.
    """
    for done, (name, numbers) in enumerate(volumes.items()):
        source = task.stack.source_volume(name)
        axis = None if source.turn else source.axis
        yield Case(name, source.image, _labels(task, source, name, numbers), source.spacing, axis)
        progress.update(stage, done + 1, len(volumes))


def planned_volumes(task: TrainingTask, options: NnunetOptions) -> dict[str, list[int]]:
    """The volumes that nnU-Net plans from, as in ``annotated_volumes``; those without annotation have no example."""
    annotated = annotated_volumes(task)
    if options.plan != "cohort":
        return annotated
    return {volume.id: annotated.get(volume.id, []) for volume in task.stack.volumes}


def describe(task: TrainingTask, volumes: Mapping[str, list[int]], options: NnunetOptions) -> dict[str, Any]:
    """The description of the data set that nnU-Net reads, ``dataset.json``, as JSON values.

    It has an ignore label where any pixel of a volume is unlabelled.

    Args:
        task: The training.
        volumes: Numbers of the examples in each volume that nnU-Net plans from, by the volume's id.
        options: Options of the learner.
    """
    names = {"background": 0, **{f"class {number}": number for number in range(1, task.classes)}}
    if _any_unlabelled(task, volumes):
        names["ignore"] = task.classes
    return {
        "channel_names": {str(channel): options.intensities for channel in range(task.stack.channels)},
        "labels": names,
        "numTraining": len(volumes),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }


def fingerprint(found: Iterator[Case], count: int) -> dict[str, Any]:
    """nnU-Net's fingerprint of the annotated volumes: sizes, spacings and intensities, as JSON values.

    Args:
        found: The cases.
        count: Number of cases.
    """
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero

    spacings, shapes, shares, samples = [], [], [], []
    for case in found:
        image, labels, _ = crop_to_nonzero(case.image, case.labels.copy())
        if not (labels > 0).any():  # nnU-Net has no statistics of a data set without foreground; here of all pixels
            labels = np.ones_like(labels)
        drawn, _ = DatasetFingerprintExtractor.collect_foreground_intensities(
            labels, image, num_samples=max(1, INTENSITIES // count)
        )
        samples.append(drawn)
        spacings.append([float(mm) for mm in case.spacing])
        shapes.append([int(n) for n in image.shape[1:]])
        shares.append(float(np.prod(image.shape[1:]) / np.prod(case.image.shape[1:])))
    channels = [np.concatenate([drawn[channel] for drawn in samples]) for channel in range(len(samples[0]))]
    return {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "foreground_intensity_properties_per_channel": {
            str(channel): _statistics(values) for channel, values in enumerate(channels)
        },
        "median_relative_size_after_cropping": float(np.median(shares)),
    }


def _labels(task: TrainingTask, source: SourceVolume, name: str, numbers: list[int]) -> np.ndarray:
    labels = np.full((1, *source.image.shape[1:]), task.classes, dtype=np.int16)
    first = task.stack.row(SliceId(name, 0))
    for number in numbers:
        plane = source.turn.apply(task.examples.acquired[number]).astype(np.int16)
        labels[0, task.examples.rows[number] - first] = np.where(plane == IGNORE_LABEL, task.classes, plane)
    return labels


def _any_unlabelled(task: TrainingTask, volumes: Mapping[str, list[int]]) -> bool:
    if any((plane == IGNORE_LABEL).any() for plane in task.examples.acquired):
        return True
    return any(len(numbers) < len(task.stack.volume_rows(name)) for name, numbers in volumes.items())


def _statistics(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    return {
        "mean": float(np.mean(values, dtype=np.float64)),
        "median": float(median),
        "std": float(np.std(values, dtype=np.float64)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }
