"""The slice stack: every slice of a cohort, preprocessed once and memory-mapped, for training and suggesting."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.cohort.preprocessing import StackSettings
from ActiveSegmentationLib.cohort.stack_files import (
    StackVolume,
    map_array,
    map_images,
    read_record,
    read_truth,
    truth_kinds,
    volume_from_record,
    whole_file,
)
from ActiveSegmentationLib.cohort.types import AnnotationKind, Problem, SliceId
from ActiveSegmentationLib.cohort.whole_planes import WholePlanes
from ActiveSegmentationLib.common.compute import on_device
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.common.sized_cache import SizedCache

if TYPE_CHECKING:
    import torch

    from ActiveSegmentationLib.cohort.source_volumes import SourceVolume
    from ActiveSegmentationLib.cohort.types import Cohort

GPU_SHARE = 0.5
"""Fraction of a GPU's free memory that a whole stack may take."""


class SliceStack:
    """The slices of a cohort as one array (N, C, H, W), volume by volume in the cohort's order.

    H x W is a size for most of the cohort. Larger planes are in that array as smaller pictures, for comparing and
    showing slices; ``whole`` has them at full size, for segmentation. Their labels and probabilities (``to_grid``,
    ``inside``, ``from_grid``) have the size of the whole plane.

    Made by ``build_stack``. Needs NumPy, and torch for ``batches`` and ``tensor``, but no image library except for
    ``source_volume``. Can be pickled; other processes map the same files.

    Args:
        folder: Folder of a finished stack.
        cohort: The cohort that it was built of, for ``source_volume``.

    Attributes:
        folder: Its folder.
        key: Hash of the content of the images and labels, the settings and the format; equal keys, equal slices.
        settings: Settings with every automatic value resolved.
        images: (N, C, H, W) float16, memory-mapped, read only, finite.
        whole: The planes that are larger than H x W, or None if all fit.
        blank: (N,) bool, slices with next to no contrast compared with their volume.
        volumes: The volumes.
        patients: Ids of the patients, in the order of ``patient_number``.
        problems: Reference labels that could not be used, as warnings.
        volume_number: (N,) int64, place of each slice's volume in ``volumes``.
        patient_number: (N,) int64, place of each slice's patient in ``patients``.
        index: (N,) int64, 0-based index of each slice in its volume's array.
        position: (N,) float64 in (0, 1), (index + 0.5) / slices of the volume.

    Raises:
        BadInput: If there is no stack, its files are damaged, or another version made it.
    """

    def __init__(self, folder: Path, cohort: Cohort | None = None) -> None:
        self.folder = Path(folder)
        self._cohort = cohort
        record = read_record(self.folder)
        self.key: str = record["key"]
        self.settings = StackSettings.from_json(record["settings"])
        rows, columns = record["shape"][2:]
        self.volumes = tuple(volume_from_record(value, (rows, columns)) for value in record["volumes"])
        self.problems = tuple(Problem(**problem) for value in record["volumes"] for problem in value["problems"])
        self.images = map_images(self.folder, record["shape"])
        self.whole = self._whole_planes()
        self.patients = tuple(dict.fromkeys(volume.patient for volume in self.volumes))
        counts = [volume.slice_count for volume in self.volumes]
        numbers = {patient: number for number, patient in enumerate(self.patients)}
        self.volume_number = np.repeat(np.arange(len(self.volumes)), counts)
        self.patient_number = np.repeat([numbers[volume.patient] for volume in self.volumes], counts)
        self.index = np.concatenate([np.arange(count) for count in counts])
        self.position = (self.index + 0.5) / np.repeat(counts, counts)
        self.blank = np.zeros(len(self.index), dtype=bool)
        self.blank[[value["start"] + index for value in record["volumes"] for index in value["blank"]]] = True
        self._by_id = {volume.id: volume for volume in self.volumes}
        self._tensors: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}
        self._truths: SizedCache[np.ndarray | None] = SizedCache(lambda labels: 0 if labels is None else labels.nbytes)

    def _whole_planes(self) -> WholePlanes | None:
        large = [volume for volume in self.volumes if volume.overview != volume.grid]
        shapes = [(volume.slice_count, self.channels, *volume.grid.grid) for volume in large]
        files = [whole_file(self.folder, volume.id) for volume in large]
        arrays = [map_array(path, shape) for path, shape in zip(files, shapes, strict=True)]
        starts = [volume.start for volume in large]
        return WholePlanes(dict(zip(starts, arrays, strict=True))) if large else None

    def __len__(self) -> int:
        return len(self.index)

    def __reduce__(self):  # another process maps the same file instead of receiving a copy
        return SliceStack, (self.folder, self._cohort)

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns (H, W) of a prepared slice."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def channels(self) -> int:
        """Number C of image channels."""
        return int(self.images.shape[1])

    def volume(self, volume_id: str) -> StackVolume:
        """The volume called ``volume_id``.

        Raises:
            BadInput: If the stack has none.
        """
        if volume_id not in self._by_id:
            raise BadInput(f"There is no volume '{volume_id}'.", where="volume", advice="Check the spelling.")
        return self._by_id[volume_id]

    def voxel_spacing(self, number: int) -> tuple[float, float, float]:
        """Millimetres between slices, rows and columns of a volume; rows and columns are those of its prepared planes.

        Args:
            number: Number of the volume, see ``volume_number``.
        """
        volume = self.volumes[number]
        rows, columns = volume.grid.turn.pair(volume.plane_spacing)
        return volume.geometry.spacing[volume.axis], rows * volume.grid.zoom[0], columns * volume.grid.zoom[1]

    def row(self, slice_id: SliceId) -> int:
        """Row of a slice.

        Raises:
            BadInput: If there is no such slice.
        """
        volume = self.volume(slice_id.volume)
        if not 0 <= slice_id.index < volume.slice_count:
            advice = f"Its slices are 1 to {volume.slice_count}."
            raise BadInput(f"There is no slice {slice_id.index + 1}.", where=slice_id.volume, advice=advice)
        return volume.start + slice_id.index

    def slice_id(self, row: int) -> SliceId:
        """The slice in a row."""
        return SliceId(self.volumes[int(self.volume_number[row])].id, int(self.index[row]))

    def slice_ids(self, rows: Iterable[int]) -> list[SliceId]:
        """The slices in several rows, in the order of ``rows``."""
        return [self.slice_id(row) for row in rows]

    def volume_rows(self, volume_id: str) -> np.ndarray:
        """Rows of a volume's slices, in order, int64.

        Raises:
            BadInput: If the stack has no such volume.
        """
        volume = self.volume(volume_id)
        return np.arange(volume.start, volume.stop)

    def rows_of(self, volume_ids: Iterable[str]) -> np.ndarray:
        """Rows of several volumes' slices, ascending, int64; empty for no volumes.

        Raises:
            BadInput: If the stack does not have all of these volumes.
        """
        rows = [self.volume_rows(volume_id) for volume_id in volume_ids]
        return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *rows]))

    def to_grid(self, labels: np.ndarray, volume_id: str) -> np.ndarray:
        """Resample labels of a slice to the grid, by nearest neighbour.

        Args:
            labels: (h, w) uint8 labels on the acquired plane; more axes may precede.
            volume_id: The volume that the slice belongs to.

        Returns:
            (H, W) uint8 labels, ``IGNORE_LABEL`` (255) beyond the image's border; (h, w) of the whole plane where
            that is larger than the grid.

        Raises:
            BadInput: If the labels do not have the plane's size, or the stack has no such volume.
        """
        return self.volume(volume_id).grid.labels_to_grid(labels)

    def to_overview(self, labels: np.ndarray, volume_id: str) -> np.ndarray:
        """Bring labels of a slice, (h, w) uint8, onto what ``images`` shows of it, (H, W); see ``to_grid``."""
        return self.volume(volume_id).overview.labels_to_grid(labels)

    def inside(self, rows: np.ndarray) -> np.ndarray:
        """Which pixels of prepared slices show the image; the others are padding without annotation.

        Args:
            rows: (n,) rows of the stack, whose grids have one shape.

        Returns:
            (n, H, W) bool, or (n, h, w) of whole planes.
        """
        numbers, places = np.unique(self.volume_number[rows], return_inverse=True)
        volumes = [self.volumes[number] for number in numbers]
        masks = [self.to_grid(np.zeros(v.plane_shape, dtype=np.uint8), v.id) != IGNORE_LABEL for v in volumes]
        return np.stack(masks)[places] if masks else np.zeros((0, *self.grid_shape), dtype=bool)

    def from_grid(self, values: np.ndarray, volume_id: str) -> np.ndarray:
        """Resample class probabilities to a volume's acquired planes, linearly.

        Args:
            values: (C, H, W) or (n, C, H, W) probabilities, class 0 is background; of whole planes where these are
                larger than the grid.
            volume_id: The volume.

        Returns:
            (C, h, w) or (n, C, h, w) float32; beyond the grid class 0 is 1 and the others are 0.

        Raises:
            BadInput: If the values do not have the grid's size, or the stack has no such volume.
        """
        return self.volume(volume_id).grid.probabilities_from_grid(values)

    def planes_to_grid(self, values: np.ndarray, volume_id: str) -> np.ndarray:
        """Resample class probabilities of acquired planes to the grid, linearly; the inverse of ``from_grid``.

        Args:
            values: (n, C, h, w) probabilities, class 0 is background.
            volume_id: The volume.

        Returns:
            (n, C, H, W) float32, of whole planes where these are larger than the grid; beyond the image's border class
            0 is 1 and the others are 0.

        Raises:
            BadInput: If the values do not have the plane's size, or the stack has no such volume.
        """
        return self.volume(volume_id).grid.probabilities_to_grid(values)

    def source_volume(self, volume_id: str) -> SourceVolume:
        """Read the image of a volume as it was acquired: neither normalised nor resampled.

        Raises:
            BadInput: If the stack was opened without its cohort or has no such volume, or the image cannot be read.
        """
        from ActiveSegmentationLib.cohort.source_volumes import read_source_volume

        if self._cohort is None:
            advice = "Open the stack with build_stack, which knows the cohort."
            message = "The stack was opened without its cohort, so the images as they were acquired are unknown."
            raise BadInput(message, where=self.folder, advice=advice)
        return read_source_volume(self._cohort, self._cohort.volume(self.volume(volume_id).id), self.settings)

    def has_truth(self, volume_id: str, kind: AnnotationKind) -> bool:
        """Whether a volume has reference labels that can be used, without reading them.

        Raises:
            BadInput: If the stack has no such volume, or the file is damaged.
        """
        return str(kind) in truth_kinds(self.folder, self.volume(volume_id).id)

    def truth(self, volume_id: str, kind: AnnotationKind) -> np.ndarray | None:
        """Reference labels of a volume as they were when the stack was built.

        Returns:
            (S, h, w) uint8 label values, 255 unlabelled, read only; None if the volume has none that can be used.

        Raises:
            BadInput: If the stack has no such volume, or the file is damaged.
        """
        name = self.volume(volume_id).id
        return self._truths.get((name, str(kind)), lambda: read_truth(self.folder, name, str(kind)))

    def batches(self, rows: np.ndarray | torch.Tensor, device: str | torch.device = "cpu") -> torch.Tensor:
        """Prepared slices, gathered on the device where the whole stack fits there.

        Args:
            rows: (n,) rows of the stack, in any order, repeats allowed.
            device: Torch device.

        Returns:
            (n, C, H, W) float32 tensor on the device, in the order of ``rows``.
        """
        import torch

        whole = self.tensor(device)
        chosen = on_device(torch.as_tensor(rows, dtype=torch.int64), whole.device)
        return on_device(whole.index_select(0, chosen), device).to(torch.float32)

    def tensor(self, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> torch.Tensor:
        """All slices as one tensor, created once for each device and type.

        Args:
            device: Torch device.
            dtype: Type of the values. Default: float16, as stored.

        Returns:
            (N, C, H, W) tensor: on a GPU where half of its free memory holds it, otherwise on the CPU, where float16
            needs no memory of its own but maps the file. Not to be written to.
        """
        import torch

        device, dtype = torch.device(device), dtype or torch.float16
        if (device, dtype) not in self._tensors:
            needed = self.images.size * dtype.itemsize
            fits = device.type == "cuda" and needed <= GPU_SHARE * torch.cuda.mem_get_info(device)[0]
            target = device if fits else torch.device("cpu")
            with (
                warnings.catch_warnings()
            ):  # torch warns about read-only arrays; a writable memory map would count as memory
                warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
                whole = torch.from_numpy(self.images)
            self._tensors[device, dtype] = whole.to(device=target, dtype=dtype)
        return self._tensors[device, dtype]
