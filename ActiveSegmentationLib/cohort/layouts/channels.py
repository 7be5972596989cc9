"""Which files of a plain folder are channels of one image: case_0000, case_0001; case_t1, case_flair with one label."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from ActiveSegmentationLib.cohort.headers import read_header
from ActiveSegmentationLib.cohort.layouts.matching import ImageUnit, NamedFile, Words, without_sequence
from ActiveSegmentationLib.cohort.layouts.words import SEQUENCES, without_image_words
from ActiveSegmentationLib.cohort.naming import stem
from ActiveSegmentationLib.cohort.roles import role_of_folder, split_name
from ActiveSegmentationLib.common.errors import ActiveSegmentationError

COMPARED = 3
"""Number of groups of files whose grids are compared here; the others are checked when the cohort is read."""

Group = tuple[Words, str, Words]


def units_of(images: Sequence[NamedFile], labels: Sequence[NamedFile]) -> tuple[list[ImageUnit], int | None]:
    """Group files that are channels of one image.

    Files that differ only in a number of four digits from 0000 on are channels where a label has the name without it,
    or the folder is called imagesTr. Files that differ only in the sequence (t1, flair ...) are channels where a label
    belongs to all of them, in most of the labelled cases, and they have one grid.

    Returns:
        The images, and the number of channels each must have where sequences were grouped.
    """
    numbered = _numbered(images, labels)
    taken = {file.path for unit in numbered for file in unit.files}
    rest = [file for file in images if file.path not in taken]
    sequences = _sequence_groups(rest)
    wanted = _usual_sequences(sequences, labels)
    if wanted is None:
        return numbered + [_single(file) for file in rest], None
    labelled = _label_names(labels)
    joined = [
        files
        for group, files in sequences.items()
        if group in labelled or {file.words[-1] for file in files} == set(wanted)
    ]
    own = {file.path for files in joined for file in files}
    units = [_joined(sorted(files, key=lambda file: file.words[-1])) for files in joined]
    return numbered + units + [_single(file) for file in rest if file.path not in own], len(wanted)


def _single(file: NamedFile) -> ImageUnit:
    return ImageUnit((file,), file.words, stem(file.path))


def _joined(files: Sequence[NamedFile]) -> ImageUnit:
    name = re.sub(r"[\W_]*[^\W_]+$", "", stem(files[0].path))
    return ImageUnit(tuple(files), files[0].words[:-1], name)


def _group(file: NamedFile, words: Words) -> Group:
    return file.key, str(file.role), words


def _label_names(labels: Sequence[NamedFile]) -> set[Group]:
    return {_group(label, without_image_words(label.words)) for label in labels}


def _numbered(images: Sequence[NamedFile], labels: Sequence[NamedFile]) -> list[ImageUnit]:
    """Images whose channels are numbered as in nnU-Net."""
    named = {_group(label, label.words) for label in labels}
    groups: dict[Group, list[NamedFile]] = defaultdict(list)
    for file in images:
        if re.search(r"[^\W_]_\d{4}$", stem(file.path)) and _group(file, file.words) not in named:
            groups[_group(file, file.words[:-1])].append(file)
    units = []
    for group, files in groups.items():
        numbers = sorted(int(file.words[-1]) for file in files)
        in_raw_folder = all(_is_raw_folder(file.part[-1] if file.part else "") for file in files)
        if numbers == list(range(len(files))) and (group in named or in_raw_folder):
            units.append(_joined(sorted(files, key=lambda file: file.words[-1])))
    return units


def _is_raw_folder(folder: str) -> bool:
    """Whether a folder is called imagesTr, imagesTs or imagesVa."""
    return split_name(folder)[:1] == ["images"] and role_of_folder(folder) is not None


def _sequence_groups(files: Sequence[NamedFile]) -> dict[Group, list[NamedFile]]:
    groups: dict[Group, list[NamedFile]] = defaultdict(list)
    for file in files:
        if file.words and file.words[-1] in SEQUENCES:
            groups[_group(file, without_image_words(without_sequence(file.words)))].append(file)
    return groups


def _usual_sequences(groups: dict[Group, list[NamedFile]], labels: Sequence[NamedFile]) -> tuple[str, ...] | None:
    """The sequences that most labelled cases have, if these are several of one grid; otherwise None."""
    labelled = [groups[name] for name in _label_names(labels) if name in groups]
    sets = Counter(tuple(sorted(file.words[-1] for file in files)) for files in labelled)
    if not sets:
        return None
    wanted, count = max(sets.items(), key=lambda item: (item[1], len(item[0])))
    if len(set(wanted)) < max(2, len(wanted)) or 2 * count < len(labelled):
        return None
    alike = [files for files in labelled if len(files) == len(wanted)]
    return wanted if all(_have_one_grid(files) for files in alike[:COMPARED]) else None


def _have_one_grid(files: Sequence[NamedFile]) -> bool:
    try:
        grids = [read_header(file.path).geometry for file in files]
    except ActiveSegmentationError:  # reported for the volume when it is read for the cohort
        return True
    return all(grid.difference(grids[0]) is None for grid in grids[1:])
