from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, slices_first
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Study, hash_labels


def literal_read(study: Study, volume_id: str, stem: str) -> dict[int, np.ndarray]:
    """The content of the two files, read independently of this library."""
    import SimpleITK

    folder = study.folder / "annotations" / volume_id
    about = json.loads((folder / f"{stem}.slices.json").read_text())
    stored = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{stem}.seg.nrrd")))
    slices = {}
    for index, record in about["slices"].items():
        if record["committed"] is None:
            continue
        plane = np.take(stored, int(index), axis=2 - about["axis"])
        if record["committed"]["kind"] == "scribble":
            plane = np.array(
                [[255 if v == 0 else 0 if v == about["background_value"] else v for v in r] for r in plane]
            )
        slices[int(index)] = plane
    return slices


@st.composite
def commits(draw):
    axis = draw(st.integers(0, 2))
    size = draw(st.tuples(*[st.integers(2, 5)] * 3))
    count = draw(st.integers(1, 6))
    one = st.tuples(
        st.integers(0, size[axis] - 1),
        st.integers(0, 2**31),
        st.sampled_from(["mask", "scribble"]),
        st.sampled_from(["Anna", "Björn"]),
        st.sampled_from(["v000", "v001"]),
        st.booleans(),
    )
    return axis, size, draw(st.lists(one, min_size=count, max_size=count))


@settings(max_examples=25, deadline=None)
@given(commits())
def test_what_is_committed_is_what_is_read(make_study, annotate, drawn):
    axis, size, slices = drawn
    study = make_study(axis=axis, size=size, names={5: "a", 85: "b", 200: "c"})
    latest, by_person = {}, {}
    for index, seed, kind, annotator, volume, open_pixels in slices:
        annotation = annotate(
            study, index, seed, kind=kind, annotator=annotator, volume=volume, open_pixels=open_pixels
        )
        study.commit([annotation])
        latest[annotation.slice] = annotation
        by_person[annotator, annotation.slice] = annotation
    again = Study.open(study.folder)
    for opened in (study, again):
        found = opened.annotations()
        assert list(found) == sorted(latest)
        for slice_id, annotation in found.items():
            expected = latest[slice_id]
            assert np.array_equal(annotation.labels, expected.labels)
            assert annotation.labels.dtype == np.uint8
            assert (annotation.kind, annotation.annotator, annotation.round, annotation.seconds) == (
                expected.kind,
                expected.annotator,
                expected.round,
                expected.seconds,
            )
    for (annotator, slice_id), annotation in by_person.items():
        stem = annotator.casefold()
        assert np.array_equal(literal_read(again, slice_id.volume, stem)[slice_id.index], annotation.labels)
        assert np.array_equal(again.annotations(annotator)[slice_id].labels, annotation.labels)
    assert again.audit.verify() == []


def test_a_committed_empty_slice_is_background_for_sure(make_study, annotate):
    study = make_study()
    empty = replace(annotate(study, 1), labels=np.zeros((5, 6), np.uint8))
    study.commit([empty])
    assert (study.annotations()[SliceId("v000", 1)].labels == 0).all()
    assert len(study.annotations()) == 1


def test_a_scribble_of_background_only_is_kept(make_study, annotate):
    study = make_study("scribble")
    labels = np.full((5, 6), 255, np.uint8)
    labels[2, 1:4] = 0
    study.commit([replace(annotate(study, 1, kind="scribble"), labels=labels)])
    assert np.array_equal(Study.open(study.folder).annotations()[SliceId("v000", 1)].labels, labels)


def test_commits_of_slices_keep_each_other(make_study, annotate):
    study = make_study()
    first, second = annotate(study, 0, 1), annotate(study, 3, 2)
    study.commit([first])
    study.commit([second])
    found = study.annotations()
    assert np.array_equal(found[first.slice].labels, first.labels)
    assert np.array_equal(found[second.slice].labels, second.labels)


def test_an_earlier_commit_is_kept_as_a_version(make_study, annotate):
    study = make_study()
    first, second = annotate(study, 0, 1, round=1), annotate(study, 0, 2, round=2)
    study.commit([first])
    study.commit([second])
    (file,) = study.slice_files()
    record = file.slices[0]
    assert record.committed.labels_sha256 == hash_labels(second.labels)
    assert [version.labels_sha256 for version in record.versions] == [hash_labels(first.labels)]
    assert record.versions[0].round == 1
    assert record.versions[0].committed_at.startswith("2025-03-01T")


