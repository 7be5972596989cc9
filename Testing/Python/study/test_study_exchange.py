from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ActiveSegmentationLib.cohort import AnnotationKind, LabelSource, SliceId, Source, slices_first
from ActiveSegmentationLib.common.errors import BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.study import (
    Imported,
    LabelSet,
    Request,
    RequestList,
    Study,
    export_annotations,
    import_annotations,
)

MASK, SCRIBBLE = AnnotationKind.MASK, AnnotationKind.SCRIBBLE


def read(path: Path) -> np.ndarray:
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def write(path: Path, array: np.ndarray, study: Study, volume: str = "v000") -> Path:
    import SimpleITK

    geometry = study.cohort.volume(volume).geometry
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path), True)
    return path


@settings(max_examples=15, deadline=None)
@given(
    axis=st.integers(0, 2),
    size=st.tuples(*[st.integers(2, 5)] * 3),
    kind=st.sampled_from([MASK, SCRIBBLE]),
    format=st.sampled_from(["nifti", "nrrd"]),
    ignore=st.sampled_from([255, 254, 9]),
    seed=st.integers(0, 2**31),
)
def test_import_of_export_is_the_same(make_study, annotate, tmp_path_factory, axis, size, kind, format, ignore, seed):
    first, second = (make_study(str(kind), axis=axis, size=size, volumes=3) for _ in range(2))
    rng = np.random.default_rng(seed)
    for volume in ("v000", "v002"):
        chosen = np.flatnonzero(rng.integers(0, 2, size[axis]))
        first.commit(
            [annotate(first, int(n), seed + n, volume=volume, kind=str(kind), open_pixels=bool(n % 2)) for n in chosen]
        )
    out = tmp_path_factory.mktemp("out")
    files = export_annotations(first, out, format=format, ignore_label=ignore)
    expected = first.annotations()
    assert [file.parent for file in files] == [out] * len({s.volume for s in expected})
    if not files:
        return
    counts = import_annotations(second, out, annotator="Zoe", kind=kind, ignore_label=ignore)
    found = second.annotations()
    assert counts == {
        v: Imported(sum(s.volume == v for s in expected), 0) for v in sorted({s.volume for s in expected})
    }
    assert list(found) == list(expected)
    for slice_id, annotation in found.items():
        assert np.array_equal(annotation.labels, expected[slice_id].labels)
        assert (annotation.kind, annotation.annotator, annotation.round) == (kind, "Zoe", None)


def test_exported_maps_lie_on_the_grid_of_the_volume(make_study, annotate, tmp_path):
    import SimpleITK

    study = make_study(origin=(4.0, -3.0, 2.5), direction=(0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0))
    annotation = annotate(study, 1)
    study.commit([annotation])
    for format, suffix in (("nifti", ".nii.gz"), ("nrrd", ".nrrd")):
        (path,) = export_annotations(study, tmp_path, format=format, ignore_label=7)
        assert path == tmp_path / f"v000{suffix}"
        image = SimpleITK.ReadImage(str(path))
        geometry = study.cohort.volumes[0].geometry
        assert np.allclose(image.GetOrigin(), geometry.origin, atol=1e-4)
        assert np.allclose(image.GetDirection(), geometry.direction, atol=1e-5)
        array = SimpleITK.GetArrayFromImage(image)
        assert np.array_equal(array[1], annotation.labels)
        assert (np.delete(array, 1, axis=0) == 7).all()


def test_export_of_one_annotator(make_study, annotate, tmp_path):
    study = make_study()
    by_anna, by_zoe = annotate(study, 1, 1, annotator="Anna"), annotate(study, 1, 2, annotator="Zoe")
    study.commit([by_anna, by_zoe])
    (path,) = export_annotations(study, tmp_path, annotator="Anna")
    assert np.array_equal(read(path)[1], by_anna.labels)
    (path,) = export_annotations(study, tmp_path)
    assert np.array_equal(read(path)[1], by_zoe.labels)


@pytest.mark.parametrize(("arguments", "message"), [({"format": "xls"}, "xls"), ({"ignore_label": 85}, "85")])
def test_impossible_exports_are_refused(make_study, annotate, tmp_path, arguments, message):
    study = make_study()
    study.commit([annotate(study)])
    with pytest.raises(BadInput, match=message):
        export_annotations(study, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0, 256, -1])
def test_impossible_ignore_labels_are_refused(make_study, tmp_path, value):
    with pytest.raises(BadInput, match="ignore label"):
        export_annotations(make_study(), tmp_path, ignore_label=value)


