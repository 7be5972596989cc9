"""Results of a study: label maps of every volume, scores against reference masks, exports for other tools."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import (
    IGNORE_LABEL,
    AnnotationKind,
    Pseudonyms,
    Role,
    Volume,
    read_image,
    read_label_map,
    slices_first,
    volume_order,
    write_label_map,
    write_volume,
)
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import write_json, write_text
from ActiveSegmentationLib.common.output_folder import output_folder
from ActiveSegmentationLib.common.text import spreadsheet_safe
from ActiveSegmentationLib.evaluation import AbsentRule, check_metrics
from ActiveSegmentationLib.loop.device import versions
from ActiveSegmentationLib.loop.review import PREDICTING, known_review, usable
from ActiveSegmentationLib.loop.study_loop import StudyLoop
from ActiveSegmentationLib.loop.training import VolumeScore, evaluate_volumes, volumes_of
from ActiveSegmentationLib.loop.volume_maps import NOTHING, SliceProgress, VolumeMap, label_map, write_maps
from ActiveSegmentationLib.segmentation import CleanUp, Ensemble, cleaned
from ActiveSegmentationLib.study import Study, check_reference, export_annotations
from ActiveSegmentationLib.uncertainty import entropy_map

PREDICTIONS = "predictions.json"
"""Name of the record next to predictions."""

METRICS = ("dice", "dice2d", "hd95", "msd")
"""Evaluation metrics that are computed by default."""

EXPORT_FORMATS = ("nifti", "nrrd", "nnunet", "csv")
"""Formats of an export."""


def predict_study(
    loop: StudyLoop,
    out: Path,
    *,
    volumes: Sequence[str] = (),
    probabilities: bool = False,
    uncertainty: bool = False,
    suffix: str = ".nii.gz",
    clean_up: CleanUp = NOTHING,
) -> list[Path]:
    """Write the latest model's label map of every volume, in the volume's own geometry.

    Maps are written slice by slice, so that the memory that is needed does not depend on the size of a volume.

    Args:
        loop: The study.
        out: Folder to write to: ``<volume><suffix>`` with label values, and if requested
            ``<volume>_probabilities<suffix>`` (float32, one component per class, background first) and
            ``<volume>_uncertainty<suffix>`` (float32, entropy in nats from 0 to ln of the number of classes). A record,
            ``predictions.json``, says by which model they are and how they were cleaned up.
        volumes: Ids of the volumes. Default: all.
        probabilities: Whether to write probabilities.
        uncertainty: Whether to write uncertainty.
        suffix: File type.
        clean_up: What is changed in label maps; probabilities and uncertainty stay as the model gives them.

    Returns:
        The files written.

    Raises:
        BadInput: If no model is trained or a volume unknown; if the folder holds files that were not written here, or
            a label map that was changed since.
    """
    number_of_round, model = loop.require_model()
    chosen = usable(loop, volumes)
    maps = {
        volume.id: [
            label_map(out / f"{volume.id}{suffix}", loop.study.labels, clean_up),
            *_further_maps(model, out, volume, suffix, probabilities=probabilities, uncertainty=uncertainty),
        ]
        for volume in chosen
    }
    targets = [*(each.path for volume in chosen for each in maps[volume.id]), out / PREDICTIONS]
    loop.study.require_output(out, targets)
    written: list[Path] = []
    with output_folder(out, targets, "predictions", loop.study.id):
        for number, volume in enumerate(chosen):
            loop.progress.update(PREDICTING, number, len(chosen))
            compute = Compute(loop.device, progress=SliceProgress(loop.progress, PREDICTING, number, len(chosen)))
            try:
                _write_maps(loop, model, volume, maps[volume.id], clean_up, compute)
            except BadInput as error:
                loop.note_left_out({volume.id: error})
                continue
            written += [each.path for each in maps[volume.id]]
        record = {"round": number_of_round, "model": model.key, "clean-up": clean_up.to_json(), "versions": versions()}
        write_json(out / PREDICTIONS, {**record, "files": sorted(path.name for path in written)})
    loop.progress.update(PREDICTING, len(chosen), len(chosen))
    return written


def _further_maps(
    model: Ensemble, out: Path, volume: Volume, suffix: str, *, probabilities: bool, uncertainty: bool
) -> Iterator[VolumeMap]:
    """The files of a volume in addition to its label map."""
    floating = np.dtype(np.float32)
    if probabilities:
        path = out / f"{volume.id}_probabilities{suffix}"
        yield VolumeMap(path, floating, lambda planes: planes, model.classes)
    if uncertainty:
        path = out / f"{volume.id}_uncertainty{suffix}"
        yield VolumeMap(path, floating, lambda planes: entropy_map(planes, axis=1))


def _write_maps(
    loop: StudyLoop, model: Ensemble, volume: Volume, maps: Sequence[VolumeMap], clean_up: CleanUp, compute: Compute
) -> None:
    """Write the maps of a volume; a cached prediction is used if only label values are needed."""
    known = known_review(loop, model, volume) if len(maps) == 1 else None
    if known is None:
        write_maps(model, loop.stack, volume, maps, compute=compute)
        return
    labels = read_label_map(Path(known.labels), volume.geometry)
    if clean_up:
        classes = slices_first(loop.study.labels.to_classes(labels), volume.axis)
        labels = volume_order(loop.study.labels.to_values(cleaned(classes, clean_up)), volume.axis)
    write_label_map(maps[0].path, labels, volume.geometry, volume.transforms)


def evaluate_study(
    loop: StudyLoop,
    *,
    metrics: Sequence[str] = METRICS,
    role: Role | None = None,
    absent: AbsentRule = "nan",
    clean_up: CleanUp = NOTHING,
) -> tuple[Role, list[VolumeScore]]:
    """Score the latest model against reference masks and store the scores with its round.

    Volumes without reference masks are left out; a message and the record name them.

    Args:
        loop: The study.
        metrics: Names of the evaluation metrics.
        role: Role of the volumes to score. Default: the test volumes if the cohort has any, otherwise the pool, whose
            slices may have been trained on.
        absent: Dice of a class that neither the reference nor the prediction has, see ``volume_metrics``.
        clean_up: What is changed in predicted label maps before they are scored; it is recorded.

    Returns:
        Role of the scored volumes, and the scores.

    Raises:
        BadInput: If no model is trained, there is no volume of that role, none has reference masks, or one has values
            outside the label set.
    """
    number, model = loop.require_model()
    check_metrics(metrics)
    if role is None:
        role = Role.TEST if len(loop.rows(Role.TEST)) else Role.POOL
    if not len(loop.rows(role)):
        advice = "Choose another part, or give the study a split that has it."
        raise BadInput(f"The study has no {role} volumes.", where="role", advice=advice)
    for volume in loop.cohort.volumes:
        if volume.role == role:
            check_reference(loop.cohort, loop.stack, volume, AnnotationKind.MASK, loop.study.labels)
    rows, labels = loop.rows(role), loop.study.labels
    scores = evaluate_volumes(
        model, loop.stack, rows, labels, metrics=metrics, absent=absent, clean_up=clean_up, compute=loop.compute
    )
    record = {
        "model": model.key,
        "scored on": str(role),
        "Dice of absent classes": absent,
        "clean-up": clean_up.to_json(),
        "not scored": sorted(set(volumes_of(loop.stack, rows)) - {score.volume for score in scores}),
        "scores": [_score_to_json(score) for score in scores],
    }
    loop.study.requests.write_record(number, "metrics", record)
    return role, scores


def _score_to_json(score: VolumeScore) -> dict[str, object]:
    value = None if np.isnan(score.value) else score.value
    return {"volume": score.volume, "class": score.class_name, "metric": score.metric, "value": value}


def export_study(study: Study, out: Path, format_name: str, pseudonyms: Pseudonyms | None = None) -> list[Path]:
    """Write the annotations for other tools.

    Args:
        study: The study.
        out: Folder to write to.
        format_name: "nifti" or "nrrd" (one label map per volume, 255 where unlabelled), "nnunet" (a raw data set for
            nnU-Net v2 whose unlabelled pixels are its ignore label), "csv" (one row per annotated slice; slices count
            from 1).
        pseudonyms: Names of volumes and patients in files and file names; annotators are numbered and times left out
            then. Default: their ids.

    Returns:
        The files written.

    Raises:
        BadInput: If the format is unknown or nothing is annotated; if the folder holds files that were not written
            here, or one that was changed since.
    """
    if format_name not in EXPORT_FORMATS:
        advice = f"Choose one of: {', '.join(EXPORT_FORMATS)}."
        raise BadInput(f"There is no format '{format_name}'.", where="format", advice=advice)
    if not study.annotations():
        advice = "Commit at least one slice first."
        raise BadInput("Nothing is annotated yet.", where=study.folder, advice=advice)
    study.require_output(out, [])
    if format_name == "csv":
        return [_export_csv(study, out, pseudonyms)]
    if format_name == "nnunet":
        return _export_nnunet(study, out, pseudonyms)
    return export_annotations(study, out, format=format_name, pseudonyms=pseudonyms)


def _export_csv(study: Study, out: Path, pseudonyms: Pseudonyms | None) -> Path:
    annotators = sorted({annotation.annotator for annotation in study.annotations().values()})
    numbered = {name: f"annotator {number}" for number, name in enumerate(annotators, start=1)}
    text = io.StringIO()
    writer = csv.writer(text)
    header = ["patient", "volume", "axis", "slice", "kind", "annotator", "round", "seconds", "committed at"]
    writer.writerow([*header, *(f"pixels of {label.name}" for label in study.labels.labels), "undecided pixels"])
    rows = []
    for slice_id, annotation in sorted(study.annotations().items()):
        volume = study.cohort.volume(slice_id.volume)
        counts = [int((annotation.labels == label.value).sum()) for label in study.labels.labels]
        about: list[object] = [annotation.kind, annotation.annotator, annotation.round, annotation.seconds]
        about.append(annotation.committed_at)
        names = volume.patient, volume.id
        if pseudonyms is not None:
            names = pseudonyms.patient(volume), pseudonyms.volume(volume)
            about = [annotation.kind, numbered[annotation.annotator], annotation.round, annotation.seconds, ""]
        unlabelled = int((annotation.labels == IGNORE_LABEL).sum())
        rows.append([*names, volume.axis, slice_id.index + 1, *about, *counts, unlabelled])
    if pseudonyms is not None:  # their order must say nothing about the names
        rows.sort(key=lambda row: (str(row[1]), row[3]))
    writer.writerows([spreadsheet_safe(cell) for cell in row] for row in rows)
    path = out / "annotations.csv"
    with output_folder(out, [path], "the table of annotations", study.id):
        write_text(path, text.getvalue())
    return path


def _export_nnunet(study: Study, out: Path, pseudonyms: Pseudonyms | None) -> list[Path]:
    ignore = study.labels.classes
    annotated = sorted({slice_id.volume for slice_id in study.annotations()})
    volumes = [study.cohort.volume(name) for name in annotated]
    named = {volume.id: pseudonyms.volume(volume) if pseudonyms else volume.id for volume in volumes}
    labels = {name: out / "labelsTr" / f"{shown}.nii.gz" for name, shown in named.items()}
    channels = max(len(volume.channels) * volume.components for volume in volumes)
    images = {v: [out / "imagesTr" / f"{shown}_{n:04d}.nii.gz" for n in range(channels)] for v, shown in named.items()}
    targets = [*labels.values(), *(path for paths in images.values() for path in paths), out / "dataset.json"]
    study.require_output(out, targets)
    written: list[Path] = []
    with output_folder(out, targets, "a data set for nnU-Net", study.id, whole=True):
        for volume in volumes:
            for path, pixels in zip(images[volume.id], read_image(study.cohort, volume), strict=False):
                write_volume(path, pixels, volume.geometry, volume.transforms)
                written.append(path)
            classes = _classes_of_volume(study, volume, ignore)
            write_label_map(labels[volume.id], classes, volume.geometry, volume.transforms)
            written.append(labels[volume.id])
        write_json(out / "dataset.json", _dataset(study, channels, len(volumes), ignore))
    return [*written, out / "dataset.json"]


def _dataset(study: Study, channels: int, volumes: int, ignore: int) -> dict[str, object]:
    """The description that nnU-Net reads."""
    names = {label.name: number for number, label in enumerate(study.labels.labels, 1)}
    return {
        "channel_names": {str(number): f"channel {number}" for number in range(channels)},
        "labels": {"background": 0} | names | {"ignore": ignore},
        "numTraining": volumes,
        "file_ending": ".nii.gz",
    }


def _classes_of_volume(study: Study, volume: Volume, ignore: int) -> np.ndarray:
    classes = np.full((volume.slice_count, *volume.plane_shape), IGNORE_LABEL, dtype=np.uint8)
    for slice_id, annotation in study.annotations().items():
        if slice_id.volume == volume.id:
            classes[slice_id.index] = study.labels.to_classes(annotation.labels)
    classes[classes == IGNORE_LABEL] = ignore
    return volume_order(classes, volume.axis)
