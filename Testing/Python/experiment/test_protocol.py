from __future__ import annotations

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.experiment import check_rounds, parse_rounds


@pytest.mark.parametrize(
    ("text", "pool", "expected"),
    [
        ("2%,3%,4%,5%", 1454, [29, 44, 58, 73]),
        ("10,20,30", 100, [10, 20, 30]),
        ("5, 10%, 50 %", 100, [5, 10, 50]),
        ("100%", 7, [7]),
        ("0.5%", 1000, [5]),
    ],
)
def test_budgets(text, pool, expected):
    assert parse_rounds(text, pool) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "2%,2%", "3%,2%", "0", "0.01%", "101", "-1", "nan%", "inf%", "2%,,3%", "1e400%"]
)
def test_impossible_budgets_are_refused(text):
    with pytest.raises(BadInput, match="rounds") as error:
        parse_rounds(text, 100)
    assert error.value.advice


@pytest.mark.parametrize("text", ["", "x", "0", "0%", "-1", "nan%", "inf%", "2%,,3%"])
def test_what_is_not_a_list_of_rounds_is_refused_without_a_pool(text):
    with pytest.raises(BadInput, match="rounds") as error:
        check_rounds(text)
    assert error.value.advice


def test_rounds_that_some_pool_can_have_pass():
    for text in ("2%,3%", "10,20", "0.0001%", "100%"):
        check_rounds(text)