@pytest.fixture
def sparse(make_study, tmp_path):
    """A study and a full mask of its first volume with labels on slices 1 and 3 only."""
    study = make_study()
    array = np.zeros((4, 5, 6), np.uint8)
    array[1, 2, 2:4] = 5
    array[3, 1, 1] = 200
    return study, write(tmp_path / "maps" / "v000.nii.gz", array, study), array


@pytest.mark.parametrize(
    ("slices", "expected"), [("non-empty", [1, 3]), ("all", [0, 1, 2, 3]), ([3, 0], [0, 3]), ([2], [2])]
)
def test_which_slices_of_a_full_mask_count(sparse, slices, expected):
    study, path, array = sparse
    assert import_annotations(study, path.parent, annotator="A", kind=MASK, slices=slices) == {
        "v000": (len(expected), 0)
    }
    found = study.annotations()
    assert [slice_id.index for slice_id in found] == expected
    for slice_id, annotation in found.items():
        assert np.array_equal(annotation.labels, array[slice_id.index])


def test_with_unlabelled_pixels_every_decided_slice_counts(sparse):
    study, path, array = sparse
    array[0], array[3, 0] = 9, 9
    write(path, array, study)
    assert import_annotations(study, path, annotator="A", kind=MASK, ignore_label=9) == {"v000": (3, 0)}
    found = study.annotations()
    assert [slice_id.index for slice_id in found] == [1, 2, 3]
    assert np.array_equal(found[SliceId("v000", 3)].labels, np.where(array[3] == 9, 255, array[3]))
    assert study.audit.verify() == []


def test_scribbles_need_unlabelled_pixels(sparse):
    study, path, array = sparse
    with pytest.raises(BadInput, match=r"every pixel is labelled.*ignore-value"):
        import_annotations(study, path, annotator="A", kind=SCRIBBLE)
    array[array == 0] = 255
    array[2, 0] = 0
    write(path, array, study)
    assert import_annotations(study, path, annotator="A", kind=SCRIBBLE) == {"v000": (3, 0)}
    assert (study.annotations()[SliceId("v000", 2)].labels[0] == 0).all()


def test_the_cohorts_own_ignore_label_is_the_default_for_scribbles(make_cohort, tmp_path):
    cohort = make_cohort()
    source = LabelSource(Source("file", ("v000_scribble.nii.gz",)), ignore_label=4)
    cohort = cohort.with_volumes((replace(cohort.volumes[0], scribble=source), *cohort.volumes[1:]))
    study = Study.create(tmp_path / "s", cohort, LabelSet.from_names({1: "a"}), SCRIBBLE)
    array = np.full((4, 5, 6), 4, np.uint8)
    array[2, 0], array[2, 1] = 0, 1
    path = write(tmp_path / "v000.nrrd", array, study)
    assert import_annotations(study, path, annotator="A", kind=SCRIBBLE) == {"v000": (1, 0)}
    assert (study.annotations()[SliceId("v000", 2)].labels[2:] == 255).all()


def test_repeating_an_import_changes_nothing_and_an_interrupted_one_goes_on(make_study, annotate, tmp_path):
    first, second = make_study(volumes=4), make_study(volumes=4)
    first.commit([annotate(first, 1, n, volume=f"v00{n}") for n in range(4)])
    export_annotations(first, tmp_path)

    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        import_annotations(second, tmp_path, annotator="A", kind=MASK, progress=Progress(lambda: next(asked)))
    assert second.annotations() == {}  # it was still looking whether every map can be used
    asked = iter([*[False] * 4, False, False, True])
    with pytest.raises(Cancelled, match="2 slices of v000, v001 are committed"):
        import_annotations(second, tmp_path, annotator="A", kind=MASK, progress=Progress(lambda: next(asked)))
    assert len(second.annotations()) == 2
    counts = import_annotations(second, tmp_path, annotator="A", kind=MASK)
    assert counts == {f"v00{n}": (int(n > 1), int(n < 2)) for n in range(4)}
    before = [record["seq"] for record in second.audit.records("A")]
    assert len(before) == 4
    assert import_annotations(second, tmp_path, annotator="A", kind=MASK) == {f"v00{n}": (0, 1) for n in range(4)}
    assert [record["seq"] for record in second.audit.records("A")] == before
    changed = annotate(first, 1, 77, volume="v002")
    first.commit([changed])
    export_annotations(first, tmp_path)
    import_annotations(second, tmp_path, annotator="A", kind=MASK)
    assert len(second.audit.records("A")) == 5
    assert np.array_equal(second.annotations()[changed.slice].labels, changed.labels)


