"""Reading text files of any encoding: text, tables and JSON."""

from __future__ import annotations

import codecs
import csv
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, require_regular

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, because it starts with the same mark
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = ("Cc", "Cf", "Zl", "Zp")
_FORMULAS = ("=", "+", "-", "@")
_DELIMITERS = (",", ";", "\t", "|")


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 volume", "2 volumes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """The text with control characters as codes such as \\x1b, so that a name in a file cannot control a terminal.

    Line ends and tabs stay. Characters that change the direction of the text around them count as control characters.
    """
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) not in _CONTROLS else _code(character)
        for character in text
    )


def on_one_line(text: str) -> str:
    """The text with every control character as a code, line ends and tabs too: a name cannot pretend to be a line."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def printable_json(text: str) -> str:
    """JSON text with the control characters in its strings escaped; the values stay the same."""
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in _CONTROLS
        else json.dumps(character)[1:-1]
        for character in text
    )


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def spreadsheet_safe(cell: object) -> object:
    """A cell of a table, with an apostrophe before text that a spreadsheet would take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell.lstrip("'")) else cell


def from_spreadsheet(cell: str) -> str:
    """Inverse of ``spreadsheet_safe``."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell.lstrip("'")) else cell


def _is_formula(text: str) -> bool:
    return text.lstrip()[:1] in _FORMULAS


def read_any_text(path: Path) -> tuple[str, str]:
    """Read a text file of unknown encoding: UTF-8, UTF-16 or UTF-32 (with or without mark), otherwise Windows-1252.

    Returns:
        The text without byte order mark, and the name of the encoding.

    Raises:
        BadInput: If the file is missing or is not text in any of these encodings.
    """
    require_regular(path)
    with explained(path):
        content = path.read_bytes()
    for encoding in (_unicode_of(content), "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        if "\0" not in text:
            return text.removeprefix("\ufeff"), encoding
    raise BadInput("The encoding of the text is unknown.", where=path, advice="Save the file as UTF-8.")


def _unicode_of(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    even, odd = content[:4096:2].count(0), content[1:4096:2].count(0)
    if max(even, odd) > len(content[:4096]) / 8:  # ASCII letters in UTF-16 have a zero byte each
        return "utf-16-be" if even > odd else "utf-16-le"
    return "utf-8"


def read_any_json(path: Path) -> Any:
    """Read a JSON file from any source, in any encoding of ``read_any_text``.

    Raises:
        BadInput: If the file is missing, not JSON, or has a field twice.
    """
    text, _ = read_any_text(path)
    advice = "Correct the file with a text editor, or restore it."

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        if twice:
            raise BadInput(f"The field '{twice[0]}' occurs twice.", where=path, advice=advice)
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=fields)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The file is not valid JSON ({error}).", where=path, advice=advice) from error


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        columns: Names of the columns in lower case, with "_" for blanks.
        rows: (line number in the file, cells by column), without blank lines. Cells beyond the last column are under
            "".
        encoding: Encoding of the file.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    encoding: str


def read_table(path: Path, known: Collection[str]) -> Table:
    """Read a CSV or TSV file; with comma, semicolon, tab or "|" between cells, whichever fits the first line best.

    Args:
        path: The file.
        known: Names of expected columns, by which the delimiter is detected.

    Raises:
        BadInput: If the file is missing, empty, not text, not a table, or has a column twice.
    """
    text, encoding = read_any_text(path)
    if text[:4].lower() == "sep=":  # Excel's own mark of the delimiter
        text = "\n" + text.partition("\n")[2]
    lines = _cells(path, text, _delimiter(text, known))
    if not lines:
        raise BadInput("The table is empty.", where=path, advice="Write a first line with the names of the columns.")
    columns = [_column(cell) for cell in lines[0][1]]
    twice = [name for name, count in Counter(filter(None, columns)).items() if count > 1]
    if twice:
        raise BadInput(f"The column '{twice[0]}' occurs twice.", where=path, advice="Rename or remove one of them.")
    rows = []
    for number, cells in lines[1:]:
        row = dict(zip(columns, cells, strict=False))
        surplus = " ".join(filter(None, cells[len(columns) :]))
        rows.append((number, row | ({"": surplus} if surplus else {})))
    return Table(tuple(name for name in columns if name), tuple(rows), encoding)


def _delimiter(text: str, known: Collection[str]) -> str:
    first = next((line for line in text.splitlines() if line.strip(" ,;\t|")), "")
    found = {mark: [_column(cell) for cell in next(csv.reader([first], delimiter=mark), [])] for mark in _DELIMITERS}
    return max(_DELIMITERS, key=lambda mark: (sum(name in known for name in found[mark]), len(found[mark])))


def _cells(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    lines = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                lines.append((reader.line_num, stripped))
    except csv.Error as error:
        where = f"{path}, line {reader.line_num}"
        raise BadInput(f"The table cannot be read ({error}).", where=where, advice="Save it as CSV again.") from error
    return lines


def _column(name: str) -> str:
    return "_".join(name.replace("\ufeff", "").casefold().split())
