from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Study, hash_labels
from ActiveSegmentationLib.study.chain import HashChain


def literal_hash(record):
    """The hash of a record, calculated as documented."""
    import hashlib

    rest = {name: value for name, value in record.items() if name != "hash"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(len(text).to_bytes(8, "little") + text).hexdigest()


@pytest.fixture
def study(make_study, annotate):
    study = make_study()
    study.commit([annotate(study, 0), annotate(study, 1, volume="v001")])
    study.skip(SliceId("v000", 3), "Anna", "blurred")
    study.commit([annotate(study, 0, seed=1)])
    study.commit([annotate(study, 2, annotator="Zoe")])
    return study


def lines_of(study, name="anna"):
    return (study.folder / "audit" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()


def write_lines(study, lines, name="anna"):
    (study.folder / "audit" / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_the_chain_is_what_the_documentation_says(study):
    assert study.audit.verify() == []
    records = [json.loads(line) for line in lines_of(study)]
    assert [record["seq"] for record in records] == [1, 2, 3, 4]
    assert [record["event"] for record in records] == ["commit", "commit", "skip", "commit"]
    for before, after in itertools.pairwise(records):
        assert after["previous"] == before["hash"]
    for record in records:
        assert record["hash"] == literal_hash(record)
    last = records[-1]
    assert last["labels_sha256"] == hash_labels(study.annotations("Anna")[SliceId("v000", 0)].labels)
    assert (last["annotator"], last["volume"], last["slice"], last["versions"]) == ("Anna", "v000", 0, 2)
    assert study.audit.records("anna") == records
    assert [record["event"] for record in study.audit.records()] == ["created"]


def test_two_annotators_have_a_file_each(study):
    assert len(lines_of(study, "zoe")) == 1
    assert len(lines_of(study, "_study")) == 1


@pytest.mark.parametrize("number", range(4))
def test_an_edited_line_is_found(study, number):
    lines = lines_of(study)
    record = json.loads(lines[number])
    record["time"] = "2020-01-01T00:00:00+00:00"
    lines[number] = json.dumps(record)
    write_lines(study, lines)
    assert any(f"line {number + 1}: the record was changed" in problem for problem in study.audit.verify())


@pytest.mark.parametrize("number", range(4))
def test_a_removed_line_is_found(study, number):
    lines = lines_of(study)
    del lines[number]
    write_lines(study, lines)
    problems = study.audit.verify()
    if number < 3:
        assert any("does not follow" in problem for problem in problems)
    else:
        assert problems == ["v000, slice 1: what anna committed is not what the audit recorded."]


def test_swapped_and_repeated_lines_are_found(study):
    lines = lines_of(study)
    write_lines(study, [lines[1], lines[0], *lines[2:]])
    assert any("does not follow" in problem for problem in study.audit.verify())
    write_lines(study, [*lines, lines[-1]])
    assert any("line 5: the record does not follow" in problem for problem in study.audit.verify())


def test_a_rehashed_line_still_breaks_the_chain(study):
    lines = lines_of(study)
    record = json.loads(lines[1])
    record["seconds"] = 1.0
    record["hash"] = literal_hash(record)
    write_lines(study, [lines[0], json.dumps(record), *lines[2:]])
    assert any("line 3: the record does not follow" in problem for problem in study.audit.verify())


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"seq": 1}'])
def test_a_line_that_is_not_a_record_is_found(study, line):
    lines = lines_of(study)
    write_lines(study, [lines[0], line, *lines[1:]])
    assert study.audit.verify() == ["anna.jsonl, line 2: this is not a record."]


def test_a_removed_file_is_found(study):
    (study.folder / "audit" / "anna.jsonl").unlink()
    problems = study.audit.verify()
    assert len(problems) == 3
    assert all("has no audit record" in problem for problem in problems)


def test_records_of_another_study_or_annotator_do_not_fit(study, make_study):
    other = make_study()
    shutil.copy(study.folder / "audit" / "zoe.jsonl", other.folder / "audit" / "zoe.jsonl")
    assert any("does not follow" in problem for problem in other.audit.verify())
    shutil.copy(study.folder / "audit" / "zoe.jsonl", study.folder / "audit" / "max.jsonl")
    assert any("max.jsonl, line 1: the record does not follow" in problem for problem in study.audit.verify())


def test_an_edited_hash_of_a_stored_slice_is_found(study):
    path = study.folder / "annotations" / "v001" / "anna.slices.json"
    value = json.loads(path.read_text())
    value["slices"]["1"]["committed"]["labels_sha256"] = "0" * 64
    path.write_text(json.dumps(value))
    problems = study.audit.verify()
    assert any("not the one that was committed" in problem for problem in problems)
    assert "v001, slice 2: what anna committed is not what the audit recorded." in problems


def test_an_edited_label_map_is_found(study):
    import SimpleITK

    path = study.folder / "annotations" / "v001" / "anna.seg.nrrd"
    array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    image = SimpleITK.GetImageFromArray(np.where(array == 85, 5, array).astype(np.uint8))
    SimpleITK.WriteImage(image, str(path))
    (problem,) = study.audit.verify()
    assert "anna.seg.nrrd" in problem
    assert "not the one that was committed" in problem


def test_removed_annotations_are_found(study):
    shutil.rmtree(study.folder / "annotations" / "v001")
    assert study.audit.verify() == ["v001, slice 2: what anna committed is in the audit but no longer in the study."]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_cut_of_the_last_line_is_repaired_and_noted(make_study, annotate, data):
    study = make_study()
    study.audit.append("trained", model="abc")
    study.audit.append("trained", model="Zoë", annotator=None)
    path = study.folder / "audit" / "_study.jsonl"
    content = path.read_bytes()
    start = content[:-1].rindex(b"\n") + 1
    cut = data.draw(st.integers(start + 1, len(content) - 1))
    path.write_bytes(content[:cut])
    study = Study.open(study.folder)
    assert study.audit.verify() == []
    events = [record["event"] for record in study.audit.records()]
    if cut == len(content) - 1:
        assert events == ["created", "trained", "trained"]
    else:
        assert events == ["created", "trained", "repaired"]
        kept = study.folder / "audit" / study.audit.records()[-1]["kept"]
        assert kept.read_bytes() == content[start:cut]
    study.audit.append("trained", model="new")
    assert study.audit.verify() == []


def test_a_torn_line_is_reported_until_it_is_repaired(study, annotate):
    path = study.folder / "audit" / "anna.jsonl"
    with path.open("ab") as file:
        file.write(b'{"seq": 5, "ti')
    problems = study.audit.verify()
    assert "anna.jsonl: the last line is incomplete, as after a crash; the next commit repairs it." in problems
    study.commit([annotate(study, 1)])
    assert study.audit.verify() == []
    assert [record["event"] for record in study.audit.records("anna")][-2:] == ["repaired", "commit"]


def test_a_damaged_last_record_stops_the_next_commit_before_it_changes_anything(study, annotate):
    lines = lines_of(study)
    write_lines(study, [*lines[:-1], lines[-1].replace("commit", "comply", 1)])
    before = study.annotations()
    with pytest.raises(BadInput, match=r"anna\.jsonl: The last record of the audit is damaged"):
        study.commit([annotate(study, 1)])
    assert study.annotations().keys() == before.keys()
    assert not list((study.folder / "annotations" / "v000").glob("*pending*"))


def test_long_chains_and_long_lines(tmp_path):
    chain = HashChain(tmp_path / "x.jsonl", ("study", "x"))
    assert chain.last() is None
    assert chain.problems() == []
    for number in range(30):
        chain.append([{"event": "e", "text": "ä" * (7000 * (number % 9)), "number": number}])
        assert chain.last()["number"] == number
    assert [record["number"] for record in chain.records()] == list(range(30))
    assert chain.problems() == []
    assert HashChain(tmp_path / "x.jsonl", ("study", "y")).problems() != []


def test_fields_cannot_overwrite_the_chain(tmp_path):
    chain = HashChain(tmp_path / "x.jsonl", ("study", "x"))
    chain.append([{"event": "e", "seq": 99, "hash": "x", "previous": "y"}])
    assert chain.problems() == []
    assert chain.last()["seq"] == 1


def test_lines_with_unusual_separators_are_one_record(tmp_path):
    chain = HashChain(tmp_path / "x.jsonl", ("study", "x"))
    chain.append([{"event": "e", "note": "a\u2028b\nc\x85d"}, {"event": "f"}])
    assert [record["event"] for record in chain.records()] == ["e", "f"]
    assert chain.problems() == []


def rewritten(study, change, name="anna"):
    """The chain as a version without hashes of files would have written it, with changed records."""
    chain = HashChain(study.folder / "audit" / f"{name}.jsonl", (study.id, name))
    records = chain.records()
    chain.path.unlink()
    for record in records:
        record.pop("files", None)
    chain.append(change(records))


FIELDS = {"round": 7, "seconds": 99.5, "kind": "scribble", "prelabel": "model", "committed_at": "2020-01-01"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("legacy", [False, True])
def test_every_field_of_a_commit_is_covered(study, field, legacy):
    if legacy:
        rewritten(study, lambda records: records)
    assert study.audit.verify() == []
    path = study.folder / "annotations" / "v000" / "anna.slices.json"
    value = json.loads(path.read_text())
    value["slices"]["0"]["versions"][0][field] = FIELDS[field]
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    assert study.audit.verify() == ["v000, slice 1: what anna committed is not what the audit recorded."]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda record: record.update(skip_reason="fine"), "skipped is not what the audit recorded"),
        (lambda record: record.update(skipped_at="", skip_reason="", status="flagged"), "skipped is in the audit"),
        (lambda record: record.update(flagged_at="2025", flag_note="look"), "flagged has no audit record"),
        (lambda record: record.update(status="flagged"), "is recorded as 'flagged', in the audit as 'skipped'"),
    ],
)
def test_skips_and_flags_are_covered(study, change, problem):
    rewritten(study, lambda records: records)
    path = study.folder / "annotations" / "v000" / "anna.slices.json"
    value = json.loads(path.read_text())
    change(value["slices"]["3"])
    path.write_text(json.dumps(value))
    (found,) = study.audit.verify()
    assert problem in found


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("study.json", "left ventricle", "other ventricle"),
        ("study.json", '"annotation": "mask"', '"annotation": "scribble"'),
        ("study.json", '"excluded": {}', '"excluded": {"v001": "no consent"}'),
        ("cohort.json", '"patient": "p000"', '"patient": "p007"'),
        ("annotations/v000/anna.seg.nrrd", "Segment0_Name:=left ventricle", "Segment0_Name:=soft ventricle"),
        ("annotations/v000/anna.slices.json", '"axis"', '"axis" '),
        ("extents.json", "1", "2"),
        ("rounds/1/request.json", "random", "coreset"),
    ],
)
def test_every_file_of_the_study_is_covered(study, make_study, name, old, new):
    from ActiveSegmentationLib.study import Request, RequestList

    study.extents.mark("v000", 1, 2)
    study.requests.write(RequestList(1, "random", 0, {}, (Request(SliceId("v000", 3), "p000", 2, None, "why"),)))
    assert study.audit.verify() == []
    path = study.folder / name
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode(), 1))
    assert any(name in problem for problem in Study.open(study.folder).audit.verify())


