"""A plain folder: one file per volume or channel, with labels next to the images or in their own folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.layouts.channels import units_of
from ActiveSegmentationLib.cohort.layouts.matching import ImageUnit, Match, Matcher, named_file
from ActiveSegmentationLib.cohort.layouts.patients import Place, patients_of
from ActiveSegmentationLib.cohort.layouts.words import without_image_words, words_of
from ActiveSegmentationLib.cohort.naming import natural_key, stem
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Source
from ActiveSegmentationLib.cohort.walking import volume_files
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL

_RATERS = re.compile(r"(rater|reader|observer|annotator|expert|version|v|run|copy|old|new|final)?_?\d*")
"""Names that distinguish label files of one structure."""

_RATER = re.compile(
    r"(?<![^\W_])(((annotation|annotator|rater|reader|observer|expert)[\W_]*([a-z]|\d+))|maj|majority|and|or|staple)"
    r"(?![^\W_])",
    re.IGNORECASE,
)
"""Parts of a name that stand for an annotator, or for a consensus of several (KiTS)."""

_CONSENSUS = {"maj", "majority", "staple", "consensus"}
"""Words of the consensus file of several annotators."""


def read_folder(path: Path, pattern: str | None = None) -> Draft:
    """Find the volumes of a plain folder.

    A file with a word such as seg, label, mask or gt in its name, that is a .seg.nrrd, or that lies in a folder called
    labels or masks, holds labels; likewise for scribbles, in which 255 means unlabelled. It belongs to the image of
    the same name, without such words and without image, ct, t1 ..., or to the only image of its folder. Several label
    files of an image that name structures are merged. A label file without image is a problem, never an image.

    Args:
        path: The folder, or a single image file.
        pattern: Regular expression over the images' names with a group "patient" (and "volume" where wanted).

    Raises:
        BadInput: If the pattern is not a regular expression with that group.
    """
    expression = _compile(pattern) if pattern else None
    if not path.is_dir():
        unit = ImageUnit((named_file(path, path.parent),), (), stem(path))
        return _draft([unit], [], None, expression, path.parent)
    files = [named_file(file, path) for file in volume_files(path)]
    labels = [file for file in files if file.kind != "image"]
    units, channels = units_of([file for file in files if file.kind == "image"], labels)
    matcher = Matcher(units)
    matches = [matcher.match(label) for label in labels]
    kept = _not_derived(units, matches)
    draft = _draft(kept, matches, channels, expression, path)
    if len(kept) < len(units):
        message = f"{len(units) - len(kept)} images in derivatives, computed from the others (BIDS), are left out."
        draft.aside += [file.path for unit in units if unit not in kept for file in unit.files]
        draft.problems.append(Problem("derivatives", message, "To use them, index their own folder.", "warning"))
    return draft


def _not_derived(units: Sequence[ImageUnit], matches: Sequence[Match]) -> list[ImageUnit]:
    """The images without those of BIDS derivatives, which would be annotated twice; derived ones with labels stay."""
    labelled = {match.images[0].first.path for match in matches if len(match.images) == 1}
    original = [unit for unit in units if "derivatives" not in map(str.casefold, unit.first.part)]
    if not original:  # a cohort of derived images
        return list(units)
    return [unit for unit in units if unit in original or unit.first.path in labelled]


def _draft(
    units: Sequence[ImageUnit],
    matches: Sequence[Match],
    channels: int | None,
    expression: re.Pattern[str] | None,
    root: Path,
) -> Draft:
    draft = Draft([])
    found: dict[tuple[Path, str], list[Match]] = defaultdict(list)
    for match in matches:
        if len(match.images) == 1:
            found[match.images[0].first.path, match.label.kind].append(match)
        else:
            draft.problems.append(_unmatched(match, root))
    structures = _structures(found.values(), draft)
    draft.labels = {value: name for name, value in structures.items()}
    draft.problems += _structure_problems(structures)
    places = [Place(unit.first.folders, unit.name) for unit in units]
    names = [_names(place, expression) for place in places]
    for unit, (patient, name), guess in zip(units, names, patients_of(places), strict=True):
        masks, scribbles = (found.get((unit.first.path, kind), []) for kind in ("mask", "scribble"))
        draft.candidates.append(
            Candidate(
                patient=patient or guess,
                name=name,
                channels=tuple(file_source(file.path) for file in unit.files),
                mask=_labels(name, masks, structures, draft),
                scribble=_scribbles(name, scribbles, draft),
                role=unit.first.role,
                expected_channels=channels if channels and len(unit.files) > 1 else None,
            )
        )
    return draft


def _unmatched(match: Match, root: Path) -> Problem:
    where = match.label.path.relative_to(root).as_posix()
    if not match.images:
        advice = "Name it like its image, for example p1_seg.nii.gz for p1.nii.gz, or name both in a table."
        return Problem(where, "The file looks like labels but does not belong to an image.", advice)
    named = ", ".join(unit.first.path.relative_to(root).as_posix() for unit in match.images[:3])
    advice = "Name it after its image, or name both in a table."
    return Problem(where, f"The file looks like labels and fits several images: {named}.", advice)


def _structures(found: Iterable[Sequence[Match]], draft: Draft) -> dict[str, int]:
    """Label value of each structure, where an image has a label file for each; empty if none has, or too many."""
    found = list(found)
    if not any(len(matches) > 1 and _are_structures(matches) for matches in found):
        return {}
    names = {match.structure for matches in found if _are_structures(matches) for match in matches}
    if len(names) >= IGNORE_LABEL:
        message = f"Label files of {len(names)} structures are too many to merge; 254 are possible."
        draft.problems.append(Problem("labels", message, "Name the label file of each image in a table."))
        return {}
    return {name: value for value, name in enumerate(sorted(names, key=natural_key), start=1)}


def _structure_problems(structures: dict[str, int]) -> list[Problem]:
    if not structures:
        return []
    named = ", ".join(f"{value} {name}" for name, value in list(structures.items())[:5])
    more = f" and {len(structures) - 5} more" if len(structures) > 5 else ""
    advice = "If the files are annotations of one structure by several people, list one file per image in a table."
    message = f"Label files of one structure each are merged: {named}{more}."
    return [Problem("labels", message, advice, "warning")]


def _are_structures(matches: Sequence[Match]) -> bool:
    names = [match.structure for match in matches]
    drawn = {_without_rater(match.label.path) for match in matches}
    return len(set(names)) == len(drawn) == len(names) and not any(_RATERS.fullmatch(name) for name in names)


def _without_rater(label: Path) -> tuple[str, ...]:
    """Words of a name without those for an annotator: "kidney_annotation-2" and "-1" are one structure."""
    return words_of(_RATER.sub("", stem(label)))


def _labels(name: str, matches: Sequence[Match], structures: dict[str, int], draft: Draft) -> LabelSource | None:
    """The masks of an image: one file, or one per structure."""
    if not matches:
        return None
    if structures and _are_structures(matches):
        ordered = sorted(matches, key=lambda match: structures[match.structure])
        source = Source("structures", tuple(str(match.label.path) for match in ordered))
        values = tuple((n, structures[match.structure]) for n, match in enumerate(ordered, start=1))
        return LabelSource(source, None, values)
    one = _one_of(name, matches, draft)
    return LabelSource(file_source(one)) if one is not None else None


def _scribbles(name: str, matches: Sequence[Match], draft: Draft) -> LabelSource | None:
    one = _one_of(name, matches, draft) if matches else None
    return LabelSource(file_source(one), IGNORE_LABEL) if one is not None else None


def _one_of(name: str, matches: Sequence[Match], draft: Draft) -> Path | None:
    """The label file, or the consensus of several; otherwise none, which is reported for the image."""
    files = [match.label.path for match in matches]
    if len(files) == 1:
        return files[0]
    draft.aside += files
    agreed = [file for file in files if _CONSENSUS & set(words_of(stem(file)))]
    if len(agreed) == 1:
        message = f"Of {len(files)} label files of the image the consensus is used: {agreed[0].name}."
        draft.problems.append(Problem(name, message, "Name another file in a table to use that.", "warning"))
        return agreed[0]
    named = ", ".join(file.name for file in files[:3])
    advice = "Keep one of them, or name it in a table; the volume is used without labels."
    draft.problems.append(Problem(name, f"{len(files)} label files belong to the image: {named}.", advice))
    return None


def _compile(pattern: str) -> re.Pattern[str]:
    advice = r"Write for example (?P<patient>\w+?)_(?P<volume>.+)."
    try:
        expression = re.compile(pattern)
    except re.error as error:
        message = f"'{pattern}' is not a regular expression ({error})."
        raise BadInput(message, where="pattern", advice=advice) from error
    if "patient" not in expression.groupindex:
        raise BadInput(f"'{pattern}' has no group called patient.", where="pattern", advice=advice)
    return expression


def _names(place: Place, expression: re.Pattern[str] | None) -> tuple[str | None, str]:
    """Patient of an image by the pattern, if there is one, and name of the volume."""
    base = "/".join([*place.folders, place.stem])
    if expression is None:
        return None, _volume_name(place)
    match = expression.search(base)
    if match is None:
        advice = "Change the pattern so that it fits every image."
        raise BadInput(f"The pattern does not fit '{base}'.", where="pattern", advice=advice)
    groups = match.groupdict()
    return groups["patient"], groups.get("volume") or base.replace("/", "_")


def _volume_name(place: Place) -> str:
    """Folders and name; a name that is only "image" or repeats its folder is left out."""
    if not place.folders:
        return place.stem
    own = words_of(place.stem)
    for count in range(len(place.folders)):
        repeated = tuple(word for folder in place.folders[count:] for word in words_of(folder))
        if own[: len(repeated)] == repeated:
            return "_".join([*place.folders[:count], place.stem])
    return "_".join([*place.folders, place.stem] if without_image_words(own) else place.folders)


def _recognises(path: Path) -> bool:
    return bool(volume_files(path)) if path.is_dir() else path.is_file()


LAYOUT = Layout("folder", "Plain folder: one file per volume, labels by their names.", _recognises, read_folder)