def test_the_latest_of_two_annotators_wins_whatever_the_order_of_files(make_study, annotate):
    study = make_study()
    by_zoe, by_anna = annotate(study, 0, 1, annotator="Zoe"), annotate(study, 0, 2, annotator="Anna")
    study.commit([by_anna])
    study.commit([by_zoe])
    assert study.annotations()[by_anna.slice].annotator == "Anna"
    assert study.annotations("zoe")[by_zoe.slice].annotator == "Zoe"
    assert study.annotations("unknown") == {}


def test_times_in_other_zones_are_compared_as_moments(make_study, annotate):
    study = make_study()
    early = replace(annotate(study, annotator="Anna"), committed_at="2025-03-01T12:00:00+05:00")
    late = replace(annotate(study, annotator="Zoe"), committed_at="2025-03-01T08:00:00+00:00")
    study.commit([late, early])
    assert study.annotations()[SliceId("v000", 0)].annotator == "Zoe"


def test_names_that_differ_in_case_are_one_person(make_study, annotate):
    study = make_study()
    study.commit([annotate(study, 0, annotator="Anna")])
    study.commit([annotate(study, 1, annotator="ANNA")])
    assert {annotation.annotator for annotation in study.annotations().values()} == {"Anna"}
    assert len(list((study.folder / "annotations" / "v000").glob("*.slices.json"))) == 1


def test_another_open_study_sees_a_commit(make_study, annotate):
    study = make_study()
    other = Study.open(study.folder)
    assert other.annotations() == {}
    annotation = annotate(study, 2)
    study.commit([annotation])
    assert list(other.annotations()) == [annotation.slice]
    again = annotate(study, 2, seed=9)
    study.commit([again])
    assert np.array_equal(other.annotations()[again.slice].labels, again.labels)


def test_returned_arrays_cannot_be_changed_and_given_ones_are_copied(make_study, annotate):
    study = make_study()
    annotation = annotate(study, 2)
    before = annotation.labels.copy()
    study.commit([annotation])
    annotation.labels[:] = 0
    found = study.annotations()[annotation.slice]
    assert np.array_equal(found.labels, before)
    with pytest.raises(ValueError, match="read-only"):
        found.labels[0, 0] = 0


def test_a_wrong_shape_is_refused_with_both_shapes(make_study, annotate):
    study = make_study()
    wrong = replace(annotate(study), labels=np.zeros((6, 5), np.uint8))
    with pytest.raises(BadInput, match=r"v000, slice 1: .*6 x 5.*5 x 6"):
        study.commit([wrong])


def test_foreign_values_are_refused_with_the_allowed_ones(make_study, annotate):
    study = make_study()
    annotation = annotate(study)
    annotation.labels[1, 1:3] = (7, 254)
    with pytest.raises(BadInput, match=r"7, 254.*5 \(left ventricle\), 85 \(myocardium\), 200.*255"):
        study.commit([annotation])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slice": SliceId("v000", 4)}, "no slice 5.*1 to 4"),
        ({"slice": SliceId("v000", -1)}, "no slice 0"),
        ({"slice": SliceId("../v000", 0)}, "no volume"),
        ({"labels": np.full((5, 6), 255, np.uint8)}, "Nothing is drawn.*skip"),
        ({"labels": np.zeros((5, 6), np.float32)}, "float32"),
        ({"labels": np.full((5, 6), 261, np.int64)}, "261"),
        ({"labels": np.full((5, 6), -1, np.int64)}, "-1"),
        ({"seconds": float("nan")}, "not a duration"),
        ({"seconds": -1.0}, "not a duration"),
        ({"round": -1}, "no round"),
        ({"committed_at": "yesterday"}, "not a time"),
        ({"annotator": " "}, "annotator"),
        ({"kind": "polygon"}, "polygon"),
    ],
)
def test_impossible_annotations_are_refused_and_nothing_is_stored(make_study, annotate, change, message):
    study = make_study()
    good = annotate(study, 1)
    with pytest.raises(BadInput, match=message):
        study.commit([good, replace(annotate(study, 0), **change)])
    assert study.annotations() == {}
    assert not (study.folder / "annotations").exists()


