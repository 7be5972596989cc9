"""Which label files belong to which image of a plain folder, by the words of their names and folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ActiveSegmentationLib.cohort.headers import read_header
from ActiveSegmentationLib.cohort.layouts.words import (
    SEQUENCES,
    Kind,
    bids_pipelines,
    is_sorting,
    kind_of,
    without_image_words,
    without_label_words,
    words_of,
)
from ActiveSegmentationLib.cohort.naming import composed, stem
from ActiveSegmentationLib.cohort.roles import role_of_folders
from ActiveSegmentationLib.cohort.types import Geometry, Role
from ActiveSegmentationLib.common.errors import ActiveSegmentationError

Words = tuple[str, ...]


@dataclass(frozen=True)
class NamedFile:
    """A volume file and the meaning of its name.

    Attributes:
        path: The file.
        kind: Image, labels or scribbles.
        folders: Folders below the cohort's that do not merely sort files, as they are written.
        words: Words of the name; of a label file without words such as "mask".
        role: Its role by its folders.
        part: Folders of the file as they are, for the nearest of several images.
    """

    path: Path
    kind: Kind
    folders: tuple[str, ...]
    words: Words
    role: Role
    part: tuple[str, ...]

    @property
    def key(self) -> Words:
        """The folders, so that they can be compared."""
        return tuple(composed(folder).casefold() for folder in self.folders)


@dataclass(frozen=True)
class ImageUnit:
    """The files of one image, one per channel.

    Attributes:
        files: The channels.
        words: Words of the name without those that distinguish channels.
        name: The name as it is written, likewise.
    """

    files: tuple[NamedFile, ...]
    words: Words
    name: str

    @property
    def first(self) -> NamedFile:
        """The first channel."""
        return self.files[0]


@dataclass(frozen=True)
class Match:
    """What was found for a label file.

    Attributes:
        label: The file.
        images: The images that it fits best; one, where it is clear.
        structure: The rest of its name without that of the image: the structure that it shows, or "".
    """

    label: NamedFile
    images: tuple[ImageUnit, ...]
    structure: str


def named_file(path: Path, root: Path) -> NamedFile:
    """The meaning of the names of a file and its folders below ``root``."""
    part = path.relative_to(root).parts[:-1]
    folders = bids_pipelines(part)
    kind = kind_of(path, folders)
    words = words_of(stem(path))
    own = tuple(folder for folder in folders if not is_sorting(folder))
    role = role_of_folders(part)
    return NamedFile(path, kind, own, words if kind == "image" else without_label_words(words), role, part)


def without_sequence(words: Words) -> Words:
    """Words without a sequence or a channel number (0000) at the end."""
    if words and (words[-1] in SEQUENCES or re.fullmatch(r"\d{4}", words[-1])):
        return words[:-1]
    return words


class Matcher:
    """Finds the image of each label file; built once from all images."""

    def __init__(self, units: Sequence[ImageUnit]) -> None:
        self._by_key: dict[Words, list[ImageUnit]] = defaultdict(list)
        self._exact: dict[tuple[Words, Words], list[ImageUnit]] = defaultdict(list)
        self._core: dict[tuple[Words, Words], list[ImageUnit]] = defaultdict(list)
        self._bare: dict[tuple[Words, Words], list[ImageUnit]] = defaultdict(list)
        self._flat: dict[Words, list[ImageUnit]] = defaultdict(list)
        self._grids: dict[Path, Geometry | None] = {}
        for unit in units:
            key = unit.first.key
            core, bare = without_image_words(unit.words), without_image_words(without_sequence(unit.words))
            self._by_key[key].append(unit)
            self._exact[key, unit.words].append(unit)
            self._core[key, core].append(unit)
            self._bare[key, bare].append(unit)
            for words in {unit.words, core, bare}:
                self._flat[_flat(key, words)].append(unit)

    def match(self, label: NamedFile) -> Match:
        """The image of a label file: of the same name, of a name it goes on from, the only one of its folder ..."""
        for images, matched in self._ways(label):
            best = _nearest(label, images)
            if best:
                clear = best if len(best) == 1 else self._of_its_grid(label, best)
                return Match(label, tuple(clear), "_".join(_rest(without_image_words(label.words), matched)))
        return Match(label, (), "")

    def _ways(self, label: NamedFile) -> Iterable[tuple[list[ImageUnit], Words]]:
        """Images that fit, from the clearest way of fitting on, with the words that both share."""
        key, words, core = label.key, label.words, without_image_words(label.words)
        yield self._exact[key, words], core
        yield self._core[key, core], core
        yield self._bare[key, core], core
        for count in range(len(core) - 1, 0, -1):
            yield self._core[key, core[:count]] or self._bare[key, core[:count]], core[:count]
        here = self._by_key[key]
        if len(here) == 1 or (here and key):
            yield here, ()
        flat = _flat(key, core)
        for count in range(len(flat), 0, -1):
            if any(character.isdecimal() for word in flat[:count] for character in word):
                yield self._flat[flat[:count]], flat[:count]
        for above in range(len(key) - 1, 0, -1):
            yield self._by_key[key[:above]], ()
        below = [unit for other, units in self._by_key.items() if key and other[: len(key)] == key for unit in units]
        yield below, ()

    def _of_its_grid(self, label: NamedFile, images: list[ImageUnit]) -> list[ImageUnit]:
        """The image with the label's grid, or all of them where none or several have it."""
        grid = self._grid(label.path)
        if grid is None:
            return images
        grids = [self._grid(unit.first.path) for unit in images]
        fits = [
            unit
            for unit, other in zip(images, grids, strict=True)
            if other is not None and other.difference(grid) is None
        ]
        return fits if len(fits) == 1 and None not in grids else images

    def _grid(self, path: Path) -> Geometry | None:
        """The grid of a file, read once; None if it cannot be read, which is reported for the file."""
        if path not in self._grids:
            try:
                self._grids[path] = read_header(path).geometry
            except ActiveSegmentationError:
                self._grids[path] = None
        return self._grids[path]


def _flat(key: Words, words: Words) -> Words:
    """Words of folders and name in one row, each once: p1/p1_t1 and p1_t1 are the same."""
    folders = tuple(word for folder in key for word in words_of(folder))
    own = words[len(folders) :] if words[: len(folders)] == folders else words
    return folders + own


def _rest(words: Words, matched: Words) -> Words:
    return words[len(matched) :] if words[: len(matched)] == matched else words


def _nearest(label: NamedFile, images: Sequence[ImageUnit]) -> list[ImageUnit]:
    """Of several images those of the label's part (training, test), and of these those in the nearest folders."""
    same_role = [unit for unit in images if unit.first.role == label.role] or list(images)
    shared = [_shared_folders(label.part, unit.first.part) for unit in same_role]
    return [unit for unit, count in zip(same_role, shared, strict=True) if count == max(shared)]


def _shared_folders(one: Words, other: Words) -> int:
    """Number of folders from the cohort's on that two files share."""
    alike = [a == b for a, b in zip(one, other, strict=False)]
    return alike.index(False) if False in alike else len(alike)
