"""Repairs: what is said, what is kept, and that a repaired study passes its audit."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.study import Draft, Request, RequestList, Study


@pytest.fixture
def study(make_study, annotate):
    study = make_study()
    requests = (Request(SliceId("v000", 0), "p000", 2, None, "why"),)
    study.requests.write(RequestList(1, "random", 0, {}, requests))
    study.commit([annotate(study, 0, 1), annotate(study, 1, 2), annotate(study, 0, 3, volume="v001")])
    study.commit([annotate(study, 0, 4)])
    study.skip(SliceId("v000", 3), "Anna", "blurred")
    study.flag(SliceId("v000", 1), "Anna", "look")
    study.commit([annotate(study, 2, 5, annotator="Zoë")])
    study.extents.mark("v001", 1, 2)
    assert study.audit.verify() == []
    assert study.repairs.plan() == []
    return study


def anna(study, name):
    return study.folder / "annotations" / "v000" / f"anna.{name}"


def flip(path, place=-20):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def repaired(study, prefer=""):
    """Repair the study; nothing is left to repair, and the audit finds nothing."""
    again = Study.open(study.folder)
    before = {slice_id: found.labels for slice_id, found in again.annotations().items()}
    with again.lock():
        done = again.repairs.make(prefer)
    assert done
    fresh = Study.open(study.folder)
    assert fresh.audit.verify() == []
    assert fresh.repairs.plan() == []
    assert fresh.damaged() == []
    for slice_id, labels in before.items():  # what could be read before can be read afterwards
        assert np.array_equal(fresh.annotations()[slice_id].labels, labels)
    return fresh


def kept_files(study):
    return {path.name for path in (study.folder / "set-aside").rglob("*") if path.is_file()}


def test_a_damaged_slices_file_is_restored_from_the_audit_and_the_label_map(study):
    wanted = {slice_id: found for slice_id, found in study.annotations("Anna").items()}
    old = study.slice_files("v000")
    versions = next(file for file in old if file.annotator == "Anna").slices[0].versions
    anna(study, "slices.json").write_text("{", encoding="utf-8")
    (step,) = Study.open(study.folder).repairs.plan()
    assert "anna" in step.action
    assert "2 committed slices." in step.action
    assert step.prefers == ""
    fresh = repaired(study)
    assert kept_files(study) >= {"anna.slices.json", "anna.seg.nrrd"}
    found = fresh.annotations("Anna")
    assert found.keys() == wanted.keys()
    for slice_id, one in wanted.items():
        assert np.array_equal(found[slice_id].labels, one.labels)
        assert (found[slice_id].seconds, found[slice_id].committed_at) == (one.seconds, one.committed_at)
    assert fresh.skipped() == {SliceId("v000", 3): "blurred"}
    assert fresh.flagged() == {SliceId("v000", 1): "look"}
    assert fresh.version_labels(SliceId("v000", 0), "Anna", versions[0].labels_sha256).shape == (5, 6)


def test_a_damaged_label_map_costs_its_slices_and_says_so(study):
    flip(anna(study, "seg.nrrd"))
    (step,) = Study.open(study.folder).repairs.plan()
    assert "0 committed slices; 2 slices can no longer be read" in step.action
    fresh = repaired(study)
    assert SliceId("v000", 0) not in fresh.annotations()
    assert SliceId("v001", 0) in fresh.annotations()
    assert SliceId("v000", 2) in fresh.annotations("Zoë")
    assert fresh.open_requests(1), "the slice is asked for again"


def test_one_changed_slice_of_a_label_map_costs_only_this_slice(study):
    import SimpleITK as sitk

    wanted = study.annotations("Anna")[SliceId("v000", 0)].labels
    image = sitk.ReadImage(str(anna(study, "seg.nrrd")))
    array = sitk.GetArrayFromImage(image)
    array[1] = 0
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(anna(study, "seg.nrrd")))
    fresh = repaired(study)
    assert np.array_equal(fresh.annotations("Anna")[SliceId("v000", 0)].labels, wanted)
    assert SliceId("v000", 1) not in fresh.annotations()


def test_a_lost_slices_file_and_a_lost_label_map(study):
    anna(study, "slices.json").unlink()
    fresh = repaired(study)
    assert len(fresh.annotations("Anna")) == 3
    anna(study, "seg.nrrd").unlink()
    assert len(repaired(study).annotations("Anna")) == 1


def test_an_earlier_version_that_is_damaged_is_set_aside(study):
    (path,) = anna(study, "versions").iterdir()
    path.write_bytes(b"damaged")
    fresh = repaired(study)
    assert path.name in kept_files(study)
    assert not path.exists()
    assert len(fresh.annotations("Anna")) == 3


def forge(study):
    """Another annotation in the place of the latest commit, consistent in itself, as an older version of the files."""
    study.commit([study.annotations("Anna")[SliceId("v000", 1)]])
    for name in ("slices.json", "seg.nrrd"):
        yield anna(study, name), anna(study, name).read_bytes()


def test_files_that_differ_from_the_audit_need_a_decision(study, annotate):
    older = list(forge(study))
    study.commit([annotate(study, 2, 9)])
    for path, content in older:
        path.write_bytes(content)
    steps = Study.open(study.folder).repairs.plan()
    assert [step.prefers for step in steps] == ["audit", "files"]
    again = Study.open(study.folder)
    with again.lock():
        assert again.repairs.make() == []
    repaired(study, "files")
    assert SliceId("v000", 2) not in study.annotations("Anna")


def test_records_that_are_damaged_are_replaced_by_what_the_files_hold(study):
    chain = study.folder / "audit" / "anna.jsonl"
    lines = chain.read_bytes().splitlines(keepends=True)
    chain.write_bytes(b"".join([*lines[:2], lines[2].replace(b"Anna", b"Hugo"), *lines[3:]]))
    (step,) = Study.open(study.folder).repairs.plan()
    assert step.prefers == "files"
    assert "first 2 records" in step.action
    fresh = repaired(study, "files")
    assert chain.name in kept_files(study)
    assert len(fresh.annotations("Anna")) == 3
    assert [record["event"] for record in fresh.audit.records("Anna")].count("repaired") == 1


def test_a_damaged_last_record_no_longer_stops_its_annotator(study, annotate):
    chain = study.folder / "audit" / "anna.jsonl"
    flip(chain)
    fresh = repaired(study, "files")
    fresh.commit([annotate(fresh, 3, 8)])
    assert fresh.audit.verify() == []


def test_the_records_of_the_study_itself(study):
    chain = study.folder / "audit" / "_study.jsonl"
    flip(chain, 30)
    fresh = repaired(study, "files")
    fresh.exclude("v001", "no consent")
    assert fresh.audit.verify() == []
    value = json.loads((study.folder / "study.json").read_text(encoding="utf-8"))
    value["excluded"] = {}
    (study.folder / "study.json").write_text(json.dumps(value), encoding="utf-8")
    assert repaired(study, "files").excluded() == {}


def test_a_damaged_journal_requests_extents_and_drafts_are_set_aside(study):
    (study.folder / "audit" / "anna.journal.json").write_text("{", encoding="utf-8")
    (study.folder / "rounds" / "1" / "request.json").write_text("{", encoding="utf-8")
    (study.folder / "extents.json").write_text("{", encoding="utf-8")
    study.drafts.save(Draft(SliceId("v000", 1), AnnotationKind.MASK, {"a": np.ones((5, 6), bool)}), "Anna")
    (draft,) = study.folder.glob("drafts/*/*/*.npz")
    draft.write_bytes(b"damaged")
    fresh = repaired(study)
    assert kept_files(study) == {"anna.journal.json", "request.json", "extents.json", draft.name}
    assert fresh.requests.rounds() == []
    assert fresh.extents.all() == {}
    assert fresh.drafts.all("Anna") == {}


def test_a_folder_of_a_volume_that_the_cohort_lacks_is_set_aside(study):
    folder = study.folder / "annotations" / "v000"
    folder.rename(folder.with_name("other"))
    fresh = repaired(study)
    assert not folder.with_name("other").exists()
    assert "anna.seg.nrrd" in kept_files(study)
    assert [slice_id.volume for slice_id in fresh.annotations()] == ["v001"]


def test_files_that_no_record_explains_are_set_aside(study):
    for name in ("slices.json", "seg.nrrd"):
        anna(study, name).with_name(f"max.{name}").write_bytes(anna(study, name).read_bytes())
    fresh = repaired(study)
    assert {"max.slices.json", "max.seg.nrrd"} <= kept_files(study)
    assert not list(study.folder.glob("annotations/*/max.*"))
    assert len(fresh.annotations()) == 4


def test_temporary_files_of_killed_commands_are_named_and_deleted(study):
    left = anna(study, "slices.json").with_name(".tmp-removed-x-1")
    left.write_bytes(b"x")
    os.utime(left, (0, 0))
    (step,) = study.repairs.plan()
    assert "1 temporary file" in step.problems[0]
    study.repairs.make()
    assert not left.exists()


def test_every_kind_of_tampering_can_be_repaired(study):
    """Any byte of any annotation file, flipped: what can still be read stays, and the audit is clean afterwards."""
    rng = np.random.default_rng(0)
    files = sorted(path for path in study.folder.glob("annotations/**/*") if path.is_file())
    for _ in range(12):
        path = files[rng.integers(len(files))]
        content = path.read_bytes()
        flip(path, int(rng.integers(len(content))))
        if not Study.open(study.folder).audit.verify():
            continue
        repaired(study, "audit")
        files = sorted(path for path in study.folder.glob("annotations/**/*") if path.is_file())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["seg.nrrd", "slices.json"])
@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_annotations_is_refused_and_not_waited_for(study, name):
    path = anna(study, name)
    path.unlink()
    os.mkfifo(path)
    again = Study.open(study.folder)
    again.annotations()
    assert any(path.name in str(problem) for problem in again.damaged())
    assert any(path.name in problem for problem in again.audit.verify())