def test_imported_slices_belong_to_the_round_that_asked_for_them(make_study, annotate, tmp_path):
    first, second = make_study(), make_study()
    drawn = [annotate(first, n) for n in range(3)]
    first.commit(drawn)
    export_annotations(first, tmp_path)
    for number, asked in enumerate([(0, 3), (1,)], start=1):
        requests = [Request(SliceId("v000", n), "p000", 2, None, "test") for n in asked]
        second.requests.write(RequestList(number, "random", 0, {}, tuple(requests)))
    import_annotations(second, tmp_path, annotator="A", kind=MASK)
    assert [annotation.round for annotation in second.annotations().values()] == [1, 2, None]
    assert [request.slice.index for request in second.open_requests(1)] == [3]
    first.commit([annotate(first, 0, 77)])
    export_annotations(first, tmp_path)
    assert import_annotations(second, tmp_path, annotator="A", kind=MASK) == {"v000": (1, 2)}
    assert second.annotations()[SliceId("v000", 0)].round == 1
    import_annotations(second, tmp_path, annotator="B", kind=MASK)
    assert [annotation.round for annotation in second.annotations("B").values()] == [1, 2, None]


def test_maps_without_anything_decided_are_refused(sparse):
    study, path, array = sparse
    for empty, slices in ((0, "non-empty"), (255, "all")):
        write(path, np.full_like(array, empty), study)
        with pytest.raises(BadInput, match=r"Nothing is labelled.*--all-slices"):
            import_annotations(study, path.parent, annotator="A", kind=MASK, slices=slices)
    write(path, np.zeros_like(array), study)
    assert import_annotations(study, path, annotator="A", kind=MASK, slices="all") == {"v000": (len(array), 0)}