def test_an_undrawn_scribble_is_refused(make_study, annotate):
    study = make_study("scribble")
    undrawn = replace(annotate(study, kind="scribble"), labels=np.full((5, 6), 255, np.uint8))
    with pytest.raises(BadInput, match="Nothing is drawn"):
        study.commit([undrawn])


def test_a_slice_twice_in_one_commit_is_refused(make_study, annotate):
    study = make_study()
    with pytest.raises(BadInput, match="slice 3: The slice occurs twice"):
        study.commit([annotate(study, 2), annotate(study, 2)])
    study.commit([annotate(study, 2, annotator="Anna"), annotate(study, 2, annotator="Zoe")])


def test_signed_and_boolean_arrays_are_taken(make_study, annotate):
    study = make_study(names={1: "a"})
    study.commit([replace(annotate(study), labels=np.eye(5, 6, dtype=bool))])
    study.commit([replace(annotate(study, 1), labels=np.eye(5, 6, dtype=np.int64))])
    assert [annotation.labels.sum() for annotation in study.annotations().values()] == [5, 5]


def test_skips_and_flags(make_study, annotate):
    study = make_study()
    blurred, other = SliceId("v000", 1), SliceId("v001", 2)
    study.skip(blurred, "Anna", "motion")
    study.flag(other, "Anna", "ask Zoe")
    study.flag(blurred, "Anna", "really")
    assert study.skipped() == {blurred: "motion"}
    assert study.flagged() == {blurred: "really", other: "ask Zoe"}
    assert study.annotations() == {}
    study.commit([annotate(study, 1, annotator="Zoe")])
    assert study.skipped() == {}
    study.commit([annotate(study, 1)])
    with pytest.raises(BadInput, match="committed already"):
        study.skip(blurred, "Anna", "changed my mind")
    assert len(study.annotations()) == 1
    assert study.audit.verify() == []


def test_flag_after_commit_keeps_the_commit(make_study, annotate):
    study = make_study()
    annotation = annotate(study, 1)
    study.commit([annotation])
    study.flag(annotation.slice, "Anna", "border unsure")
    assert np.array_equal(study.annotations()[annotation.slice].labels, annotation.labels)


def _assert_left_out(folder, pattern):
    """The damaged file of Anna in v000 is named and stops only what needs it."""
    import re

    study = Study.open(folder)
    assert study.annotations() == {}
    (problem,) = study.damaged()
    assert re.search(pattern, str(problem))
    assert problem.advice
    assert study.annotations("Zoe", volume="v000") == {}
    with pytest.raises(BadInput, match=pattern):
        study.annotations("Anna", volume="v000")


def test_a_damaged_file_stops_neither_other_volumes_nor_other_annotators(make_study, annotate):
    study = make_study()
    study.commit([annotate(study, 1), annotate(study, 1, volume="v001"), annotate(study, 1, annotator="Zoe")])
    (study.folder / "annotations" / "v000" / "anna.slices.json").write_bytes(b"{")
    study = Study.open(study.folder)
    assert {(slice_id.volume, a.annotator) for slice_id, a in study.annotations().items()} == {
        ("v000", "Zoe"),
        ("v001", "Anna"),
    }
    study.commit([annotate(study, 2, annotator="Zoe"), annotate(study, 2, volume="v001")])
    with pytest.raises(BadInput, match=r"anna\.slices\.json"):
        study.commit([annotate(study, 3)])
    status = study.status()
    assert status["annotated"] == 4
    assert len(status["damaged"]) == 1
    assert "anna.slices.json" in status["damaged"][0]


def test_a_file_that_names_another_annotator_is_not_used(make_study, annotate):
    study = make_study()
    study.commit([annotate(study, 1)])
    folder = study.folder / "annotations" / "v000"
    for name in ("slices.json", "seg.nrrd"):
        (folder / f"aaa.{name}").write_bytes((folder / f"anna.{name}").read_bytes())
    study = Study.open(study.folder)
    assert len(study.annotations()) == 1
    (problem,) = study.damaged()
    assert "aaa.slices.json: The file names another annotator, 'Anna'." in str(problem)
    assert any("aaa.slices.json" in problem for problem in study.audit.verify())


