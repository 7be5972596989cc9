"""Import annotations from label maps, and export them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ActiveSegmentationLib.cohort import (
    IGNORE_LABEL,
    AnnotationKind,
    LabelSource,
    Pseudonyms,
    SliceId,
    Source,
    Volume,
    slices_first,
    volume_order,
)
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.output_folder import output_folder
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.study.annotations import SliceAnnotation
from ActiveSegmentationLib.study.segment_file import has_segments, read_foreign_segments
from ActiveSegmentationLib.study.study import Study

SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""File names of label maps that can be imported."""

FORMATS = {"nifti": ".nii.gz", "nrrd": ".nrrd"}
"""Formats of exported label maps and their suffixes."""

MOST_HELD = 512 << 20
"""Bytes of slices that an import keeps in memory between checking all maps and committing them."""

Slices = Literal["non-empty", "all"] | Sequence[int]

_Checked = dict[str, tuple[int, list[SliceAnnotation] | None]]
"""For each volume, the number of slices to import, and these slices if they were kept in memory."""


class Imported(NamedTuple):
    """Slices of one label map: to be committed, and already committed with the same pixels and kind."""

    new: int
    unchanged: int


@dataclass(frozen=True)
class _Import:
    """Arguments of ``import_annotations``, and what was committed before."""

    annotator: str
    kind: AnnotationKind
    ignore_label: int | None
    slices: Slices
    known: Mapping[SliceId, SliceAnnotation]
    rounds: Mapping[SliceId, int]
    round: int | None

    def round_of(self, slice_id: SliceId) -> int | None:
        """The round of a slice: the given one, else one with an open request for it, else that of its last commit."""
        if self.round is not None:
            return self.round
        if slice_id in self.rounds:
            return self.rounds[slice_id]
        return self.known[slice_id].round if slice_id in self.known else None


def counts_by_volume(committed: Sequence[SliceId]) -> dict[str, Imported]:
    """How many new slices were committed in each volume."""
    volumes = [slice_id.volume for slice_id in committed]
    return {volume: Imported(volumes.count(volume), 0) for volume in dict.fromkeys(volumes)}


def commit_arrays(study: Study, labels: Mapping[SliceId, np.ndarray], annotator: str) -> dict[str, Imported]:
    """Commit slices that are arrays in memory, each for the round that requested it.

    Args:
        study: The study.
        labels: (rows, columns) label values of each slice, 255 = unlabelled.
        annotator: Name of the annotator.

    Raises:
        BadInput: If an array cannot be stored as it is, see ``Study.commit``.
    """
    rounds = study.requests.rounds()
    asked = {request.slice: number for number in rounds for request in study.requests.read(number).requests}
    study.commit(
        [
            SliceAnnotation(slice_id, plane, study.annotation, annotator, asked.get(slice_id), 0.0, "")
            for slice_id, plane in labels.items()
        ]
    )
    return counts_by_volume(list(labels))


