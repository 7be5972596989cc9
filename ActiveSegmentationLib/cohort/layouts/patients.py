"""Which patient an image of a plain folder belongs to, by the names of its folders and its own."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ActiveSegmentationLib.cohort.layouts.words import MOMENTS, SEQUENCES, without_image_words, words_of
from ActiveSegmentationLib.cohort.roles import split_name

_BIDS = re.compile(r"sub-[A-Za-z0-9]+")
_PERSON = re.compile(r"(patient|subject|subj|pat|sub)[-_ ]?\d+", re.IGNORECASE)
_GROUPS = {
    *("site", "center", "centre", "hospital", "scanner", "vendor", "batch", "fold", "group", "cohort", "dataset"),
    *("part", "task", "institution", "clinic"),
}
"""First words of folders that hold several patients."""


@dataclass(frozen=True)
class Place:
    """The folders and name of an image.

    Attributes:
        folders: Names of the folders that do not merely sort files, outermost first.
        stem: The file's name without suffix and without channel.
    """

    folders: tuple[str, ...]
    stem: str


def patients_of(places: Sequence[Place]) -> list[str]:
    """Name the patient of every image.

    A folder names the patient where its images are named by sequence, moment or the folder itself, or alike in several
    folders; otherwise the file does. Words for sequence, moment and side at the end of a name are left out, so that
    images of one patient stay together. Patients of the same name in different folders are distinguished.
    """
    cut = [Place(_without_moments(place.folders), place.stem) for place in places]
    names_patient = _patient_folders(cut)
    ids = [_id(place, names_patient) for place in cut]
    return _unique_names(ids)


def patient_in(stem: str) -> str:
    """The part of a file's name that names the patient: "p01_visit2_T1" gives "p01", "T1" gives "T1"."""
    person = _BIDS.match(stem) or _PERSON.match(stem)
    if person:
        return person[0]
    pieces = list(re.finditer(r"[^\W_]+", stem))
    kept = len(pieces)
    while kept > 1:
        drop = _trailing(pieces, kept)
        if not drop or not _names_somebody([piece[0] for piece in pieces[: kept - drop]]):
            break
        kept -= drop
    return stem[: pieces[kept - 1].end()] if pieces else stem


def _trailing(pieces: list[re.Match[str]], count: int) -> int:
    """How many of the last words say only sequence, moment or side."""
    last = pieces[count - 1][0].casefold()
    if _is_variant(last) or not without_image_words((last,)):
        return 1
    if last.isdecimal() and count > 1 and MOMENTS.fullmatch(pieces[count - 2][0].casefold()):
        return 2
    return 0


def _is_variant(word: str) -> bool:
    return word in SEQUENCES or MOMENTS.fullmatch(word) is not None


def _names_somebody(words: list[str]) -> bool:
    """Whether words name more than what every file could be called."""
    left = [word for word in without_image_words(tuple(word.casefold() for word in words)) if not _is_variant(word)]
    return bool(left)


def _without_moments(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Folders without those at the end that say a session, a visit or a sequence."""
    kept = list(folders)
    while len(kept) > 1 and all(_is_variant(word) or word.isdecimal() for word in words_of(kept[-1])):
        if words_of(kept[-1]) and all(word.isdecimal() for word in words_of(kept[-1])):
            break  # a number alone may be a patient
        kept.pop()
    return tuple(kept)


def _patient_folders(places: Sequence[Place]) -> set[tuple[str, ...]]:
    """The folders whose images are of one patient each."""
    stems: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for place in places:
        stems[place.folders].append(place.stem)
    folders_of = Counter(stem.casefold() for found in stems.values() for stem in {s.casefold() for s in found})
    single = {folder for folder, found in stems.items() if len({patient_in(stem).casefold() for stem in found}) == 1}
    sure = {folder for folder, found in stems.items() if folder and _is_patient(folder, found, folders_of)}
    groups = {len(folder) for folder in stems if folder not in single | sure}
    # a folder with one image is what the others of its depth are
    return sure | {folder for folder in single if folder and not _is_group(folder) and len(folder) not in groups}


def _is_group(folder: tuple[str, ...]) -> bool:
    return (split_name(folder[-1]) or [""])[0] in _GROUPS


def _is_patient(folder: tuple[str, ...], stems: list[str], folders_of: Counter[str]) -> bool:
    """Whether the names of a folder's images say that it is a patient's."""
    if _is_group(folder):
        return False
    own = words_of(folder[-1])
    named_alike = all(words_of(stem)[: len(own)] == own for stem in stems)
    variants = not any(_names_somebody(re.findall(r"[^\W_]+", stem)) for stem in stems)
    repeated = sum(folders_of[stem.casefold()] > 1 for stem in stems) * 2 >= len(stems)
    return named_alike or variants or repeated


def _id(place: Place, names_patient: set[tuple[str, ...]]) -> tuple[str, ...]:
    """What names the patient, the outermost folder first."""
    person = next((folder for folder in place.folders if _BIDS.fullmatch(folder)), None)
    if person is not None:
        return (person,)
    return place.folders if place.folders in names_patient else (*place.folders, patient_in(place.stem))


def _unique_names(ids: Sequence[tuple[str, ...]]) -> list[str]:
    """The last part of each id, or as many parts as make it unique."""
    paths_of: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for path in ids:
        paths_of[path[-1].casefold()].add(path)
    shared = {name for name, paths in paths_of.items() if len(paths) > 1}
    names = []
    for path in ids:
        if path[-1].casefold() not in shared:
            names.append(path[-1])
        elif not any(character.isdecimal() for character in path[-1]) and len(path) > 1:
            names.append(path[-2])  # every patient has a folder of this name, and it names none of them
        else:
            names.append("/".join(path[-2:]))
    return names