@pytest.mark.parametrize("field", ["annotator", "volume", "event", "kind", "labels_sha256"])
def test_a_record_with_another_name_for_a_field_is_found(study, field):
    write_lines(study, [line.replace(f'"{field}"', f'"{field}2"') for line in lines_of(study)])
    assert study.audit.verify()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind": "mask"', '"kind": "mosk"'),
        ('"round": 1', '"round": "1"'),
        ('"committed_at": "', '"committed_at": null, "at": "'),
        ('"seconds"', '"secounds"'),
    ],
)
def test_a_commit_with_an_impossible_value_is_found(study, old, new):
    path = study.folder / "annotations" / "v000" / "anna.slices.json"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert "anna.slices.json" in " ".join(study.audit.verify())
    assert {each.volume for each in Study.open(study.folder).annotations("Anna")} == {"v001"}


def test_files_without_a_record_are_found(study):
    (study.folder / "rounds" / "1").mkdir(parents=True)
    (study.folder / "rounds" / "1" / "request.json").write_text("{}")
    (study.folder / "extents.json").write_text('{"format": 1, "extents": {}}')
    assert study.audit.verify() == [
        "extents.json: the file has no audit record.",
        "rounds/1/request.json: the file has no audit record.",
    ]


def test_an_anchor_detects_a_rollback_and_a_rewritten_chain(study, annotate, tmp_path):
    from ActiveSegmentationLib.study import Anchor

    early = tmp_path / "early"
    shutil.copytree(study.folder, early / "study")
    shutil.copytree(study.cohort.root, tmp_path / study.cohort.root.name, dirs_exist_ok=True)
    study.commit([annotate(study, 1, seed=9)])
    study.audit.anchor().write(tmp_path / "anchor.json")
    anchor = Anchor.read(tmp_path / "anchor.json")
    study.commit([annotate(study, 1, seed=10)])
    assert study.audit.verify(anchor=anchor) == []
    shutil.rmtree(study.folder)
    shutil.copytree(early / "study", study.folder)
    study = Study.open(study.folder)
    assert study.audit.verify() == []
    (problem,) = study.audit.verify(anchor=anchor)
    assert problem.startswith("anna: the anchor of ")
    assert "no longer there" in problem
    rewritten(study, lambda records: [*records, {"event": "e"}])
    (problem,) = study.audit.verify(anchor=anchor)
    assert "record 5 is not that of the anchor" in problem


