import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.evaluation import (
    RequestRow,
    ResultRow,
    read_requests_csv,
    read_results_csv,
    write_requests_csv,
    write_results_csv,
)

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
numbers = st.integers(0, 10**6)
results = st.lists(
    st.builds(
        ResultRow,
        cohort=words,
        strategy=words,
        seed=numbers,
        round=numbers,
        annotated_slices=numbers,
        percent=st.floats(0, 100),
        patient=words,
        volume=words,
        class_name=words,
        metric=words,
        value=st.floats(),
    ),
    max_size=5,
)
requests = st.lists(
    st.builds(
        RequestRow,
        cohort=words,
        strategy=words,
        seed=numbers,
        round=numbers,
        rank=numbers,
        patient=words,
        volume=words,
        axis=st.integers(0, 2),
        slice=numbers,
        score=st.floats(),
        reason=words,
    ),
    max_size=5,
)


def comparable(rows):
    """As tuples, sorted; NaN equal to itself."""
    return sorted(repr(dataclasses.astuple(row)) for row in rows)


@settings(max_examples=60, deadline=None)
@given(results, requests)
def test_rows_come_back_to_the_bit(tmp_path_factory, some_results, some_requests):
    folder = tmp_path_factory.mktemp("csv")
    write_results_csv(folder / "results.csv", some_results)
    write_requests_csv(folder / "requests.csv", some_requests)
    assert comparable(read_results_csv(folder / "results.csv")) == comparable(some_results)
    assert comparable(read_requests_csv(folder / "requests.csv")) == comparable(some_requests)


def row(**changes):
    values = {
        "cohort": "c",
        "strategy": "s",
        "seed": 0,
        "round": 1,
        "annotated_slices": 10,
        "percent": 0.1 + 0.2,
        "patient": "p",
        "volume": "v",
        "class_name": "LV",
        "metric": "dice",
        "value": 0.5,
    }
    return ResultRow(**(values | changes))


def test_the_files_say_what_they_promise(tmp_path):
    write_results_csv(tmp_path / "r.csv", [row(volume="b", value=math.nan), row(volume="a")])
    assert (tmp_path / "r.csv").read_text() == (
        "cohort,strategy,seed,round,annotated slices,percent,patient,volume,class,metric,value\n"
        "c,s,0,1,10,0.30000000000000004,p,a,LV,dice,0.5\n"
        "c,s,0,1,10,0.30000000000000004,p,b,LV,dice,\n"
    )
    write_requests_csv(tmp_path / "q.csv", [RequestRow("c", "s", 0, 1, 1, "p", "v", 2, 0, 1.5, 'far, "very"')])
    assert (tmp_path / "q.csv").read_text() == (
        "cohort,strategy,seed,round,rank,patient,volume,axis,slice,score,reason\n"
        'c,s,0,1,1,p,v,2,1,1.5,"far, ""very"""\n'
    )


def test_the_order_of_rows_does_not_matter(tmp_path):
    rows = [row(volume=v, seed=s, value=x) for v, s, x in [("a", 10, 1.0), ("b", 2, math.nan), ("a", 2, 0.3)]]
    write_results_csv(tmp_path / "1.csv", rows)
    write_results_csv(tmp_path / "2.csv", rows[::-1])
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert [r.seed for r in read_results_csv(tmp_path / "1.csv")] == [2, 2, 10]


def test_numbers_of_numpy_are_written_as_numbers(tmp_path):
    given_row = row(seed=np.int64(3), value=np.float64(0.25), percent=np.float32(0.5))
    write_results_csv(tmp_path / "r.csv", [given_row])
    assert read_results_csv(tmp_path / "r.csv") == [row(seed=3, value=0.25, percent=0.5)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "column cohort"),
        (b"cohort,strategy\nc,s\n", "column seed"),
        (b"\xff\xfe\x00", "CSV"),
        (None, "no such file"),
    ],
)
def test_unreadable_files_are_refused_in_words(tmp_path, content, words):
    path = tmp_path / "results.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=words) as caught:
        read_results_csv(path)
    assert "results.csv" in str(caught.value)


@pytest.mark.parametrize(("old", "new"), [(",10,", ",ten,"), (",dice,0.5", ""), (",dice,0.5", ",dice,high")])
def test_a_bad_cell_is_named_with_its_line(tmp_path, old, new):
    path = tmp_path / "results.csv"
    write_results_csv(path, [row(volume="a", value=0.25), row(volume="b")])
    first, second, third = path.read_text().splitlines()
    path.write_text("\n".join([first, second, third.replace(old, new)]))
    with pytest.raises(BadInput, match="cannot be read") as caught:
        read_results_csv(path)
    assert "line 3" in str(caught.value)


def test_more_columns_in_another_order_are_fine(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        "value,note,metric,class,patient,volume,percent,annotated slices,round,seed,strategy,cohort\n"
        "0.5,hello,dice,LV,p,v,1.5,10,1,0,s,c\n"
    )
    assert read_results_csv(path) == [row(percent=1.5)]


def test_in_files_of_earlier_versions_each_volume_is_a_patient(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        "cohort,strategy,seed,round,annotated slices,percent,volume,class,metric,value\nc,s,0,1,10,1.5,v,LV,dice,0.5\n"
    )
    assert read_results_csv(path) == [row(percent=1.5, patient="v")]


def test_slices_count_from_1_in_the_file_and_a_file_that_counts_from_0_is_refused(tmp_path):
    row = RequestRow("c", "s", 0, 1, 1, "p", "v", 2, 0, 1.5, "far")
    write_requests_csv(tmp_path / "q.csv", [row])
    text = (tmp_path / "q.csv").read_text(encoding="utf-8")
    assert text.splitlines()[1] == "c,s,0,1,1,p,v,2,1,1.5,far"
    assert read_requests_csv(tmp_path / "q.csv") == [row]
    (tmp_path / "old.csv").write_text(text.replace("v,2,1,", "v,2,0,"), encoding="utf-8")
    with pytest.raises(BadInput, match="count from 0"):
        read_requests_csv(tmp_path / "old.csv")