def test_maps_that_belong_nowhere_are_refused_before_anything_is_stored(sparse, tmp_path):
    study, path, array = sparse
    folder = path.parent
    (folder / "readme.txt").write_text("not a map")
    cases = [
        ("v777.nii.gz", "does not belong to a volume.*v000"),
        ("v000.nrrd", "two label maps of volume 'v000'"),
    ]
    for name, message in cases:
        extra = write(folder / name, array, study)
        with pytest.raises(BadInput, match=message):
            import_annotations(study, folder, annotator="A", kind=MASK)
        extra.unlink()
    with pytest.raises(BadInput, match="no such file"):
        import_annotations(study, tmp_path / "nowhere", annotator="A", kind=MASK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no label map.*v000\.nii\.gz"):
        import_annotations(study, tmp_path / "empty", annotator="A", kind=MASK)
    with pytest.raises(BadInput, match="'some'"):
        import_annotations(study, folder, annotator="A", kind=MASK, slices="some")
    with pytest.raises(BadInput, match=r"Slice 5 \(counted from 1\)"):
        import_annotations(study, folder, annotator="A", kind=MASK, slices=[4])
    study.exclude("v000", "x")
    with pytest.raises(BadInput, match="excluded"):
        import_annotations(study, folder, annotator="A", kind=MASK)
    assert study.annotations(include_excluded=True) == {}


def test_foreign_values_and_grids_are_refused(sparse):
    study, path, array = sparse
    array[0, 0, 0] = 77
    write(path, array, study)
    with pytest.raises(BadInput, match=r"v000\.nii\.gz: .*77"):
        import_annotations(study, path, annotator="A", kind=MASK)
    write(path, array[:3], study)
    with pytest.raises(BadInput, match="v000"):
        import_annotations(study, path, annotator="A", kind=MASK)
    assert study.annotations() == {}


def test_the_segmentation_of_another_study_can_be_imported(make_study, annotate):
    for kind in (MASK, SCRIBBLE):
        first, second = make_study(str(kind)), make_study(str(kind))
        annotations = [annotate(first, 1, 1, kind=str(kind)), annotate(first, 3, 2, kind=str(kind))]
        first.commit(annotations)
        path = first.folder / "annotations" / "v000" / "anna.seg.nrrd"
        assert import_annotations(second, path, annotator="B", kind=kind, round=3) == {"v000": (2, 0)}
        for annotation in annotations:
            found = second.annotations()[annotation.slice]
            assert np.array_equal(found.labels, annotation.labels)
            assert found.round == 3


def test_a_segmentation_with_open_pixels_counts_drawn_slices_only(make_study, annotate):
    first, second = make_study(), make_study()
    partial = annotate(first, 2, 5, open_pixels=True)
    first.commit([partial])
    path = first.folder / "annotations" / "v000" / "anna.seg.nrrd"
    assert import_annotations(second, path, annotator="B", kind=MASK) == {"v000": (1, 0)}
    assert np.array_equal(second.annotations()[partial.slice].labels, partial.labels)


def test_slices_are_counted_along_the_volumes_axis(make_study, tmp_path):
    study = make_study(axis=1, size=(3, 4, 5))
    array = np.zeros((5, 4, 3), np.uint8)
    array[:, 2, :] = 85
    path = write(tmp_path / "v000.mha", array, study)
    import_annotations(study, path, annotator="A", kind=MASK)
    ((slice_id, annotation),) = study.annotations().items()
    assert slice_id.index == 2
    assert np.array_equal(annotation.labels, slices_first(array, 1)[2])


@pytest.mark.parametrize("held", [None, 0])
def test_one_map_that_cannot_be_used_keeps_all_others_out(make_study, annotate, tmp_path, monkeypatch, held):
    if held is not None:
        monkeypatch.setattr("ActiveSegmentationLib.study.exchange.MOST_HELD", held)
    first, second = make_study(volumes=3), make_study(volumes=3)
    first.commit([annotate(first, 1, n, volume=f"v00{n}") for n in range(3)])
    export_annotations(first, tmp_path)
    good = read(tmp_path / "v002.nii.gz")
    write(tmp_path / "v002.nii.gz", np.where(good == 85, 7, good).astype(np.uint8), second, "v002")
    with pytest.raises(BadInput, match=r"v002\.nii\.gz: .*7"):
        import_annotations(second, tmp_path, annotator="A", kind=MASK)
    assert second.annotations() == {}
    write(tmp_path / "v002.nii.gz", good, second, "v002")
    assert len(import_annotations(second, tmp_path, annotator="A", kind=MASK)) == 3


def test_what_is_kept_of_an_import_that_fails_is_reported(make_study, annotate, tmp_path, monkeypatch):
    first, second = make_study(volumes=3), make_study(volumes=3)
    first.commit([annotate(first, 1, n, volume=f"v00{n}") for n in range(3)])
    export_annotations(first, tmp_path)
    commit = second.commit

    def full_disk(annotations):
        if any(annotation.slice.volume == "v001" for annotation in annotations):
            raise JobFailed("The disk is full.", where=tmp_path)
        commit(annotations)

    monkeypatch.setattr(second, "commit", full_disk)
    with pytest.raises(JobFailed, match=r"disk is full\. 1 slices of v000 are committed"):
        import_annotations(second, tmp_path, annotator="A", kind=MASK)
    assert [slice_id.volume for slice_id in second.annotations()] == ["v000"]


def white(shape, *planes: int) -> np.ndarray:
    """A map of 0 and 255 with a square drawn on some planes."""
    array = np.zeros(shape, np.uint8)
    for plane in planes:
        array[plane, 1:4, 2:5] = 255
    return array


def test_masks_drawn_in_white_are_not_taken_for_unlabelled(sparse):
    study, path, array = sparse
    write(path, white(array.shape, 1, 2), study)
    with pytest.raises(BadInput, match=r"v000\.nii\.gz.*255.*means unlabelled.*--ignore-value 255"):
        import_annotations(study, path, annotator="A", kind=MASK)
    with pytest.raises(BadInput, match=r"every pixel is labelled|means unlabelled"):
        import_annotations(study, path, annotator="A", kind=SCRIBBLE)
    assert study.annotations() == {}
    assert import_annotations(study, path, annotator="A", kind=MASK, ignore_label=255) == {"v000": (4, 0)}


def test_empty_slices_among_unlabelled_ones_are_background(sparse):
    study, path, array = sparse
    empty = np.full_like(array, 255)
    empty[2] = 0
    write(path, empty, study)
    assert import_annotations(study, path, annotator="A", kind=MASK) == {"v000": (1, 0)}
    assert (study.annotations()[SliceId("v000", 2)].labels == 0).all()


@pytest.mark.parametrize(
    ("value", "named"), [(np.nan, "nan"), (0.5, r"0\.5"), (-1, "-1"), (300, "300"), (np.inf, "inf")]
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_values_that_are_not_labels_are_named(sparse, value, named, suffix):
    study, path, array = sparse
    path.unlink()
    odd = array.astype(np.float64)
    odd[0, 0, 0] = value
    path = write(path.parent / f"v000{suffix}", odd, study)
    with pytest.raises(BadInput, match=rf"v000\{suffix}: .*not labels: {named}"):
        import_annotations(study, path, annotator="A", kind=MASK)
    write(path, array.astype(np.float64) + 1e-6, study)
    assert import_annotations(study, path, annotator="A", kind=MASK) == {"v000": (2, 0)}


def segmentation(path: Path, array: np.ndarray, study: Study, segments: dict[str, int]) -> Path:
    """A label map as Slicer writes one, with numbered segments."""
    import SimpleITK

    geometry = study.cohort.volume("v000").geometry
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim == 4)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    for number, (name, value) in enumerate(segments.items()):
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number + 1}")
        image.SetMetaData(f"Segment{number}_Name", name.partition("#")[0])
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path), True)
    return path


