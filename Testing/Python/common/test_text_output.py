"""Text for terminals and tables: what a file's content cannot do to them."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path

import pytest

import ActiveSegmentationLib
from ActiveSegmentationLib.common.progress import TqdmProgress
from ActiveSegmentationLib.common.text import from_spreadsheet, on_one_line, printable, printable_json, spreadsheet_safe


def test_control_characters_are_shown_and_not_sent():
    assert printable("a\x1b[2Jb\x9b1m\u202eevil\r\x07") == "a\\x1b[2Jb\\x9b1m\\u202eevil\\r\\x07"
    assert printable("first\n\tsecond Zoë 患者") == "first\n\tsecond Zoë 患者"


def test_a_name_cannot_pretend_to_be_a_line():
    assert on_one_line("p1\nno problems\t\x1b[1m") == "p1\\nno problems\\t\\x1b[1m"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1"])
def test_text_is_not_a_formula(cell):
    assert spreadsheet_safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["p001", "", "a=b", -1.5, 7, None])
def test_other_cells_stay(cell):
    assert spreadsheet_safe(cell) == cell


@pytest.mark.parametrize("cell", ["=1+1", "'=1", "''-x", "'", "it's", " =1", "'plain", "p001"])
def test_what_was_made_safe_is_read_as_it_was(cell):
    assert from_spreadsheet(str(spreadsheet_safe(cell))) == cell


def test_json_keeps_its_values_and_controls_nothing():
    value = {"a\x9b": ["b\u202e", "\x7f\U000e0001", "Zoë 患者\n"]}
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(text) == value
    assert not set("\x9b\u202e\x7f\U000e0001") & set(text)
    assert "患者" in text


def test_progress_shows_names_without_obeying_them():
    stream = io.StringIO()
    progress = TqdmProgress(stream)
    progress.message("bad \x1b[2Jname")
    progress.update("Reading \x1b[31m", 1, 1)
    assert "\x1b[2J" not in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()


def test_commands_print_through_what_neutralises_names():
    """``say``, ``tell`` and ``print_json`` are the only ways of a command to the terminal."""
    folder = Path(ActiveSegmentationLib.__file__).parent / "cli"
    found = {
        f"{path.name}:{node.func.id}"
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert found == {"command.py:print", "main.py:print", "options.py:print"}
