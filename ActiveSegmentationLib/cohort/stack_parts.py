"""Parts of a slice stack that are prepared apart, on other computers for example, before the stack is put together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ActiveSegmentationLib.cohort.preprocessing import StackSettings, resolve, settings_key
from ActiveSegmentationLib.cohort.stack_building import (
    HASHES,
    UnusableVolumes,
    build_stack,
    require_channels,
    stack_key,
)
from ActiveSegmentationLib.cohort.stack_checks import is_sound
from ActiveSegmentationLib.cohort.stack_contents import known_hashes
from ActiveSegmentationLib.cohort.types import Cohort, Volume
from ActiveSegmentationLib.common.files import hash_json, remove_tree, write_json
from ActiveSegmentationLib.common.progress import Progress

PARTS, FINISHED = "parts", "finished.json"
"""Folder of the parts in a cache of stacks, and the file of a part that says that nothing is left to do."""

PART_SLICES = 5000
"""Slices of a part, about; whole volumes."""


@dataclass(frozen=True)
class StackPart:
    """Some volumes of a cohort; their slices are prepared in a folder of their own. Can be pickled.

    Attributes:
        cohort: The cohort with these volumes only.
        settings: Settings with every automatic value resolved for the whole cohort.
        folder: Its cache.
    """

    cohort: Cohort
    settings: StackSettings
    folder: Path

    @property
    def is_finished(self) -> bool:
        """Whether every volume of it is prepared or known to be unusable."""
        return (self.folder / FINISHED).is_file()

    def prepare(self, progress: Progress | None = None) -> None:
        """Read the volumes in one thread and prepare their slices; what an interrupted call has done is kept.

        Volumes that cannot be used are left to ``build_stack``, which names those of all parts.

        Raises:
            JobFailed: If the disk or the memory is insufficient.
            Cancelled: If the user cancelled.
        """
        with contextlib.suppress(UnusableVolumes):
            build_stack(self.cohort, self.settings, self.folder, workers=1, progress=progress)
        write_json(self.folder / FINISHED, {"volumes": [volume.id for volume in self.cohort.volumes]})


def parts_to_prepare(cohort: Cohort, settings: StackSettings, cache: Path) -> list[StackPart]:
    """The parts to prepare before ``build_stack`` is called with their folders as ``parts``.

    Args:
        cohort: The cohort.
        settings: How slices are prepared.
        cache: Folder of stacks.

    Returns:
        The parts; none where the stack is in the cache, or the cohort is as small as one part.

    Raises:
        UnusableVolumes: If volumes differ in their channels.
    """
    require_channels(cohort.volumes, settings)
    settings = resolve(settings, cohort.volumes)
    chunks = list(_chunks(cohort.volumes))
    if len(chunks) < 2 or _is_there(cohort, settings, cache):
        return []
    key = hash_json([settings_key(settings, cohort.volumes), [volume.id for volume in cohort.volumes]])[:24]
    folder = Path(cache).resolve() / PARTS / key
    return [
        StackPart(cohort.with_volumes(chunk), settings, folder / str(number)) for number, chunk in enumerate(chunks)
    ]


def remove_parts(parts: Sequence[StackPart]) -> None:
    """Delete the folders of parts; the stack holds what they held."""
    for folder in {part.folder.parent for part in parts}:
        remove_tree(folder)


def _chunks(volumes: Sequence[Volume]) -> Iterator[tuple[Volume, ...]]:
    chunk: list[Volume] = []
    for volume in volumes:
        chunk.append(volume)
        if sum(each.slice_count for each in chunk) >= PART_SLICES:
            yield tuple(chunk)
            chunk = []
    if chunk:
        yield tuple(chunk)


def _is_there(cohort: Cohort, settings: StackSettings, cache: Path) -> bool:
    """Whether the finished stack is in the cache, as far as can be said without reading an image."""
    contents = known_hashes(cohort, Path(cache) / HASHES)
    return contents is not None and is_sound(Path(cache) / stack_key(cohort.volumes, settings, contents))
