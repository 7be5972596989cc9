"""MS-CMR (Zhuang 2019): subjectN_LGE.nii.gz with _manual masks, or CycleMix's folders with scribbles (Zhang 2022)."""

from __future__ import annotations

import re
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.naming import stem
from ActiveSegmentationLib.cohort.roles import role_of_folders, split_name
from ActiveSegmentationLib.cohort.types import LabelSource, Problem
from ActiveSegmentationLib.cohort.walking import volume_files

LABELS = {1: "RV", 2: "MYO", 3: "LV"}
STORED = ((600, 1), (200, 2), (500, 3))
"""Values of the official release (600 right ventricle, 200 myocardium, 500 left ventricle) and of this library, which
are those of CycleMix's files."""

STORED_IGNORE_LABEL = 4
"""Stored value of unlabelled pixels in scribbles."""

_SUBJECT = re.compile(r"(subject_?\d+)_(DE|LGE|C0|T2)", re.IGNORECASE)
_MARKED = re.compile(r"_(manual|gt|seg|segmentation|labels?|masks?|scribbles?)$", re.IGNORECASE)
_LABEL_FOLDERS = {"label", "labels", "gt", "mask", "masks", "manual", "scribble", "scribbles"}


def _recognises(path: Path) -> bool:
    matches = (_SUBJECT.fullmatch(stem(file)) for file in volume_files(path)) if path.is_dir() else ()
    return any(match is not None and match[2].upper() != "T2" for match in matches)  # other cohorts have T2 as well


def _read(path: Path) -> Draft:
    """Images named subjectN_SEQUENCE; labels of the same name with _manual, or of the same name in a labels folder.

    A label file in a folder whose name contains "scribble", or that ends in _scribble, is a scribble. A folder called
    val, test or TestSet gives the role.
    """
    files = [file for file in volume_files(path) if _SUBJECT.fullmatch(_MARKED.sub("", stem(file)))]
    labels: dict[tuple[str, str], list[Path]] = {}
    for file in filter(lambda file: _is_label(file, path), files):
        kind = "scribble" if "scribble" in file.relative_to(path).as_posix().lower() else "mask"
        labels.setdefault((kind, _MARKED.sub("", stem(file)).lower()), []).append(file)
    draft = Draft([], dict(LABELS))
    for file in files:
        if not _is_label(file, path):
            name = stem(file)
            masks = _own(path, file, labels.pop(("mask", name.lower()), []), draft)
            scribbles = _own(path, file, labels.pop(("scribble", name.lower()), []), draft)
            draft.candidates.append(
                Candidate(
                    patient=name.rpartition("_")[0],
                    name=name,
                    channels=(file_source(file),),
                    mask=LabelSource(file_source(masks), None, STORED) if masks else None,
                    scribble=LabelSource(file_source(scribbles), STORED_IGNORE_LABEL, STORED) if scribbles else None,
                    role=role_of_folders(file.relative_to(path).parts[:-1]),
                )
            )
    for file in (file for left in labels.values() for file in left):
        where = file.relative_to(path).as_posix()
        draft.problems.append(Problem(where, "The label file does not belong to an image.", "Restore the image."))
    return draft


def _is_label(file: Path, root: Path) -> bool:
    folders = {word for part in file.relative_to(root).parts[:-1] for word in split_name(part)}
    return bool(_MARKED.search(stem(file)) or folders & _LABEL_FOLDERS)


def _own(root: Path, image: Path, labels: list[Path], draft: Draft) -> Path | None:
    """The label file of an image; none if there are several."""
    if len(labels) > 1:
        named = ", ".join(file.relative_to(root).as_posix() for file in labels)
        advice = "Keep one of them, or name it in a table."
        draft.problems.append(Problem(stem(image), f"Several label files belong to the image: {named}.", advice))
        draft.aside += labels
    return labels[0] if len(labels) == 1 else None


LAYOUT = Layout("mscmr", "MS-CMR: subjectN_LGE with _manual masks or scribbles.", _recognises, _read)
