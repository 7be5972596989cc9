"""Rows of results and requests, and the CSV files that keep them."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, write_text
from ActiveSegmentationLib.common.text import from_spreadsheet, spreadsheet_safe


@dataclass(frozen=True, order=True, slots=True)
class ResultRow:
    """One evaluation metric of one class in one test volume, after one round of one run.

    Attributes:
        cohort: Name of the cohort.
        strategy: Name of the strategy.
        seed: Seed of the run.
        round: Round, from 1.
        annotated_slices: Slices annotated when the model was trained.
        percent: The same in percent of the pool, 0..100.
        patient: Patient of the test volume.
        volume: Id of the test volume.
        class_name: Name of the class.
        metric: Name of the metric.
        value: Its value; NaN if it is not defined.
    """

    cohort: str
    strategy: str
    seed: int
    round: int
    annotated_slices: int
    percent: float
    patient: str
    volume: str
    class_name: str
    metric: str
    value: float


@dataclass(frozen=True, order=True, slots=True)
class RequestRow:
    """One requested slice of one run.

    Attributes:
        cohort: Name of the cohort.
        strategy: Name of the strategy.
        seed: Seed of the run.
        round: Round, from 1.
        rank: Place in the round's list, from 1.
        patient: Patient of the volume.
        volume: Id of the volume.
        axis: Image axis of the slices, 0, 1 or 2 for i, j, k.
        slice: Index of the slice, from 0.
        score: The strategy's score; NaN if it has none.
        reason: Why it was chosen, in words.
    """

    cohort: str
    strategy: str
    seed: int
    round: int
    rank: int
    patient: str
    volume: str
    axis: int
    slice: int
    score: float
    reason: str


_HEADERS = {"annotated_slices": "annotated slices", "class_name": "class"}
_Row = TypeVar("_Row", ResultRow, RequestRow)


def write_results_csv(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write result rows, sorted by all their fields, in one atomic step.

    The header is ``cohort,strategy,seed,round,annotated slices,percent,patient,volume,class,metric,value``. Numbers are
    written with all digits; NaN is an empty cell.

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full.
    """
    _write(path, ResultRow, sorted(rows, key=lambda row: dataclasses.astuple(row)[:-1]))


def write_requests_csv(path: Path, rows: Iterable[RequestRow]) -> None:
    """Write request rows, sorted by cohort, strategy, seed, round and rank, in one atomic step.

    The header is ``cohort,strategy,seed,round,rank,patient,volume,axis,slice,score,reason``. In the file slices count
    from 1.

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full.
    """
    ordered = sorted(rows, key=lambda row: (row.cohort, row.strategy, row.seed, row.round, row.rank))
    _write(path, RequestRow, [dataclasses.replace(row, slice=row.slice + 1) for row in ordered])


def read_results_csv(path: Path) -> list[ResultRow]:
    """Read a file of ``write_results_csv``; columns may be in any order, and unknown columns are ignored.

    Files of earlier versions have no column ``patient``: each of their volumes is read as a patient of its own.

    Raises:
        BadInput: If the file or a column is missing, or a cell is not valid.
    """
    return _read(path, ResultRow, {"patient": "volume"})


def read_requests_csv(path: Path) -> list[RequestRow]:
    """Read a file of ``write_requests_csv``; columns may be in any order, and unknown columns are ignored.

    Raises:
        BadInput: If the file or a column is missing, a cell is not valid, or slices count from 0, as older versions
            wrote them.
    """
    rows = _read(path, RequestRow)
    if any(row.slice < 1 for row in rows):
        message = "Slices count from 0 in this file, which an older version wrote."
        raise BadInput(message, where=path, advice="Run the same benchmark again: it only writes its tables again.")
    return [dataclasses.replace(row, slice=row.slice - 1) for row in rows]


def _write(path: Path, kind: type[_Row], rows: Sequence[_Row]) -> None:
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(_columns(kind))
    for row in rows:
        cells = [_cell(getattr(row, field.name)) for field in dataclasses.fields(kind)]
        # the csv module does not quote a lone carriage return by itself, and would read it as the end of the row
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)
    write_text(path, text.getvalue())


def _read(path: Path, kind: type[_Row], instead: Mapping[str, str] | None = None) -> list[_Row]:
    """Rows of the file; a missing column is read from the one that ``instead`` names."""
    with explained(path):
        content = Path(path).read_bytes()
    advice = "Create the file again, or restore it."
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        columns = [name if name in header else (instead or {}).get(name, name) for name in _columns(kind)]
        missing = [column for column in columns if column not in header]
        if missing:
            raise BadInput(f"The column {', '.join(missing)} is missing.", where=path, advice=advice)
        places = [header.index(column) for column in columns]
        return [_row(kind, cells, places, f"{path}, line {lines.line_num}") for cells in lines if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"The file is not a readable CSV table ({error}).", where=path, advice=advice) from error


def _row(kind: type[_Row], cells: Sequence[str], places: Sequence[int], where: str) -> _Row:
    values: list[Any] = []
    for field, place in zip(dataclasses.fields(kind), places, strict=True):
        cell = cells[place] if place < len(cells) else None
        try:
            if cell is None:
                raise ValueError("the row ends before it")
            values.append(_PARSERS[str(field.type)](cell))
        except ValueError as error:
            message = f"The column {_HEADERS.get(field.name, field.name)} cannot be read ({error})."
            raise BadInput(message, where=where, advice="Create the file again, or restore it.") from error
    return kind(*values)


def _columns(kind: type[_Row]) -> list[str]:
    return [_HEADERS.get(field.name, field.name) for field in dataclasses.fields(kind)]


def _cell(value: str | int | float) -> str:
    if isinstance(value, str):
        return str(spreadsheet_safe(value))
    if isinstance(value, numbers.Integral):  # NumPy's integers too
        return str(int(value))
    return "" if math.isnan(value) else repr(float(value))


def _float(cell: str) -> float:
    return float(cell) if cell else math.nan


_PARSERS: dict[str, Callable[[str], Any]] = {"str": from_spreadsheet, "int": int, "float": _float}
