"""Indexing a folder, table or file of images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort.anatomy import name_problems
from ActiveSegmentationLib.cohort.assembly import Draft, assemble
from ActiveSegmentationLib.cohort.axes import AXIS_CHOICES
from ActiveSegmentationLib.cohort.layouts import (
    acdc,
    chaos,
    davis,
    dicom,
    manifest,
    mscmr,
    msd,
    nnunet,
    plain,
    promise12,
)
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.layouts.installed import installed_layouts
from ActiveSegmentationLib.cohort.leftovers import summary_of, unused_files
from ActiveSegmentationLib.cohort.types import Cohort, Problem
from ActiveSegmentationLib.cohort.walking import is_text, walk, walking_once
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.progress import Progress, or_silent

_OURS = {
    module.LAYOUT.name: module.LAYOUT
    for module in (manifest, acdc, nnunet, msd, davis, promise12, mscmr, chaos, dicom, plain)
}
_LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in installed_layouts(_OURS)} | _OURS

LAYOUTS: dict[str, str] = {name: layout.summary for name, layout in _LAYOUTS.items()}
"""Names of the layouts with a line about each, in the order in which they are tried."""


def discover(
    path: str | Path,
    *,
    layout: str | None = None,
    axis: int | str | None = None,
    pattern: str | None = None,
    progress: Progress | None = None,
) -> Cohort:
    """Index a cohort. Headers are read, and a few label maps where label names can be checked, but no image pixels.

    Args:
        path: A folder, a CSV or TSV table, or an image file.
        layout: Name from ``LAYOUTS``. Default: detected.
        axis: Slice axis: an image axis (0 = first), "axial", "coronal", "sagittal", or "own" for every volume's own
            axis of acquisition. Default: the same anatomical axis for all, taken from the acquisition; see ``axes``.
        pattern: For plain folders: regular expression over names with a group "patient".
        progress: Progress reporter, called after every volume.

    Returns:
        The cohort, with everything unusable in its ``problems``.

    Raises:
        BadInput: If the path does not exist, contains nothing that can be an image, or an option is invalid.

    Example:
        >>> cohort = discover("phantom")
        >>> cohort.layout, len(cohort.volumes)
        ('acdc', 8)
    """
    path = Path(os.path.abspath(path))
    with explained(path):
        path.stat()
    _require_axis(axis)
    _require_text(path)
    with walking_once(), explained(path):
        found = _named(layout) if layout is not None else _detected(path, pattern)
        draft = _draft(found, path, pattern, or_silent(progress))
        if path.is_dir():
            draft.problems += _rest(path, draft, found.name)
    if not draft.candidates and not draft.problems:
        advice = f"Check the path, or name the layout: {', '.join(LAYOUTS)}."
        raise BadInput(f"No volume was found (layout '{found.name}').", where=path, advice=advice)
    root = path if path.is_dir() else path.parent
    cohort = assemble(root, found.name, draft, axis=axis, progress=or_silent(progress))
    return replace(cohort, problems=(*cohort.problems, *name_problems(cohort)))


def _require_axis(axis: int | str | None) -> None:
    if axis is not None and axis not in AXIS_CHOICES:
        advice = f"Use one of: {', '.join(str(choice) for choice in AXIS_CHOICES)}."
        raise BadInput(f"{axis!r} is not a slice axis.", where="axis", advice=advice)


def _draft(found: Layout, path: Path, pattern: str | None, progress: Progress) -> Draft:
    if found.name == "folder":
        return plain.read_folder(path, pattern)
    return found.read(path) if found.read_slowly is None else found.read_slowly(path, progress)


def _named(name: str) -> Layout:
    if name not in _LAYOUTS:
        raise BadInput(f"There is no layout '{name}'.", where="layout", advice=f"Choose one of: {', '.join(LAYOUTS)}.")
    return _LAYOUTS[name]


def _detected(path: Path, pattern: str | None) -> Layout:
    if pattern is not None:
        return _LAYOUTS["folder"]
    with explained(path):
        for layout in _LAYOUTS.values():
            if layout.recognises(path):
                return layout
        holds = summary_of(walk(path).files) if path.is_dir() else ""
    advice = "Supported are NIfTI, NRRD, MetaImage and DICOM; name the layout with --layout if it is another one."
    message = f"No image was found here{f' (files: {holds})' if holds else ''}."
    raise BadInput(message, where=path, advice=advice)


def _require_text(path: Path) -> None:
    if not is_text(str(path)):
        advice = "Rename the folder or file."
        shown = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        raise BadInput("The path is not valid text (UTF-8).", where=shown, advice=advice)


def _rest(path: Path, draft: Draft, layout: str) -> list[Problem]:
    """Dead links, locked folders, and files that the layout does not use."""
    found = walk(path)
    reported = {problem.where for problem in draft.problems}
    own = [problem for problem in found.problems if problem.where not in reported]
    return own + manifest.tables_in(path) + unused_files(path, found.files, draft, layout)