@pytest.mark.parametrize("name", ["v000.seg.nrrd", "v000.nrrd"])
def test_segments_are_matched_by_name_whatever_the_files_are_called(sparse, name):
    study, path, array = sparse
    stored = np.where(array == 5, 2, np.where(array == 200, 1, 0)).astype(np.uint8)
    path = segmentation(path.parent / "s" / name, stored, study, {"Right ventricle": 1, "left ventricle": 2})
    import_annotations(study, path, annotator="A", kind=MASK)
    for slice_id, annotation in study.annotations().items():
        assert np.array_equal(annotation.labels, array[slice_id.index])


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ({"left ventricle": 1, "right ventricle": 1}, "share the value 1"),
        ({"left ventricle": 0}, "has the value '0'"),
        ({"left ventricle": 999}, "has the value '999'"),
        ({"atrium": 1}, "'atrium'"),
    ],
)
def test_segments_that_contradict_each_other_are_refused(sparse, segments, message):
    study, path, array = sparse
    path = segmentation(path.parent / "s" / "v000.seg.nrrd", (array > 0).astype(np.uint8), study, segments)
    with pytest.raises(BadInput, match=message):
        import_annotations(study, path, annotator="A", kind=MASK)


def test_layers_and_colours_are_read_whole_or_refused(sparse):
    study, path, array = sparse
    folder = path.parent / "s"
    layers = np.stack([array, np.roll(array, 1, axis=2)], axis=-1)
    for name in ("v000.seg.nrrd", "v000.nrrd"):
        segmentation(folder / name, layers, study, {"left ventricle": 5} if "seg" in name else {})
        with pytest.raises(BadInput, match=r"layers.*overlap"):
            import_annotations(study, folder / name, annotator="A", kind=MASK)
    segmentation(folder / "v000.nrrd", np.stack([array] * 3, axis=-1), study, {})
    assert import_annotations(study, folder / "v000.nrrd", annotator="A", kind=MASK) == {"v000": (2, 0)}
    for slice_id, annotation in study.annotations().items():
        assert np.array_equal(annotation.labels, array[slice_id.index])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".seg.nrrd", ".mha"])
def test_cut_maps_are_refused_with_the_reason(make_study, tmp_path, suffix):
    study = make_study(size=(40, 40, 9))
    array = np.random.default_rng(0).choice(np.array([0, 5, 85, 200], np.uint8), (9, 40, 40))
    path = segmentation(tmp_path / f"v000{suffix}", array, study, {"left ventricle": 5})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(BadInput, match=r"truncated|damaged"):
        import_annotations(study, path, annotator="A", kind=MASK)
    path.write_bytes(b"<html>")
    with pytest.raises(BadInput, match="HTML"):
        import_annotations(study, path, annotator="A", kind=MASK)


def test_exports_leave_other_files_and_corrected_maps_alone(make_study, annotate, tmp_path):
    study = make_study()
    study.commit([annotate(study, 1)])
    for name in ("annotations/v009", "rounds/7", "cache"):
        with pytest.raises(BadInput, match="keeps its own records"):
            export_annotations(study, study.folder / name)
    with pytest.raises(BadInput, match="not written by this program"):
        export_annotations(study, study.folder)
    (path,) = export_annotations(study, tmp_path / "out")
    assert export_annotations(study, tmp_path / "out") == [path]
    write(path, np.full((4, 5, 6), 85, np.uint8), study)
    with pytest.raises(BadInput, match=r"v000\.nii\.gz: The file was changed"):
        export_annotations(study, tmp_path / "out")
    assert (read(path) == 85).all()
