"""A CSV or TSV table: patient, volume, image and optionally mask, scribble, role."""

from __future__ import annotations

import re
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.dicom.instances import looks_like_dicom
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.layouts.description import description_of
from ActiveSegmentationLib.cohort.layouts.dicom import named_volume
from ActiveSegmentationLib.cohort.layouts.label_table import LabelTable, label_table
from ActiveSegmentationLib.cohort.naming import image_suffix, spellings
from ActiveSegmentationLib.cohort.roles import role_of_word
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.common.text import Table, read_table

_NAMES = {
    "patient": ("patient", "patient_id", "patientid", "subject", "subject_id"),
    "volume": ("volume", "volume_id", "case", "case_id"),
    "image": ("image", "images", "image_path"),
    "mask": ("mask", "masks", "label", "labels", "segmentation", "mask_path", "label_path"),
    "scribble": ("scribble", "scribbles"),
    "role": ("role", "split", "set", "part"),
}
"""Columns and their accepted names."""

_REQUIRED = ("patient", "volume", "image")


def _recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".txt", ".tab")


def _read(path: Path) -> Draft:
    """Rows of the table; paths are relative to it, several channels are separated by semicolons or "|".

    In a scribble file the value 255 means unlabelled. A row that cannot be used is reported by its number and left out.
    """
    table = read_table(path, {name for names in _NAMES.values() for name in names})
    columns = _columns(path, table)
    draft = Draft([], problems=_unused(table, columns))
    labels = _label_names(path, draft)
    encoding = "" if table.encoding.startswith("utf") else table.encoding
    seen: dict[str, int] = {}
    for number, cells in table.rows:
        row = {name: cells.get(column, "") for name, column in columns.items()}
        try:
            if "" in cells:
                raise BadInput("There are more cells than columns.", where="last", advice="Put quotes around the cell.")
            candidate = _candidate(path, row, encoding, labels)
            if candidate.name in seen:
                message = f"The volume is named in row {seen[candidate.name]} too."
                raise BadInput(message, where="volume", advice="Rename it.")
            seen[candidate.name] = number
            draft.candidates.append(candidate)
        except BadInput as error:
            where = f"{row['volume'] or path.name}"
            draft.problems.append(Problem(where, f"Row {number}, column {error.where}: {error.message}", error.advice))
    return draft


def tables_in(folder: Path) -> list[Problem]:
    """A warning for each table at the top of a folder that names volumes, and that is not read with the folder."""
    problems = []
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or file.suffix.lower() not in (".csv", ".tsv") or not file.is_file():
            continue
        try:
            table = read_table(file, {name for names in _NAMES.values() for name in names})
            columns = _columns(file, table)
        except BadInput:  # a table that does not describe the cohort
            continue
        held = sum(role_of_word(row.get(columns.get("role", ""), "")) not in (None, Role.POOL) for _, row in table.rows)
        roles = f", {held} of them for validation or test" if held else ""
        message = f"The table names {len(table.rows)} volumes{roles}; it is not read with the folder."
        advice = f"To use it, give {file.name} in place of the folder."
        problems.append(Problem(file.name, message, advice, "warning"))
    return problems


def _columns(path: Path, table: Table) -> dict[str, str]:
    """The column of the table for each field."""
    found = {name: [column for column in table.columns if column in words] for name, words in _NAMES.items()}
    missing = [name for name in _REQUIRED if not found[name]]
    if missing:
        advice = "The first line must name the columns patient, volume, image[, mask, scribble, role]."
        raise BadInput(f"The table lacks the column(s) {', '.join(missing)}.", where=path, advice=advice)
    for name, columns in found.items():
        if len(columns) > 1:
            message = f"The columns {' and '.join(columns)} both mean {name}."
            raise BadInput(message, where=path, advice="Rename or remove one of them.")
    return {name: columns[0] for name, columns in found.items() if columns}


def _unused(table: Table, columns: dict[str, str]) -> list[Problem]:
    """Columns of unknown name that hold image files."""
    advice = f"Rename the column if it is one of {', '.join(_NAMES)}."
    others = [column for column in table.columns if column not in columns.values()]
    with_files = [name for name in others if any(image_suffix(Path(row.get(name, ""))) for _, row in table.rows)]
    return [Problem(name, f"The column '{name}' is not used.", advice, "warning") for name in with_files]


def _label_names(path: Path, draft: Draft) -> LabelTable:
    """The labels from a dataset.json next to the table; the table itself has none."""
    description = path.parent / "dataset.json"
    if not description.is_file():
        return LabelTable({})
    try:
        labels = label_table(description_of(path.parent), description)
    except BadInput as error:
        message = f"Its names of labels are not used: {error.message}"
        draft.problems.append(Problem(description.name, message, error.advice, "warning"))
        return LabelTable({})
    draft.labels = labels.names
    draft.problems += labels.problems
    return labels


def _candidate(path: Path, row: dict[str, str], encoding: str, labels: LabelTable) -> Candidate:
    for name in _REQUIRED:
        if not row[name]:
            raise BadInput("The cell is empty.", where=name, advice="Fill it in.")
    role = role_of_word(row["role"]) if row.get("role") else Role.POOL
    if role is None:
        message = f"'{row['role']}' is not a role."
        raise BadInput(message, where="role", advice="Use pool (or train), validation or test.")
    files = {
        name: [_file(path, name, cell, encoding) for cell in re.split(r"\s*[;|]\s*", row.get(name, "")) if cell]
        for name in ("image", "mask", "scribble")
    }
    several = [name for name in ("mask", "scribble") if len(files[name]) > 1]
    if several:
        raise BadInput("There are several files.", where=several[0], advice="Merge them into one label map.")
    series = [_series(image) for image in files["image"]]
    return Candidate(
        patient=row["patient"],
        name=row["volume"],
        channels=tuple(
            file_source(image) if found is None else found.channels[0]
            for image, found in zip(files["image"], series, strict=True)
        ),
        headers=tuple(None if found is None else found.headers[0] for found in series),
        warnings=tuple(warning for found in series if found is not None for warning in found.warnings),
        mask=LabelSource(file_source(*files["mask"]), labels.ignore, labels.values) if files["mask"] else None,
        scribble=LabelSource(file_source(*files["scribble"]), IGNORE_LABEL) if files["scribble"] else None,
        role=role,
    )


def _series(image: Path) -> Candidate | None:
    """The volume of a DICOM file or folder; None for other files."""
    if image_suffix(image):
        return None
    try:
        found = named_volume(image)
    except BadInput as error:
        raise BadInput(error.message, where="image", advice=error.advice) from error
    if found is None and image.is_dir():
        raise BadInput(f"The folder {image.name} holds no DICOM.", where="image", advice="Name a file.")
    return found


def _file(table: Path, column: str, cell: str, encoding: str) -> Path:
    """The file in a cell; "\\" separates folders where the table was written on Windows."""
    for name in spellings(cell):
        named = table.parent / name
        if named.is_file() or (column == "image" and named.is_dir()):
            if column != "image" and looks_like_dicom(named):
                advice = "Save it as NIfTI, NRRD or MetaImage on the grid of the image."
                raise BadInput("DICOM segmentations in a table are not read.", where=column, advice=advice)
            return named
    advice = "Paths are relative to the table."
    if encoding and not cell.isascii():
        advice += f" The table is not UTF-8 and was read as {encoding}; save it as UTF-8."
    raise BadInput(f"There is no file {cell}.", where=column, advice=advice)


LAYOUT = Layout("manifest", "CSV or TSV table: patient, volume, image[, mask, scribble, role].", _recognises, _read)
