"""The data model of a cohort: patients, volumes, slices and their files, without pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ActiveSegmentationLib.cohort.transforms import Transforms
from ActiveSegmentationLib.cohort.turns import AS_STORED, Turn
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json


class Role(StrEnum):
    """What a volume is used for in a study or an experiment."""

    POOL = "pool"
    VALIDATION = "validation"
    TEST = "test"


class AnnotationKind(StrEnum):
    """Kind of annotation: a mask labels every pixel, a scribble only the drawn ones."""

    MASK = "mask"
    SCRIBBLE = "scribble"


class SliceId(NamedTuple):
    """Identity of a slice within a cohort whose volumes have one slice axis each.

    Attributes:
        volume: Id of the volume.
        index: 0-based index along the volume's slice axis, counted in the stored array.
    """

    volume: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which is not used


@dataclass(frozen=True)
class Geometry:
    """Grid of a volume in patient space, in the order and the LPS coordinates of SimpleITK.

    Attributes:
        size: Voxels along the image axes (i, j, k); the NumPy array of the volume has shape (k, j, i).
        spacing: Millimetres between voxel centres along (i, j, k), all positive.
        origin: LPS position of voxel (0, 0, 0) in millimetres.
        direction: Row-major 3 x 3 matrix whose columns are the axes' directions.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @property
    def array_shape(self) -> tuple[int, int, int]:
        """Shape (k, j, i) of the volume's NumPy array."""
        return self.size[2], self.size[1], self.size[0]

    def slice_count(self, axis: int) -> int:
        """Number of slices along image axis ``axis`` (0 = i, 1 = j, 2 = k)."""
        return self.size[axis]

    def plane_shape(self, axis: int) -> tuple[int, int]:
        """Rows and columns of a slice perpendicular to image axis ``axis``, in the array's own order."""
        rows, columns = (a for a in (2, 1, 0) if a != axis)
        return self.size[rows], self.size[columns]

    def plane_spacing(self, axis: int) -> tuple[float, float]:
        """Millimetres between rows and between columns of a slice perpendicular to ``axis``."""
        rows, columns = (a for a in (2, 1, 0) if a != axis)
        return self.spacing[rows], self.spacing[columns]

    def difference(self, other: Geometry, tolerance: float = 1e-3) -> str | None:
        """The difference between two grids in words, or None if they agree.

        Args:
            other: Geometry to compare with.
            tolerance: Largest accepted difference of corresponding voxel positions, as a part of the smallest spacing;
                also the largest accepted difference of direction cosines.
        """
        if self.size != other.size:
            return f"size {_times(self.size)} against {_times(other.size)}"
        if not np.allclose(self.spacing, other.spacing, rtol=tolerance):
            return f"spacing {_times(self.spacing)} mm against {_times(other.spacing)} mm"
        if not np.allclose(self.direction, other.direction, atol=tolerance):
            return "orientation (direction matrix)"
        if math.dist(self.origin, other.origin) > max(tolerance, 0.01) * min(self.spacing) * 10:
            return f"origin {_tuple(self.origin)} mm against {_tuple(other.origin)} mm"
        return None

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of a hash of the grid, rounded to a micrometre."""
        values = [*self.spacing, *self.origin, *self.direction]
        return hash_json([list(self.size), [round(v, 6) + 0.0 for v in values]])[:16]

    def to_json(self) -> dict[str, Any]:
        """The geometry as JSON values."""
        return {
            "size": list(self.size),
            "spacing": list(self.spacing),
            "origin": list(self.origin),
            "direction": list(self.direction),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Geometry:
        """Inverse of ``to_json``."""
        i, j, k = (int(v) for v in value["size"])
        spacing, origin = (tuple(float(v) for v in value[name]) for name in ("spacing", "origin"))
        return cls((i, j, k), spacing, origin, tuple(float(v) for v in value["direction"]))  # type: ignore[arg-type]


def slices_first(array: np.ndarray, axis: int) -> np.ndarray:
    """View an array of shape (..., k, j, i) as (..., slices, rows, columns) for slice axis ``axis`` (0 = i, 2 = k)."""
    return np.moveaxis(array, array.ndim - 1 - axis, array.ndim - 3)


def volume_order(array: np.ndarray, axis: int) -> np.ndarray:
    """Inverse of ``slices_first``: view (..., slices, rows, columns) as (..., k, j, i)."""
    return np.moveaxis(array, array.ndim - 3, array.ndim - 1 - axis)


@dataclass(frozen=True)
class Source:
    """Files that together give one image.

    Attributes:
        kind: "file" (one file), "series" (DICOM, one path per slice in slice order), "frames" (2D images in order of
            time or place), "segmentation" (DICOM segmentations), "channels" (one 4D file whose fourth axis is the
            channel), "structures" (one binary label map per structure; the n-th, counted from 1, has the stored value
            n).
        paths: Paths relative to the cohort's root with "/" between parts, or absolute where they lie outside it.
        frames: For a series of multi-frame files: the 0-based frame of each path; otherwise empty.
    """

    kind: Literal["file", "series", "frames", "segmentation", "channels", "structures"]
    paths: tuple[str, ...]
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class LabelSource:
    """Files of a label map and how their stored values are to be read.

    Attributes:
        source: The files.
        ignore_label: Stored value of unlabelled pixels, or None where every pixel is labelled.
        values: Pairs (stored value, label value) where they differ, for example ((255, 1),) for a PNG mask.
    """

    source: Source
    ignore_label: int | None = None
    values: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Problem:
    """A problem with one volume or file, found while indexing or reading.

    Attributes:
        where: Volume id or path.
        message: What is wrong.
        advice: What to do.
        severity: "error" where the volume cannot be used, "warning" where it can.
    """

    where: str
    message: str
    advice: str = ""
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True)
class Volume:
    """One image volume of a patient.

    Attributes:
        id: Unique in the cohort and safe as a file name on every system.
        patient: Id of the patient.
        channels: One source per channel; a multi-component file is one source with ``components`` > 1.
        geometry: Grid of the image.
        axis: Image axis (0 = i, 1 = j, 2 = k) along which slices are counted.
        components: Values per voxel in each source (3 for colour frames).
        mask: Reference masks, where the cohort has them.
        scribble: Reference scribbles, where the cohort has them.
        role: What the volume is used for.
        axis_reason: Why ``axis`` is the slice axis; empty in studies of earlier versions.
        turn: How planes are turned in the slice stack to the common orientation. Default: as stored.
        transforms: Both transforms of a NIfTI image; None for other formats and in studies of earlier versions.
    """

    id: str
    patient: str
    channels: tuple[Source, ...]
    geometry: Geometry
    axis: int
    components: int = 1
    mask: LabelSource | None = None
    scribble: LabelSource | None = None
    role: Role = Role.POOL
    axis_reason: str = ""
    turn: Turn = AS_STORED
    transforms: Transforms | None = None

    @property
    def slice_count(self) -> int:
        """Number of slices along the slice axis."""
        return self.geometry.slice_count(self.axis)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of one slice."""
        return self.geometry.plane_shape(self.axis)

    @property
    def turned_shape(self) -> tuple[int, int]:
        """Rows and columns of one slice after ``turn``."""
        return self.turn.pair(self.plane_shape)

    @property
    def turned_spacing(self) -> tuple[float, float]:
        """Millimetres between rows and between columns of one slice after ``turn``."""
        return self.turn.pair(self.geometry.plane_spacing(self.axis))

    def labels(self, kind: AnnotationKind) -> LabelSource | None:
        """The reference masks or scribbles."""
        return self.mask if kind == AnnotationKind.MASK else self.scribble

    def to_json(self) -> dict[str, Any]:
        """The volume as JSON values; "axis_reason" and "turn" only if there is one."""
        reason = {"axis_reason": self.axis_reason} if self.axis_reason else {}
        turn = {"turn": self.turn.to_json()} if self.turn else {}
        return {
            "id": self.id,
            "patient": self.patient,
            "channels": [_source_to_json(source) for source in self.channels],
            "geometry": self.geometry.to_json(),
            "axis": self.axis,
            "components": self.components,
            "mask": _labels_to_json(self.mask),
            "scribble": _labels_to_json(self.scribble),
            "role": str(self.role),
            **reason,
            **turn,
            **({"transforms": self.transforms.to_json()} if self.transforms else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Volume:
        """Inverse of ``to_json``."""
        return cls(
            id=value["id"],
            patient=value["patient"],
            channels=tuple(_source_from_json(source) for source in value["channels"]),
            geometry=Geometry.from_json(value["geometry"]),
            axis=int(value["axis"]),
            components=int(value["components"]),
            mask=_labels_from_json(value["mask"]),
            scribble=_labels_from_json(value["scribble"]),
            role=Role(value["role"]),
            axis_reason=value.get("axis_reason", ""),
            turn=Turn.from_json(value.get("turn")),
            transforms=Transforms.from_json(value["transforms"]) if "transforms" in value else None,
        )


@dataclass(frozen=True)
class Cohort:
    """Patients, their volumes, and all problems.

    Attributes:
        root: Folder that relative paths start from.
        layout: Name of the layout it was read as ("acdc", "msd", "folder", ...).
        volumes: Usable volumes, sorted by (patient, id) in natural order.
        problems: All problems, each with its volume or file.
        labels: Names of label values, where the layout has them; background is 0.
    """

    root: Path
    layout: str
    volumes: tuple[Volume, ...]
    problems: tuple[Problem, ...] = ()
    labels: dict[int, str] = field(default_factory=dict)

    def volume(self, volume_id: str) -> Volume:
        """The volume called ``volume_id``.

        Raises:
            BadInput: If there is none.
        """
        for volume in self.volumes:
            if volume.id == volume_id:
                return volume
        raise BadInput(f"The cohort has no volume '{volume_id}'.", where=self.root, advice="Check the spelling.")

    def path(self, relative: str) -> Path:
        """Absolute path of a file named by a source."""
        return self.root / relative

    def require_apart(self, out: Path, targets: Iterable[Path]) -> None:
        """Refuse to write to the cohort's own files; call it before the first write.

        Args:
            out: Folder to write to.
            targets: Files to write.

        Raises:
            BadInput: If the folder is the cohort's root, or a target is one of its images or labels.
        """
        advice = "Choose another folder for the output."
        if out.resolve() == self.root.resolve():
            raise BadInput("This is the folder of the cohort's own files.", where=out, advice=advice)
        labels = (known for volume in self.volumes for known in (volume.mask, volume.scribble) if known is not None)
        sources = [
            *(source for volume in self.volumes for source in volume.channels),
            *(known.source for known in labels),
        ]
        own = {self.path(name).resolve() for source in sources for name in source.paths}
        for target in targets:
            if target.resolve() in own:
                raise BadInput("This is one of the cohort's own files.", where=target, advice=advice)

    def with_volumes(self, volumes: tuple[Volume, ...]) -> Cohort:
        """The same cohort with other volumes."""
        return replace(self, volumes=volumes)

    def with_labels(self, names: dict[int, str]) -> Cohort:
        """The same cohort with other names of label values."""
        return replace(self, labels=dict(names))

    def to_json(self) -> dict[str, Any]:
        """The cohort as JSON values, without the root."""
        return {
            "layout": self.layout,
            "labels": {str(value): name for value, name in self.labels.items()},
            "volumes": [volume.to_json() for volume in self.volumes],
            "problems": [vars(problem) for problem in self.problems],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], root: Path) -> Cohort:
        """Inverse of ``to_json``."""
        return cls(
            root=root,
            layout=value["layout"],
            volumes=tuple(Volume.from_json(volume) for volume in value["volumes"]),
            problems=tuple(Problem(**problem) for problem in value["problems"]),
            labels={int(key): name for key, name in value["labels"].items()},
        )


def _source_to_json(source: Source) -> dict[str, Any]:
    frames = {"frames": list(source.frames)} if source.frames else {}
    return {"kind": source.kind, "paths": list(source.paths), **frames}


def _source_from_json(value: dict[str, Any]) -> Source:
    return Source(value["kind"], tuple(value["paths"]), tuple(int(frame) for frame in value.get("frames", ())))


def _labels_to_json(labels: LabelSource | None) -> dict[str, Any] | None:
    if labels is None:
        return None
    values = [list(pair) for pair in labels.values]
    return {"source": _source_to_json(labels.source), "undecided": labels.ignore_label, "values": values}


def _labels_from_json(value: dict[str, Any] | None) -> LabelSource | None:
    if value is None:
        return None
    pairs = tuple((int(stored), int(label)) for stored, label in value["values"])
    return LabelSource(_source_from_json(value["source"]), value["undecided"], pairs)


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _tuple(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
