"""Medical Segmentation Decathlon (Antonelli et al. 2022) and AMOS: dataset.json with lists of images and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.layouts.description import (
    NAME,
    PARTS,
    description_of,
    files_in,
    has_channel_files,
    listed_file,
    number_problem,
    part_folder,
)
from ActiveSegmentationLib.cohort.layouts.label_table import LabelTable, channel_count, label_table
from ActiveSegmentationLib.cohort.naming import stem
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Role, Source
from ActiveSegmentationLib.common.errors import BadInput


def _recognises(path: Path) -> bool:
    if not (path / NAME).is_file():
        return False
    return isinstance(description_of(path).get("training"), list) or (
        part_folder(path, "images", Role.POOL) is not None and not has_channel_files(path)
    )


def _read(path: Path) -> Draft:
    """Cases of the lists "training", "validation" and "test", each with the label that its entry or labelsTs has.

    Each volume counts as its own patient, as the data sets do not name patients. With several modalities, a 4D file has
    one channel per modality.
    """
    description = description_of(path)
    labels = label_table(description, path / NAME)
    channels = channel_count(description, path / NAME)
    draft = Draft([], labels.names, list(labels.problems))
    entries = list(_entries(path, description, draft))
    draft.problems += number_problem(description, sum(role == Role.POOL for role, *_ in entries))
    for role, field, entry in entries:
        candidate = _candidate(path, role, field, entry, channels, labels, draft)
        draft.candidates += [candidate] if candidate is not None else []
    return draft


def _entries(path: Path, description: Mapping[str, Any], draft: Draft) -> Iterator[tuple[Role, str, Any]]:
    """Role, field and content of every entry of the lists."""
    for role, (_, names) in PARTS.items():
        fields = [name for name in names if description.get(name) is not None]
        for name in fields:
            if not isinstance(description[name], list):
                advice = 'Write a list of {"image": ..., "label": ...}.'
                raise BadInput(f"The field {name} is not a list.", where=path / NAME, advice=advice)
            yield from ((role, f"{name}[{n}]", entry) for n, entry in enumerate(description[name]))
        if not fields:
            yield from _unlisted(path, role, draft)


def _unlisted(path: Path, role: Role, draft: Draft) -> Iterator[tuple[Role, str, Any]]:
    """The files of a folder of images whose list is missing."""
    if role == Role.POOL:
        message = "The field training is missing; the files of imagesTr are read."
        draft.problems.append(Problem(NAME, message, "Write the list of the training cases.", "warning"))
    for file in files_in(part_folder(path, "images", role)):
        label = _label_next_to(path, role, file)
        yield role, file.name, {"image": str(file), "label": str(label) if label else None}


def _candidate(
    path: Path, role: Role, field: str, entry: Any, channels: int | None, labels: LabelTable, draft: Draft
) -> Candidate | None:
    """The volume of an entry, or None with a problem that names the field."""
    pair = entry if isinstance(entry, dict) else {"image": entry}
    named = pair.get("image")
    names = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str) and name.strip()]
    if not names or (isinstance(named, list) and len(names) < len(named)):
        advice = 'Write {"image": "./imagesTr/...", "label": "./labelsTr/..."}.'
        draft.problems.append(Problem(field, f"{NAME}: The entry {field} has no image.", advice))
        return None
    images = {name: listed_file(path, name) for name in names}
    name = stem(Path(names[0].replace("\\", "/")))
    missing = [name for name, image in images.items() if image is None]
    if missing:
        message = f"{NAME}, {field}: There is no file {missing[0]}."
        draft.problems.append(Problem(name, message, "Restore the file, or take the case out of the list."))
        return None
    found = [image for image in images.values() if image is not None]
    several = len(found) == 1 and channels is not None and channels > 1  # one 4D file has them all
    mask = _mask(path, role, pair, found[0], name, draft)
    return Candidate(
        patient=name,
        name=name,
        channels=(Source("channels", (str(found[0]),)),) if several else tuple(map(file_source, found)),
        mask=LabelSource(file_source(mask), labels.ignore, labels.values) if mask else None,
        role=role,
        expected_channels=channels,
    )


def _mask(path: Path, role: Role, pair: Mapping[str, Any], image: Path, name: str, draft: Draft) -> Path | None:
    stated = pair.get("label")
    if stated is None or stated == "":
        return _label_next_to(path, role, image) if role != Role.POOL else None
    label = listed_file(path, stated) if isinstance(stated, str) else None
    if label is None:
        message = f"{Path(str(stated)).name}: There is no such label file."
        draft.problems.append(Problem(name, message, "Restore the file; the volume is used without labels."))
    return label


def _label_next_to(path: Path, role: Role, image: Path) -> Path | None:
    """The file of the same name in labelsTr, labelsVa or labelsTs."""
    folder = part_folder(path, "labels", role)
    return listed_file(folder, image.name) if folder is not None else None


LAYOUT = Layout("msd", "Medical Segmentation Decathlon: imagesTr, labelsTr and dataset.json.", _recognises, _read)