def import_annotations(
    study: Study,
    source: Path,
    *,
    annotator: str,
    kind: AnnotationKind,
    ignore_label: int | None = None,
    slices: Slices = "non-empty",
    round: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Imported]:
    """Commit the slices of label maps.

    Which slices are imported:

    - From a map with unlabelled pixels (``ignore_label``, or 255, which no label can have): every slice with labelled
      pixels.
    - From other maps: slices with a label, or those chosen by ``slices``. Such a map does not distinguish empty slices
      from slices that were not annotated.
    - Slices that this annotator has committed with the same pixels and kind are left as they are, so an interrupted
      import can simply be repeated.

    Args:
        study: The study.
        source: A label map, or a folder of them, named by volume id (``<volume>.nii.gz``, ``.nrrd``, ``.seg.nrrd``,
            ``.mha``, ...). The segments of a segmentation saved by Slicer are matched to the labels by name.
        annotator: Name of the annotator.
        kind: Masks or scribbles.
        ignore_label: Stored value of unlabelled pixels; default for scribbles: that of the cohort, or 255.
        slices: "non-empty", "all", or 0-based indices for every map.
        round: Round that requested them. Default: the round with an open request for the slice.
        progress: Progress reporter, called after every volume.

    Returns:
        For each volume with a map, the number of slices committed now and before.

    Raises:
        BadInput: If a map belongs to no volume, cannot be read, has another grid or foreign values, or has scribbles
            but no unlabelled pixel; if 255 is its only value other than 0 and may be a structure; if there is nothing
            to import.
    """
    if isinstance(slices, str) and slices not in ("non-empty", "all"):
        advice = "Use 'non-empty', 'all', or a list of 0-based indices."
        raise BadInput(f"Slices cannot be chosen as '{slices}'.", where="slices", advice=advice)
    maps = _maps(study, Path(source))
    rounds = {
        request.slice: number
        for number in study.requests.rounds()
        for request in study.open_requests(number, annotator)
    }
    known = study.annotations(annotator)
    asked = _Import(annotator, AnnotationKind(kind), ignore_label, slices, known, rounds, round)
    checked = _checked(study, maps, asked, or_silent(progress))
    if not any(count for count, _ in checked.values()):
        advice = "Draw something and save again, or count empty slices as background (--all-slices)."
        raise BadInput("Nothing is labelled in any label map.", where=source, advice=advice)
    return _commit_all(study, maps, checked, asked, or_silent(progress))


def _commit_all(
    study: Study,
    maps: Sequence[tuple[Volume, Path]],
    checked: _Checked,
    asked: _Import,
    progress: Progress,
) -> dict[str, Imported]:
    """Commit the new slices of every map, one volume at a time."""
    counts: dict[str, Imported] = {}
    try:
        for number, (volume, path) in enumerate(maps):
            progress.update("Importing annotations", number, len(maps))
            _, held = checked[volume.id]
            drawn = held if held is not None else _drawn(study, volume, path, asked)
            new = [found for found in drawn if not _same(asked.known.get(found.slice), found.labels, asked.kind)]
            study.commit(new)
            counts[volume.id] = Imported(len(new), len(drawn) - len(new))
    except ActiveSegmentationError as error:
        raise _with_kept(error, counts) from error
    progress.update("Importing annotations", len(maps), len(maps))
    return counts


def _checked(study: Study, maps: Sequence[tuple[Volume, Path]], asked: _Import, progress: Progress) -> _Checked:
    """Read every map before anything is committed.

    Returns:
        For each volume, the number of slices to import, and these slices unless all together would take too much
        memory.
    """
    found: _Checked = {}
    held = 0
    for number, (volume, path) in enumerate(maps):
        progress.update("Checking label maps", number, len(maps))
        drawn = _drawn(study, volume, path, asked)
        held += sum(annotation.labels.nbytes for annotation in drawn)
        found[volume.id] = (len(drawn), drawn if held <= MOST_HELD else None)
    return found


def _with_kept(error: ActiveSegmentationError, counts: Mapping[str, Imported]) -> ActiveSegmentationError:
    """The same error, extended by what was committed before it."""
    new = {volume: count.new for volume, count in counts.items() if count.new}
    kept = f"{sum(new.values())} slices of {', '.join(new)} are committed" if new else "Nothing is committed"
    message = f"{error.message} {kept}; run the same command again for the rest."
    return type(error)(message, where=error.where, advice=error.advice)


def _drawn(study: Study, volume: Volume, path: Path, asked: _Import) -> list[SliceAnnotation]:
    """The slices of a map to import, checked."""
    labels, partial = _labels(study, volume, path, asked)
    study.labels.check(labels, str(path))
    planes = slices_first(labels, volume.axis)
    return [
        SliceAnnotation(
            slice_id, planes[slice_id.index].copy(), asked.kind, asked.annotator, asked.round_of(slice_id), 0.0, ""
        )
        for slice_id in (SliceId(volume.id, n) for n in _chosen(planes, asked.slices, partial, volume))
    ]


