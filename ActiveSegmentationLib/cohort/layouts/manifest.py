"""A CSV or TSV table: patient, volume, image and, as far as there are any, mask, scribble, role."""

from __future__ import annotations

import csv
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.types import UNDECIDED, LabelSource, Problem, Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained

_ROLES = {
    "": Role.POOL,
    "pool": Role.POOL,
    "train": Role.POOL,
    "val": Role.VALIDATION,
    "validation": Role.VALIDATION,
    "test": Role.TEST,
}
_REQUIRED = ("patient", "volume", "image")


def _recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv")


def _read(path: Path) -> Draft:
    """Rows of the table; paths are relative to it, several channels are separated by semicolons.

    In a scribble file the value 255 means undecided. A row that cannot be used is reported by its number and left out.
    """
    with explained(path):
        text = path.read_text(encoding="utf-8-sig")
    dialect = "excel-tab" if path.suffix.lower() == ".tsv" else "excel"
    table = csv.DictReader(text.splitlines(), dialect=dialect)
    columns = {name.strip().lower(): name for name in table.fieldnames or []}
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        advice = "The first line must name the columns patient, volume, image[, mask, scribble, role]."
        raise BadInput(f"The table lacks the column(s) {', '.join(missing)}.", where=path, advice=advice)
    draft = Draft([])
    seen: dict[str, int] = {}
    for number, raw in enumerate(table, start=2):
        row = {name: (raw[column] or "").strip() for name, column in columns.items()}
        try:
            candidate = _candidate(path, row)
            if candidate.name in seen:
                raise BadInput(
                    f"The volume is named in row {seen[candidate.name]} too.", where="volume", advice="Rename it."
                )
            seen[candidate.name] = number
            draft.candidates.append(candidate)
        except BadInput as error:
            where = f"{row['volume'] or path.name}"
            draft.problems.append(Problem(where, f"Row {number}, column {error.where}: {error.message}", error.advice))
    return draft


def _candidate(path: Path, row: dict[str, str]) -> Candidate:
    for name in _REQUIRED:
        if not row[name]:
            raise BadInput("The cell is empty.", where=name, advice="Fill it in.")
    role = row.get("role", "").lower()
    if role not in _ROLES:
        raise BadInput(f"'{role}' is no role.", where="role", advice="Use pool, validation or test.")
    images = [_file(path, "image", cell) for cell in row["image"].split(";")]
    mask = _file(path, "mask", row["mask"]) if row.get("mask") else None
    scribble = _file(path, "scribble", row["scribble"]) if row.get("scribble") else None
    return Candidate(
        patient=row["patient"],
        name=row["volume"],
        channels=tuple(file_source(image) for image in images),
        mask=LabelSource(file_source(mask)) if mask else None,
        scribble=LabelSource(file_source(scribble), UNDECIDED) if scribble else None,
        role=_ROLES[role],
    )


def _file(table: Path, column: str, cell: str) -> Path:
    file = table.parent / cell.strip()
    if not file.is_file():
        raise BadInput(f"There is no file {cell.strip()}.", where=column, advice="Paths are relative to the table.")
    return file


LAYOUT = Layout("manifest", "CSV or TSV table: patient, volume, image[, mask, scribble, role].", _recognises, _read)
