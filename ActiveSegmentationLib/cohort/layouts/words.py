"""Words in names of files and folders for the kind of a file: image, label map, scribbles, sequence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from ActiveSegmentationLib.cohort.naming import composed, stem
from ActiveSegmentationLib.cohort.roles import role_of_folder, role_of_word, split_name

Kind = Literal["image", "mask", "scribble"]

_CLEAR_LABEL = {
    *(
        "label",
        "labels",
        "labelmap",
        "labelmaps",
        "lbl",
        "mask",
        "masks",
        "msk",
        "msks",
        "seg",
        "segs",
        "segm",
        "segmentation",
    ),
    *("segmentations", "gt", "groundtruth", "dseg", "probseg", "annotation", "annotations"),
    *("reader", "readers", "rater", "raters", "observer", "annotator"),
}
_LABEL = _CLEAR_LABEL | {"manual", "annot", "truth", "roi", "rois", "contour", "contours", "delineation"}
"""The words beyond the clear ones count at the end or the start of a name only."""

_FINDINGS = {"tumor", "tumour", "tumors", "tumours", "lesion", "lesions"}
"""Words that stand for labels where they are the whole name."""

_SCRIBBLE = {"scribble", "scribbles"}
_IMAGE = {
    *("image", "images", "img", "imgs", "imaging", "volume", "volumes", "vol", "vols", "scan", "scans", "data", "raw"),
    *("orig", "original", "ct", "mr", "mri", "cbct", "pet"),
}
_NEXT_TO_LABEL = {"map", "maps", "ground", "final", "expert", "experts", "reference", "ref", "corrected", "refined"}
"""Words that may accompany the name of a folder of labels."""

SEQUENCES = {
    *("flair", "t1", "t1w", "t1c", "t1ce", "t1gd", "t1n", "t1post", "t1pre", "t2", "t2w", "t2f", "t2star", "t2s", "pd"),
    *(
        "pdw",
        "dwi",
        "adc",
        "swi",
        "dce",
        "asl",
        "cbf",
        "cbv",
        "tof",
        "bold",
        "lge",
        "de",
        "c0",
        "bssfp",
        "stir",
        "inphase",
    ),
    *("outphase", "ct", "cta", "cbct", "mr", "mri", "pet", "suv", "spect", "us", "ctres"),
}
"""Last word of a name that distinguishes images of a patient from the same time."""

MOMENTS = re.compile(
    r"(frame|phase|time|timepoint|tp|visit|ses|session|day|week|month|year|run|echo|acq|date)\d*"
    r"|pre|post|baseline|bl|followup|fu|fu\d+|ed|es|left|right|followup\d+|(19|20)\d{6}"
)
"""Words that distinguish images of a patient: moments, phases and sides."""

_BIDS_TYPES = {"anat", "func", "dwi", "perf", "fmap", "pet", "derivatives", "rawdata", "sourcedata"}


def words_of(name: str) -> tuple[str, ...]:
    """The words of a file's stem in lower case, parted at "_", "-", "." and blanks, and next to a word known here."""
    found: list[str] = []
    for piece in re.split(r"[\W_]+", composed(name)):
        parts = split_name(piece)
        known = any(part in _LABEL | _SCRIBBLE | _IMAGE for part in parts)
        found += parts if known else [piece.casefold()] if piece else []
    return tuple(found)


def kind_of(file: Path, folders: tuple[str, ...]) -> Kind:
    """The kind of a file by its name and folders, the innermost first."""
    words = [word for word in words_of(stem(file)) if not word.isdecimal()]
    if file.name.lower().endswith(".seg.nrrd"):
        return "mask"
    if set(words) & _SCRIBBLE:
        return "scribble"
    says_label = set(words) & _CLEAR_LABEL or (words and ({words[0], words[-1]} & _LABEL or set(words) <= _FINDINGS))
    if says_label:
        return "scribble" if any(_folder_kind(folder) == "scribble" for folder in folders) else "mask"
    for folder in reversed(folders):
        kind = _folder_kind(folder)
        says_image = set(words) <= _IMAGE and words and not _is_pure(folder)
        if kind is not None and not says_image:
            return kind
    return "image"


def _folder_kind(folder: str) -> Kind | None:
    """The content of a folder by its name: labelsTr, GT_masks and "ground truth" labels, images and imagesTr images."""
    words = [
        word for word in split_name(folder) if role_of_word(word) is None and not word.isdecimal() and word != "set"
    ]
    if not words:
        return None
    if set(words) & _SCRIBBLE:
        return "scribble"
    if words[-1] in _CLEAR_LABEL or (set(words) & _LABEL and set(words) <= _LABEL | _NEXT_TO_LABEL):
        return "mask"
    return "image" if set(words) <= _IMAGE else None


def _is_pure(folder: str) -> bool:
    words = {word for word in split_name(folder) if role_of_word(word) is None}
    return words <= _LABEL | _SCRIBBLE | _NEXT_TO_LABEL


def is_sorting(folder: str) -> bool:
    """Whether a folder only sorts files by kind, and does not name a patient."""
    return _folder_kind(folder) is not None or role_of_folder(folder) is not None or folder.casefold() in _BIDS_TYPES


def without_label_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a label file's name that name its image or the structure."""
    return tuple(word for word in words if word not in _LABEL | _SCRIBBLE)


def without_image_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a name without those that only say that it is an image."""
    return tuple(word for word in words if word not in _IMAGE)


def bids_pipelines(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Folders without "derivatives" and the name of the pipeline below it."""
    lower = [folder.casefold() for folder in folders]
    if "derivatives" not in lower:
        return folders
    at = lower.index("derivatives")
    rest = folders[at + 1 :]
    subject = next((n for n, folder in enumerate(rest) if re.match(r"sub-", folder, re.IGNORECASE)), min(1, len(rest)))
    return folders[:at] + rest[subject:]