def _labels(study: Study, volume: Volume, path: Path, asked: _Import) -> tuple[np.ndarray, bool]:
    """Label values of a file, (k, j, i) uint8, and whether unlabelled pixels are marked in it (by 255)."""
    if has_segments(path):
        labels = read_foreign_segments(path, volume.geometry, study.labels, asked.kind)
        _require_drawn(asked, labels, path)
        return labels, asked.kind == AnnotationKind.SCRIBBLE
    from ActiveSegmentationLib.cohort.io import read_stored_labels
    from ActiveSegmentationLib.cohort.label_values import label_values, only_255

    ignore = asked.ignore_label
    reference = volume.labels(asked.kind)
    if ignore is None and asked.kind == AnnotationKind.SCRIBBLE:
        ignore = IGNORE_LABEL if reference is None or reference.ignore_label is None else reference.ignore_label
    stored = read_stored_labels(path, volume.geometry, volume.transforms)
    if asked.ignore_label is None and ignore in (None, IGNORE_LABEL) and only_255(stored):
        _require_unlabelled(slices_first(stored, volume.axis), path, study, asked.kind)
    source = LabelSource(Source("file", (str(path),)), ignore, ((IGNORE_LABEL, IGNORE_LABEL),))
    labels = label_values(stored, source, path)
    _require_drawn(asked, labels, path)
    return labels, ignore is not None or bool((labels == IGNORE_LABEL).any())


def _require_drawn(asked: _Import, labels: np.ndarray, path: Path) -> None:
    if asked.kind == AnnotationKind.SCRIBBLE and not (labels == IGNORE_LABEL).any():
        advice = "Name the stored value of unlabelled pixels (--ignore-value), or import the map as masks."
        raise BadInput("Scribbles were expected, but every pixel is labelled.", where=path, advice=advice)


def _require_unlabelled(planes: np.ndarray, path: Path, study: Study, kind: AnnotationKind) -> None:
    """Refuse a map with no values but 0 and 255 unless 255 can only mean unlabelled.

    In masks that is so if every slice is labelled either completely or not at all, in scribbles if few pixels are
    labelled.
    """
    unlabelled = planes == IGNORE_LABEL
    if kind == AnnotationKind.MASK:
        clear = bool((unlabelled.all(axis=(1, 2)) | ~unlabelled.any(axis=(1, 2))).all())
    else:
        clear = 2 * int(unlabelled.sum()) > unlabelled.size
    if clear:
        return
    values = " or ".join(f"{label.value} ({label.name})" for label in study.labels.labels)
    advice = (
        f"Save the map with {values} in place of 255; if 255 does mean unlabelled pixels, "
        "import it with --ignore-value 255."
    )
    message = "The only value of the label map other than 0 is 255, which means unlabelled."
    raise BadInput(message, where=path, advice=advice)


def _chosen(planes: np.ndarray, slices: Slices, partial: bool, volume: Volume) -> list[int]:
    """Indices of the slices to import."""
    labelled = (planes != IGNORE_LABEL).any(axis=(1, 2))
    if not isinstance(slices, str):
        wrong = [n for n in slices if not 0 <= n < volume.slice_count or not labelled[n]]
        if wrong:
            advice = "Choose slices on which something is drawn."
            raise BadInput(f"Slice {wrong[0] + 1} (counted from 1) cannot be imported.", where=volume.id, advice=advice)
        return sorted(set(slices))
    if slices == "non-empty" and not partial:
        labelled &= (planes > 0).any(axis=(1, 2))
    return [int(n) for n in np.flatnonzero(labelled)]


def _same(known: SliceAnnotation | None, labels: np.ndarray, kind: AnnotationKind) -> bool:
    return known is not None and known.kind == kind and np.array_equal(known.labels, labels)