def test_a_changed_anchor_is_refused(study, tmp_path, make_study):
    from ActiveSegmentationLib.study import Anchor

    path = tmp_path / "anchor.json"
    study.audit.anchor().write(path)
    assert make_study().audit.verify(anchor=Anchor.read(path)) == ["The anchor is that of another study."]
    path.write_text(path.read_text().replace('"records": 4', '"records": 3'))
    with pytest.raises(BadInput, match="changed after it was written"):
        Anchor.read(path)
    path.write_text("{}")
    with pytest.raises(BadInput, match="not an anchor"):
        Anchor.read(path)


def test_a_swapped_image_of_equal_size_and_time_is_detected(make_study, annotate):
    import os

    study = make_study()
    path = study.cohort.path("v000.nii.gz")
    path.write_bytes(b"image A")
    study.commit([annotate(study, 0)])
    assert study.audit.verify(images=True) == []
    stat = path.stat()
    path.write_bytes(b"image B")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert study.audit.verify() == []
    wanted = ["v000: anna annotated other images than those that are there now."]
    assert study.audit.verify(images=True) == wanted
    assert Study.open(study.folder).audit.verify(images=True) == wanted
    path.unlink()
    (problem,) = study.audit.verify(images=True)
    assert problem.startswith("v000: the images cannot be read")


def test_a_study_that_changes_while_it_is_audited_is_read_again(study, annotate, monkeypatch):
    """A commit between reading the records and reading the files is not damage."""
    from ActiveSegmentationLib.study.annotation_files import AnnotationFiles

    real, done = AnnotationFiles.read_slices, []

    def read_slices(self, volume):
        if not done and self.stem == "anna":
            done.append(True)
            study.commit([annotate(study, 1, seed=5)])
        return real(self, volume)

    other = Study.open(study.folder)
    monkeypatch.setattr(AnnotationFiles, "read_slices", read_slices)
    assert other.audit.verify() == []
    assert done
