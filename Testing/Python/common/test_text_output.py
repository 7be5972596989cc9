"""Text for terminals and tables: what a file's content cannot do to them."""

from __future__ import annotations

import pytest

from ActiveSegmentationLib.common.text import printable, spreadsheet_safe


def test_control_characters_are_shown_and_not_sent():
    assert printable("a\x1b[2Jb\x9b1m\u202eevil\r\x07") == "a\\x1b[2Jb\\x9b1m\\u202eevil\\r\\x07"
    assert printable("first\n\tsecond Zoë 患者") == "first\n\tsecond Zoë 患者"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1"])
def test_text_is_no_formula(cell):
    assert spreadsheet_safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["p001", "", "a=b", -1.5, 7, None])
def test_other_cells_stay(cell):
    assert spreadsheet_safe(cell) == cell
