"""Extents marked by annotators: kept, checked, audited, cleared."""

from __future__ import annotations

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Study


def test_extents_are_kept_replaced_and_taken_back(make_study):
    study = make_study()
    assert study.extents.all() == {}
    assert not (study.folder / "extents.json").exists()
    study.extents.mark("v001", 0, 3)
    study.extents.mark("v000", 1, 2)
    study.extents.mark("v001", 2, 2)
    study.extents.mark("v001", 2, 2)  # says nothing new
    other = Study.open(study.folder)
    assert other.extents.all() == {"v000": (1, 2), "v001": (2, 2)}
    assert list(other.extents.all()) == ["v000", "v001"]
    assert other.status()["extents"] == {"v000": [1, 2], "v001": [2, 2]}
    other.extents.clear("v000")
    other.extents.clear("v000")
    assert study.extents.all() == {"v001": (2, 2)}
    events = [(r["event"], r.get("volume"), r.get("first"), r.get("last")) for r in study.audit.records()][1:]
    assert events == [
        ("mark-extent", "v001", 0, 3),
        ("mark-extent", "v000", 1, 2),
        ("mark-extent", "v001", 2, 2),
        ("clear-extent", "v000", None, None),
    ]
    assert study.audit.verify() == []


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (0, 4), (4, 4)])
def test_slices_that_are_not_there_are_refused(make_study, first, last):
    study = make_study()
    with pytest.raises(BadInput, match="which has 4") as error:
        study.extents.mark("v000", first, last)
    assert error.value.where == "v000"
    assert study.extents.all() == {}


def test_unknown_and_excluded_volumes_are_refused(make_study):
    study = make_study()
    for call in (lambda: study.extents.mark("v009", 0, 1), lambda: study.extents.clear("v009")):
        with pytest.raises(BadInput, match="no volume 'v009'"):
            call()
    study.extents.mark("v000", 0, 1)
    study.exclude("v000", "wrong sequence")
    assert study.extents.all() == {}
    with pytest.raises(BadInput, match="'v000' is excluded"):
        study.extents.mark("v000", 0, 2)
    study.include("v000")
    assert study.extents.all() == {"v000": (0, 1)}


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"format": 2, "extents": {}}', '{"format": 1, "extents": {"v000": [1]}}',
     '{"format": 1, "extents": {"v000": [1, 9]}}', '{"format": 1, "extents": {"v009": [1, 2]}}', '{"format": 1}'],
)  # fmt: skip
def test_a_damaged_file_is_named(make_study, content):
    study = make_study()
    (study.folder / "extents.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as error:
        study.extents.all()
    assert "extents.json" in str(error.value.where)
    with pytest.raises(BadInput):
        study.extents.mark("v000", 0, 1)
