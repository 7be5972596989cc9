"""A plain folder: one volume a file, labels beside the images or in folders of their own."""

from __future__ import annotations

import re
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.naming import stem
from ActiveSegmentationLib.cohort.types import UNDECIDED, LabelSource
from ActiveSegmentationLib.cohort.walking import volume_files
from ActiveSegmentationLib.common.errors import BadInput

_SCRIBBLE = re.compile(r"[_-](scribbles?)$", re.IGNORECASE)
_MASK = re.compile(r"[_-](gt|mask|seg|segmentation|label|labels)$", re.IGNORECASE)
_MASK_FOLDERS = {"labels", "masks", "labelstr", "segmentations", "gt"}
_SCRIBBLE_FOLDERS = {"scribbles", "scribble"}
_IMAGE_FOLDERS = {"images", "imagestr", "image", "img", "volumes"}


def _kind(file: Path, root: Path) -> str:
    folders = {part.lower() for part in file.relative_to(root).parts[:-1]}
    if _SCRIBBLE.search(stem(file)) or folders & _SCRIBBLE_FOLDERS:
        return "scribble"
    if _MASK.search(stem(file)) or folders & _MASK_FOLDERS or file.name.lower().endswith(".seg.nrrd"):
        return "mask"
    return "image"


def _base(file: Path, root: Path) -> str:
    """Where a file belongs: its name without what marks a label, below the folders that are no mere sorting."""
    sorting = _MASK_FOLDERS | _SCRIBBLE_FOLDERS | _IMAGE_FOLDERS
    folders = [part for part in file.relative_to(root).parts[:-1] if part.lower() not in sorting]
    name = _MASK.sub("", _SCRIBBLE.sub("", stem(file)))
    return "/".join([*folders, name])


def read_folder(path: Path, pattern: str | None = None) -> Draft:
    """Find the volumes of a plain folder.

    A file whose name ends in _gt, _mask, _seg, _segmentation, _label or _scribble, that is a .seg.nrrd, or that lies in
    a folder called labels, masks or scribbles, holds the labels of the image of the same name; in scribbles 255 means
    undecided. The patient is the folder an image lies in, or the image's own name where it lies at the top.

    Args:
        path: The folder, or a single image file.
        pattern: Regular expression over the images' names with a group "patient" (and "volume" where wanted).

    Raises:
        BadInput: If the pattern is no regular expression with that group.
    """
    expression = _compile(pattern) if pattern else None
    root = path if path.is_dir() else path.parent
    files = volume_files(path) if path.is_dir() else [path]
    labels: dict[tuple[str, str], Path] = {}
    images = []
    for file in files:
        kind = _kind(file, root) if path.is_dir() else "image"
        if kind == "image":
            images.append(file)
        else:
            labels[kind, _base(file, root)] = file
    draft = Draft([])
    for file in images:
        base = _base(file, root)
        mask, scribble = labels.get(("mask", base)), labels.get(("scribble", base))
        patient, name = _names(base, stem(file), expression)
        draft.candidates.append(
            Candidate(
                patient=patient,
                name=name,
                channels=(file_source(file),),
                mask=LabelSource(file_source(mask)) if mask else None,
                scribble=LabelSource(file_source(scribble), UNDECIDED) if scribble else None,
            )
        )
    return draft


def _compile(pattern: str) -> re.Pattern[str]:
    advice = r"Write for example (?P<patient>\w+?)_(?P<volume>.+)."
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise BadInput(f"'{pattern}' is no regular expression ({error}).", where="pattern", advice=advice) from error
    if "patient" not in expression.groupindex:
        raise BadInput(f"'{pattern}' has no group called patient.", where="pattern", advice=advice)
    return expression


def _names(base: str, name: str, expression: re.Pattern[str] | None) -> tuple[str, str]:
    """Patient and volume of an image."""
    if expression is not None:
        match = expression.search(base)
        if match is None:
            advice = "Change the pattern so that it fits every image."
            raise BadInput(f"The pattern does not fit '{base}'.", where="pattern", advice=advice)
        groups = match.groupdict()
        return groups["patient"], groups.get("volume") or base.replace("/", "_")
    folder, _, last = base.rpartition("/")
    return (folder.rpartition("/")[2] if folder else last), (base.replace("/", "_") if folder else name)


def _recognises(path: Path) -> bool:
    return bool(volume_files(path)) if path.is_dir() else path.is_file()


LAYOUT = Layout("folder", "Plain folder: one volume a file, patient from the sub-folder.", _recognises, read_folder)
