from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ActiveSegmentationLib.cohort import AnnotationKind, LabelSource, SliceId, Source, slices_first
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
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
    files = export_annotations(first, out, format=format, ignore_value=ignore)
    expected = first.annotations()
    assert [file.parent for file in files] == [out] * len({s.volume for s in expected})
    if not files:
        return
    counts = import_annotations(second, out, annotator="Zoe", kind=kind, ignore_value=ignore)
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
        (path,) = export_annotations(study, tmp_path, format=format, ignore_value=7)
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


@pytest.mark.parametrize(("arguments", "message"), [({"format": "xls"}, "xls"), ({"ignore_value": 85}, "85")])
def test_impossible_exports_are_refused(make_study, annotate, tmp_path, arguments, message):
    study = make_study()
    study.commit([annotate(study)])
    with pytest.raises(BadInput, match=message):
        export_annotations(study, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0, 256, -1])
def test_impossible_ignore_values_are_refused(make_study, tmp_path, value):
    with pytest.raises(BadInput, match="ignore value"):
        export_annotations(make_study(), tmp_path, ignore_value=value)


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


def test_with_undecided_pixels_every_decided_slice_counts(sparse):
    study, path, array = sparse
    array[0], array[3, 0] = 9, 9
    write(path, array, study)
    assert import_annotations(study, path, annotator="A", kind=MASK, ignore_value=9) == {"v000": (3, 0)}
    found = study.annotations()
    assert [slice_id.index for slice_id in found] == [1, 2, 3]
    assert np.array_equal(found[SliceId("v000", 3)].labels, np.where(array[3] == 9, 255, array[3]))
    assert study.audit.verify() == []


def test_scribbles_need_undecided_pixels(sparse):
    study, path, array = sparse
    with pytest.raises(BadInput, match=r"every pixel is decided.*ignore value"):
        import_annotations(study, path, annotator="A", kind=SCRIBBLE)
    array[array == 0] = 255
    array[2, 0] = 0
    write(path, array, study)
    assert import_annotations(study, path, annotator="A", kind=SCRIBBLE) == {"v000": (3, 0)}
    assert (study.annotations()[SliceId("v000", 2)].labels[0] == 0).all()


def test_the_cohorts_own_ignore_value_is_the_default_for_scribbles(make_cohort, tmp_path):
    cohort = make_cohort()
    source = LabelSource(Source("file", ("v000_scribble.nii.gz",)), undecided=4)
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
        second.write_requests(RequestList(number, "random", 0, {}, tuple(requests)))
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
        with pytest.raises(BadInput, match=r"Nothing is decided.*--all-slices"):
            import_annotations(study, path.parent, annotator="A", kind=MASK, slices=slices)
    write(path, np.zeros_like(array), study)
    assert import_annotations(study, path, annotator="A", kind=MASK, slices="all") == {"v000": (len(array), 0)}


def test_maps_that_belong_nowhere_are_refused_before_anything_is_stored(sparse, tmp_path):
    study, path, array = sparse
    folder = path.parent
    (folder / "readme.txt").write_text("not a map")
    cases = [
        ("v777.nii.gz", "belongs to no volume.*v000"),
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
    with pytest.raises(BadInput, match="index 4"):
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