def _maps(study: Study, source: Path) -> list[tuple[Volume, Path]]:
    """Volumes with their label maps, in the order of the cohort."""
    with explained(source):
        if not source.exists():
            raise BadInput("There is no such file or folder.", where=source, advice="Check the path.")
        paths = sorted(source.iterdir()) if source.is_dir() else [source]
    paths = [path for path in paths if _volume_name(path) is not None and not path.name.startswith(".")]
    volumes = {volume.id: volume for volume in study.cohort.volumes}
    expected = f"Name each map by its volume, for example {study.cohort.volumes[0].id}.nii.gz."
    if not paths:
        raise BadInput("There is no label map.", where=source, advice=expected)
    excluded = study.excluded()
    found: dict[str, Path] = {}
    for path in paths:
        name = _volume_of(path, volumes)
        if name is None:
            raise BadInput("The label map does not belong to a volume of the study.", where=path, advice=expected)
        if name in excluded:
            advice = "Include the volume again (exclude --undo), or remove the map."
            raise BadInput(f"Volume '{name}' is excluded.", where=path, advice=advice)
        if name in found:
            advice = f"Keep this one or {found[name].name}."
            raise BadInput(f"There are two label maps of volume '{name}'.", where=path, advice=advice)
        found[name] = path
    return [(volume, found[volume.id]) for volume in study.cohort.volumes if volume.id in found]


def _volume_of(path: Path, volumes: dict[str, Volume]) -> str | None:
    """Id of the volume of a map: from its name, or from its folder as in the annotations of a study."""
    for name in (_volume_name(path), path.parent.name):
        if name in volumes:
            return name
    return None


def _volume_name(path: Path) -> str | None:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return None


def export_annotations(
    study: Study,
    out: Path,
    *,
    format: str = "nifti",
    ignore_label: int = IGNORE_LABEL,
    annotator: str | None = None,
    pseudonyms: Pseudonyms | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write one label map per volume with committed slices, on the grid of the volume.

    Args:
        study: The study.
        out: Folder to write ``<volume>.nii.gz`` or ``.nrrd`` to.
        format: "nifti" or "nrrd".
        ignore_label: Value of unlabelled pixels, 1 to 255 and different from all labels.
        annotator: Only slices of this annotator. Default: the latest commits of all annotators.
        pseudonyms: Names of the files. Default: the volumes' ids.
        progress: Progress reporter, called after every volume.

    Returns:
        The files, in the order of the volumes' ids.

    Raises:
        BadInput: If the format is unknown, the ignore label is a label, or the folder cannot be written or contains
            other files.
    """
    _require_export_options(study, format, ignore_label)
    from ActiveSegmentationLib.cohort import write_label_map

    annotations = study.annotations(annotator)
    volumes = sorted({slice_id.volume for slice_id in annotations})
    names = {name: pseudonyms.volume(study.cohort.volume(name)) if pseudonyms else name for name in volumes}
    targets = {volume_id: Path(out) / f"{names[volume_id]}{FORMATS[format]}" for volume_id in volumes}
    study.require_output(Path(out), targets.values())
    with output_folder(Path(out), targets.values(), "annotations", study.id):
        for number, (volume_id, target) in enumerate(targets.items()):
            or_silent(progress).update("Exporting annotations", number, len(volumes))
            volume = study.cohort.volume(volume_id)
            planes = np.full((volume.slice_count, *volume.plane_shape), ignore_label, dtype=np.uint8)
            for slice_id, annotation in annotations.items():
                if slice_id.volume == volume_id:
                    planes[slice_id.index] = _exported(annotation.labels, ignore_label)
            array = np.ascontiguousarray(volume_order(planes, volume.axis))
            write_label_map(target, array, volume.geometry, volume.transforms)
    or_silent(progress).update("Exporting annotations", len(volumes), len(volumes))
    return list(targets.values())


def _require_export_options(study: Study, format: str, ignore_label: int) -> None:
    if format not in FORMATS:
        raise BadInput(f"There is no format '{format}'.", where="format", advice=f"Use {' or '.join(FORMATS)}.")
    if not 0 < ignore_label <= IGNORE_LABEL or ignore_label in study.labels.values:
        advice = "Use a value from 1 to 255 that no label has."
        raise BadInput(f"{ignore_label} cannot be the ignore label.", where="ignore label", advice=advice)


def _exported(labels: np.ndarray, ignore_label: int) -> np.ndarray:
    return np.where(labels == IGNORE_LABEL, np.uint8(ignore_label), labels)