def test_a_label_map_changed_outside_is_refused_by_name(make_study, annotate):
    import SimpleITK

    study = make_study()
    study.commit([annotate(study, 1)])
    path = study.folder / "annotations" / "v000" / "anna.seg.nrrd"
    image = SimpleITK.ReadImage(str(path))
    image[0, 0, 1] = 85
    SimpleITK.WriteImage(image, str(path))
    _assert_left_out(study.folder, r"anna\.seg\.nrrd: .*not the one that was committed.*import")
    with pytest.raises(BadInput, match="not the one that was committed"):
        study.commit([annotate(study, 2)])


def test_a_label_map_saved_again_without_changes_is_fine(make_study, annotate):
    import SimpleITK

    study = make_study()
    study.commit([annotate(study, 1)])
    path = study.folder / "annotations" / "v000" / "anna.seg.nrrd"
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(path), False)
    assert len(Study.open(study.folder).annotations()) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}', b'{"schema": 99}', b"\xff\xfe"])
def test_a_damaged_slices_file_is_named(make_study, annotate, content):
    study = make_study()
    study.commit([annotate(study, 1)])
    path = study.folder / "annotations" / "v000" / "anna.slices.json"
    path.write_bytes(content)
    _assert_left_out(study.folder, r"anna\.slices\.json: .*(damaged|newer version)")


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_label_map_is_named(make_study, annotate, damage):
    study = make_study()
    study.commit([annotate(study, 1)])
    path = study.folder / "annotations" / "v000" / "anna.seg.nrrd"
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30])
    _assert_left_out(study.folder, r"anna\.seg\.nrrd")


def test_annotations_of_a_volume_that_left_the_cohort_are_not_dropped_silently(make_study, annotate):
    study = make_study()
    study.commit([annotate(study, 1)])
    (study.folder / "annotations" / "v000").rename(study.folder / "annotations" / "gone")
    assert study.annotations() == {}
    (problem,) = study.damaged()
    assert "no volume 'gone'" in str(problem)
    assert study.audit.verify() != []


def test_a_changed_grid_is_refused(make_study, annotate):
    study = make_study()
    study.commit([annotate(study, 1)])
    path = study.folder / "cohort.json"
    value = json.loads(path.read_text())
    value["volumes"][0]["geometry"]["spacing"][0] = 1.6
    path.write_text(json.dumps(value))
    _assert_left_out(study.folder, "grid or slice axis changed")


def test_the_order_of_axes_is_that_of_the_volume(make_study, annotate):
    study = make_study(axis=0, size=(3, 4, 5))
    annotation = annotate(study, 2)
    assert annotation.labels.shape == (5, 4)
    study.commit([annotation])
    import SimpleITK

    path = study.folder / "annotations" / "v000" / "anna.seg.nrrd"
    stored = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    assert np.array_equal(slices_first(stored, 0)[2], annotation.labels)
    assert np.array_equal(stored[:, :, 2], annotation.labels)
    assert annotation.kind == AnnotationKind.MASK


def test_a_clock_that_goes_back_lets_no_older_commit_win(make_study, annotate, monkeypatch):
    from ActiveSegmentationLib.study import times

    study = make_study()
    clock = iter(["2025-06-01T10:00:00.000+00:00", "2025-06-01T09:00:00.000+00:00", "2025-05-01T09:00:00.000+00:00"])
    for number, annotator in enumerate(("Anna", "Zoe", "Anna")):
        with monkeypatch.context() as patch:
            patch.setattr(times, "now", lambda: next(clock))
            study.commit([replace(annotate(study, 0, number, annotator=annotator), committed_at="")])
    (latest,) = study.annotations().values()
    assert latest.annotator == "Anna"
    assert latest.committed_at == "2025-06-01T10:00:00.002+00:00"
    assert study.audit.verify() == []


def test_a_commit_that_waits_for_another_of_the_same_name_is_later_than_it(make_study, annotate, monkeypatch):
    import contextlib

    study = make_study()
    other, writing = Study.open(study.folder), study._ledger.writing
    late = replace(annotate(study, 0, 0, annotator="Anna"), committed_at="2035-06-01T10:00:00.000+00:00")

    @contextlib.contextmanager
    def waiting(stem):
        other.commit([late])
        with writing(stem) as writer:
            yield writer

    monkeypatch.setattr(study._ledger, "writing", waiting)
    study.commit([replace(annotate(study, 0, 1, annotator="Anna"), committed_at="")])
    (latest,) = study.annotations().values()
    assert latest.committed_at == "2035-06-01T10:00:00.001+00:00"
