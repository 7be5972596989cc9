from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Request, RequestList, Study


def requests_for(study, number=1, slices=(("v000", 0), ("v001", 3)), score=0.5, **parameters):
    chosen = []
    for name, index in slices:
        volume = study.cohort.volume(name)
        chosen.append(Request(SliceId(name, index), volume.patient, volume.axis, score, "far from all others"))
    return RequestList(number, "coreset", 7, {"count": len(chosen), **parameters}, tuple(chosen), {"stack": "abc"})


def test_requests_come_back_as_they_were_written(make_study):
    study = make_study()
    assert study.requests.rounds() == []
    assert study.requests.next_round() == 1
    written = requests_for(study, score=None)
    study.requests.write(written)
    again = Study.open(study.folder)
    assert again.requests.read(1) == written
    assert again.requests.rounds() == [1]
    assert again.requests.next_round() == 2
    assert written.count == 2


def test_the_file_has_the_documented_form(make_study):
    study = make_study()
    study.requests.write(requests_for(study, slices=[("v000", 2)], score=None))
    value = json.loads((study.folder / "rounds" / "1" / "request.json").read_text())
    assert value == {
        "round": 1,
        "strategy": "coreset",
        "seed": 7,
        "parameters": {"count": 1},
        "requests": [
            {
                "patient": "p000",
                "volume": "v000",
                "axis": 2,
                "slice": 2,
                "score": None,
                "reason": "far from all others",
            }
        ],
        "provenance": {"stack": "abc"},
    }


def test_requests_never_change(make_study):
    study = make_study()
    written = requests_for(study)
    study.requests.write(written)
    study.requests.write(written)
    with pytest.raises(BadInput, match=r"request\.json: Round 1 has other requests"):
        study.requests.write(requests_for(study, score=0.25))
    assert study.requests.read(1) == written
    assert [record["event"] for record in study.audit.records()] == ["created", "requests"]


def test_writing_the_same_again_is_recognised_whatever_the_types(make_study):
    study = make_study()
    written = requests_for(study, gap=(1, 2), score=np.float64(0.1))
    study.requests.write(written)
    study.requests.write(written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": 2}, "not the next one"),
        ({"number": 0}, "not the next one"),
        ({"slices": [("v000", 0), ("v000", 0)]}, "occurs twice"),
        ({"slices": [("v000", 4)]}, "no slice 5"),
        ({"score": float("nan")}, "score"),
        ({"what": object()}, "JSON"),
        ({"what": float("inf")}, "JSON"),
    ],
)
def test_impossible_requests_are_refused(make_study, change, message):
    study = make_study()
    with pytest.raises(BadInput, match=message):
        study.requests.write(requests_for(study, **change))
    assert study.requests.rounds() == []


def test_requests_of_other_patients_axes_or_volumes_are_refused(make_study):
    study = make_study()
    good = requests_for(study)
    for change in ({"patient": "p009"}, {"axis": 1}, {"slice": SliceId("v009", 0)}):
        bad = replace(good, requests=(replace(good.requests[0], **change),))
        with pytest.raises(BadInput, match=r"is not"):
            study.requests.write(bad)
    study.exclude("v000", "wrong protocol")
    with pytest.raises(BadInput, match="excluded"):
        study.requests.write(good)


def test_missing_and_damaged_rounds_are_named(make_study):
    study = make_study()
    with pytest.raises(BadInput, match=r"Round 3 has no requests.*none"):
        study.requests.read(3)
    study.requests.write(requests_for(study))
    (study.folder / "rounds" / "1" / "request.json").write_text('{"round": 1}')
    with pytest.raises(BadInput, match=r"request\.json: The file is damaged"):
        study.requests.read(1)
    with pytest.raises(BadInput, match="no round -1"):
        study.requests.round_folder(-1)


def test_open_requests_are_those_not_answered_since(make_study, annotate):
    study = make_study()
    study.requests.write(requests_for(study, 1, [("v000", 0), ("v000", 1), ("v001", 2)]))
    first, second, third = (request.slice for request in study.requests.read(1).requests)
    study.commit([annotate(study, 0, round=1)])
    assert [request.slice for request in study.open_requests(1)] == [second, third]
    study.skip(second, "Anna", "blurred", round=1)
    assert [request.slice for request in study.open_requests(1)] == [third]
    study.flag(third, "Anna", "later")
    assert [request.slice for request in study.open_requests(1)] == [third]
    study.exclude("v001", "no consent")
    assert study.open_requests(1) == []
    study.include("v001")
    study.commit([annotate(study, 2, volume="v001", round=None)])
    assert study.open_requests(1) == []
    study.requests.write(requests_for(study, 2, [("v000", 0), ("v001", 2)]))
    assert [request.slice for request in study.open_requests(2)] == [first]
    study.commit([annotate(study, 0, round=2)])
    assert study.open_requests(2) == []


def test_open_requests_of_one_annotator(make_study, annotate):
    study = make_study()
    study.requests.write(requests_for(study, 1, [("v000", 0)]))
    study.commit([annotate(study, 0, annotator="Anna")])
    assert study.open_requests(1) == []
    assert study.open_requests(1, "anna") == []
    assert len(study.open_requests(1, "Zoe")) == 1


def test_folders_that_are_not_rounds_are_ignored(make_study):
    study = make_study()
    for name in ("01", "x", "7", ".tmp-1"):
        (study.folder / "rounds" / name).mkdir(parents=True)
    (study.folder / "rounds" / "01" / "request.json").write_text("{}")
    assert study.requests.rounds() == []


def test_records_of_a_round(make_study):
    study = make_study()
    assert study.requests.read_record(0, "metrics") is None
    path = study.requests.write_record(0, "metrics", {"dice": 0.5})
    assert path == study.folder / "rounds" / "0" / "metrics.json"
    study.requests.write_record(0, "metrics", {"dice": 0.75})
    assert study.requests.read_record(0, "metrics") == {"dice": 0.75}
    assert study.requests.rounds() == []
    with pytest.raises(BadInput, match="record"):
        study.requests.write_record(0, "../study", {})


def test_status_counts(make_study, annotate):
    study = make_study(volumes=4)
    study.requests.write(requests_for(study, 1, [("v000", 0), ("v000", 1), ("v002", 2), ("v002", 3)]))
    study.commit([annotate(study, 0, seconds=10), annotate(study, 2, volume="v002", seconds=5, kind="scribble")])
    study.commit([annotate(study, 0, seconds=1.5)])
    study.skip(SliceId("v000", 1), "Zoe", "blurred")
    study.flag(SliceId("v001", 1), "Zoe", "see")
    for volume in ("v001", "v003"):
        study.extents.mark(volume, 1, 3)
    study.exclude("v003", "broken")
    status = study.status()
    assert json.loads(json.dumps(status)) == status
    assert status == {
        "volumes": 3,
        "slices": 12,
        "excluded": {"v003": "broken"},
        "annotation": "mask",
        "annotated": 2,
        "skipped": 1,
        "flagged": 1,
        "open": 1,
        "seconds": {"mask": 11.5, "scribble": 5.0},
        "rounds": [{"round": 1, "strategy": "coreset", "requested": 4, "committed": 2, "skipped": 1, "open": 1}],
        "patients": {
            "p000": {"annotated": 1, "skipped": 1, "seconds": 11.5},
            "p001": {"annotated": 1, "skipped": 0, "seconds": 5.0},
        },
        "annotators": {"Anna": {"annotated": 2, "seconds": 16.5}, "Zoe": {"annotated": 0, "seconds": 0}},
        "extents": {"v001": [1, 3]},
        "damaged": [],
    }
