"""Slice axis and in-plane order: from the acquisition, the same for a cohort, for any order on disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from stack_phantoms import pixels

from ActiveSegmentationLib.cohort import (
    Cohort,
    Geometry,
    PlaneGrid,
    SliceId,
    StackSettings,
    Turn,
    build_stack,
    describe_axes,
    describe_turns,
    discover,
    plane_name,
    slices_first,
)
from ActiveSegmentationLib.cohort.axes import anatomical_axes
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.loop.thumbnails import write_thumbnails

TURNS = [Turn(*parts) for parts in itertools.product((False, True), repeat=3)]


def phantom(size=(8, 14, 11)) -> np.ndarray:
    """(k, j, i) int16 without any symmetry."""
    k, j, i = np.mgrid[tuple(slice(n) for n in size)]
    return (100 * k + 7 * j + i + 40 * (j > 9) * (i < 3)).astype(np.int16)


def save(path: Path, array: np.ndarray, spacing=(1.0, 1.0, 1.0), *, order: str | None = None, direction=None) -> None:
    """Write an image that lies left, posterior, superior, stored in another order where one is named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image if order is None else sitk.DICOMOrient(image, order), str(path))


def planes_of(cohort: Cohort) -> dict[str, str]:
    return {volume.id: plane_name(volume) for volume in cohort.volumes}


@pytest.mark.parametrize(
    ("size", "spacing", "axis"),
    [
        ((9, 8, 7), (1.5, 1.5, 10.0), 2),
        ((9, 8, 7), (10.0, 1.5, 1.5), 0),
        ((9, 8, 7), (0.7, 0.7, 0.5), 2),  # thin slices: the odd one out is the smallest
        ((9, 8, 7), (0.7, 0.5, 0.7), 1),
        ((9, 8, 7), (0.7, 0.7001, 0.5), 2),  # rounding of headers
        ((9, 8, 7), (1.2, 1.4, 5.0), 2),  # oblong pixels
        ((9, 8, 7), (5.0, 1.2, 1.4), 0),
        ((9, 8, 7), (1.0, 1.0, 1.0), 2),
        ((9, 8, 7), (1.0, 1.0, 1.004), 2),
        ((9, 8, 1), (1.5, 1.5, 1.0), 2),  # one slice, whatever its thickness
        ((9, 8, 1), (1.5, 1.5, 9.0), 2),
        ((1, 8, 9), (1.0, 1.5, 1.5), 0),
        ((9, 1, 8), (0.5, 0.5, 3.0), 1),
        ((1, 9, 1), (1.0, 1.0, 1.0), 2),
    ],
)
def test_axis_of_a_volume_by_itself(tmp_path, size, spacing, axis):
    save(tmp_path / "v.nii.gz", pixels(1, size[::-1]).astype(np.int16), spacing)
    volume = discover(tmp_path).volumes[0]
    assert (volume.axis, volume.slice_count) == (axis, size[axis])


def test_axis_of_pictures_and_of_2d_volumes(tmp_path):
    image = sitk.GetImageFromArray(pixels(0, (12, 10)).astype(np.int16))
    image.SetSpacing((3.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "flat.nii.gz"))
    volume = discover(tmp_path).volumes[0]
    assert (volume.axis, volume.plane_shape, volume.slice_count, volume.axis_reason) == (2, (12, 10), 1, "one slice")


def test_isotropic_volumes_follow_what_was_acquired(tmp_path):
    for n in range(2):
        save(tmp_path / f"thick{n}.nii.gz", phantom() + n, (1.0, 1.0, 6.0))
    for order in ("SLA", "ASL", "PSR", "LPS"):
        save(tmp_path / f"iso{order}.nii.gz", phantom(), order=order)
    save(tmp_path / "thin.nii.gz", phantom(), (0.7, 0.7, 0.5), order="ILP")
    cohort = discover(tmp_path)
    assert set(planes_of(cohort).values()) == {"axial"}
    assert cohort.volume("isoSLA").axis == 0
    assert cohort.volume("isoASL").axis == 1
    assert not cohort.problems
    text = [str(found) for found in describe_axes(cohort)]
    assert "axial slices (third image axis): largest spacing 6 mm, in 2 of 7 volumes" in text
    assert "axial slices (first image axis): spacing that differs from the pixels' 0.5 mm, in 1 of 7 volumes" in text


def test_one_odd_volume_does_not_turn_a_cohort_that_does_not_tell(tmp_path):
    for n in range(12):
        save(tmp_path / f"iso{n}.nii.gz", phantom() + n)
    save(tmp_path / "odd.nii.gz", phantom() - 5, (5.0, 1.0, 1.0))
    cohort = discover(tmp_path)
    assert set(planes_of(cohort).values()) == {"axial"}
    assert [problem.where for problem in cohort.problems] == ["odd"]
    assert "acquired in sagittal slices" in cohort.problems[0].message
    assert "5 mm" in cohort.problems[0].message
    assert "--axis own" in cohort.problems[0].advice
    own = discover(tmp_path, axis="own")
    assert planes_of(own)["odd"] == "sagittal"
    assert not own.problems


def test_axis_as_given(tmp_path):
    save(tmp_path / "lps.nii.gz", phantom(), (1.0, 1.0, 5.0))
    save(tmp_path / "sla.nii.gz", phantom(), (1.0, 1.0, 5.0), order="SLA")
    save(tmp_path / "one.nii.gz", phantom((1, 14, 11)), (1.0, 1.0, 5.0))
    for plane in ("sagittal", "coronal", "axial"):
        cohort = discover(tmp_path, axis=plane)
        assert {planes_of(cohort)[name] for name in ("lps", "sla")} == {plane}
        assert cohort.volume("one").slice_count == 1
    assert [volume.axis for volume in discover(tmp_path, axis=0).volumes] == [0, 0, 0]
    for wrong in ("transverse", 3, -1):
        with pytest.raises(BadInput, match="not a slice axis"):
            discover(tmp_path, axis=wrong)


def test_oblique_volumes_have_three_different_axes():
    rng = np.random.default_rng(5)
    for _ in range(200):
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        geometry = Geometry((4, 4, 4), (1.0, 1.0, 1.0), direction=tuple(q.ravel()))
        assert sorted(anatomical_axes(geometry)) == [0, 1, 2]
    half = np.sqrt(0.5)
    geometry = Geometry((4, 4, 4), (1.0, 1.0, 1.0), direction=(half, -half, 0.0, half, half, 0.0, 0.0, 0.0, 1.0))
    assert anatomical_axes(geometry)[2] == 2


def rotated(degrees: float, across: int = 2) -> tuple[float, ...]:
    """Direction matrix of a rotation about an axis."""
    matrix, (a, b) = np.eye(3), [axis for axis in range(3) if axis != across]
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = cos, -sin, sin, cos
    return tuple(matrix.ravel())


def test_oblique_volumes_keep_their_acquisition_and_are_not_torn_apart(tmp_path):
    """Short-axis planes of hearts lie about half-way between anatomical ones."""
    for n, degrees in enumerate((38, 41, 44, 47, 50, 53)):
        save(tmp_path / f"normal/v{n}.nii.gz", phantom() + n, (1.0, 1.0, 8.0), direction=rotated(degrees, across=0))
        save(tmp_path / f"plane/v{n}.nii.gz", phantom() + n, (1.0, 1.0, 8.0), direction=rotated(degrees))
    for folder in ("normal", "plane"):
        cohort = discover(tmp_path / folder)
        assert {volume.axis for volume in cohort.volumes} == {2}
        assert not cohort.problems
        assert describe_turns(cohort) is None
    save(tmp_path / "plane/turned.nii.gz", phantom() - 9, (1.0, 1.0, 8.0), direction=rotated(45 + 180))
    cohort = discover(tmp_path / "plane")
    assert [volume.id for volume in cohort.volumes if volume.turn] == ["turned"]
    assert cohort.volume("turned").turn == Turn(False, True, True)


def test_stored_orders_come_out_alike_and_go_back_as_stored(tmp_path):
    array = phantom()
    orders = ("LPS", "RAS", "RAI", "SLA", "PIR", "ASL")
    for order in orders:
        save(tmp_path / f"c/{order}.nii.gz", array, (1.0, 1.0, 5.0), order=order)
    save(tmp_path / "c/LPS2.nii.gz", array, (1.0, 1.0, 5.0))
    cohort = discover(tmp_path / "c")
    assert describe_turns(cohort).startswith("5 of 7 volumes") or describe_turns(cohort).startswith("4 of 7 volumes")
    stack = build_stack(cohort, StackSettings(), tmp_path / "cache", workers=1)
    wanted = stack.images[stack.volume_rows("LPS2")]
    for order in orders:
        found = stack.images[stack.volume_rows(order)]
        assert np.array_equal(found, wanted) or np.array_equal(found[::-1], wanted), order
    for volume in stack.volumes:
        image = sitk.ReadImage(str(tmp_path / f"c/{volume.id}.nii.gz"))
        stored = slices_first(sitk.GetArrayFromImage(image), volume.axis)
        assert volume.plane_shape == stored.shape[1:]
        own = (np.arange(stored[0].size).reshape(stored[0].shape) % 3).astype(np.uint8)
        one_hot = (stack.to_grid(own, volume.id)[None] == np.arange(3)[:, None, None]).astype(np.float32)
        assert np.array_equal(stack.from_grid(one_hot, volume.id).argmax(0), own)


def test_thumbnails_of_all_stored_orders_are_one_picture(tmp_path):
    for order in ("LPS", "RAS", "SLA", "PIR"):
        save(tmp_path / f"c/{order}.nii.gz", phantom(), (1.0, 1.0, 5.0), order=order)
    stack = build_stack(discover(tmp_path / "c"), StackSettings(), tmp_path / "cache", workers=1)
    ids = [SliceId(name, k) for name, k in (("LPS", 1), ("RAS", 1), ("SLA", 1), ("PIR", 6))]
    pictures = [sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in write_thumbnails(stack, ids, tmp_path).values()]
    assert all(np.abs(picture.astype(int) - pictures[0]).max() <= 1 for picture in pictures[1:])


def test_a_cohort_stored_alike_is_left_as_it_is(tmp_path):
    for n in range(3):
        save(tmp_path / f"c/v{n}.nii.gz", phantom() + n, (1.0, 1.0, 5.0), order="PIR")
    cohort = discover(tmp_path / "c")
    assert describe_turns(cohort) is None
    assert not any(volume.turn for volume in cohort.volumes)
    stack = build_stack(cohort, StackSettings(), tmp_path / "cache", workers=1)
    assert "turn" not in cohort.to_json()["volumes"][0]
    assert stack.volumes[0].grid.turn == Turn()


def test_cohort_files_of_earlier_versions_open_as_they_were(tmp_path):
    save(tmp_path / "lps.nii.gz", phantom(), (1.0, 1.0, 5.0))
    save(tmp_path / "lps2.nii.gz", phantom(), (1.0, 1.0, 5.0))
    save(tmp_path / "ras.nii.gz", phantom(), (1.0, 1.0, 5.0), order="RAS")
    cohort = discover(tmp_path)
    assert cohort.volume("ras").turn == Turn(False, True, True)
    assert Cohort.from_json(cohort.to_json(), tmp_path) == cohort
    written = cohort.to_json()
    for volume in written["volumes"]:
        del volume["axis_reason"]
        volume.pop("turn", None)
    earlier = Cohort.from_json(written, tmp_path)
    assert not any(volume.turn for volume in earlier.volumes)
    assert [str(found) for found in describe_axes(earlier)] == [
        "axial slices (third image axis): as the study has it, in 3 of 3 volumes"
    ]


@pytest.mark.parametrize("turn", TURNS)
def test_turned_grid_against_a_turned_plane(turn):
    rng = np.random.default_rng(1)
    plane = rng.integers(0, 3, (9, 13)).astype(np.uint8)
    turned = turn.apply(plane)
    assert np.array_equal(turn.undo(turned), plane)
    assert turned.shape == turn.pair(plane.shape)
    plain = PlaneGrid(turned.shape, (16, 12), (1.3, 0.9))
    own = PlaneGrid(plane.shape, (16, 12), (1.3, 0.9), turn)
    assert np.array_equal(own.labels_to_grid(plane), plain.labels_to_grid(turned))
    image = rng.normal(size=(1, 2, 9, 13)).astype(np.float32)
    assert np.array_equal(
        own.images_to_grid(image, np.zeros(1)),
        plain.images_to_grid(np.ascontiguousarray(turn.apply(image)), np.zeros(1)),
    )
    values = rng.random((2, 16, 12)).astype(np.float32)
    back = own.probabilities_from_grid(values)
    assert np.array_equal(turn.apply(back), plain.probabilities_from_grid(values))


def test_index_shows_the_axis_with_its_reason_and_what_is_turned(tmp_path, capsys):
    from ActiveSegmentationLib.cli.main import main

    for name, order in (("a", "LPS"), ("b", "LPS"), ("c", "RAS")):
        save(tmp_path / f"{name}.nii.gz", phantom() + ord(name), (1.0, 1.0, 5.0), order=order)
    assert main(["index", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "axial slices (third image axis): largest spacing 5 mm, in 3 of 3 volumes" in output
    assert "1 of 3 volumes are stored in another order than most" in output
    assert main(["index", str(tmp_path), "--axis", "Coronal"]) == 0
    assert "coronal slices (second image axis): chosen with --axis, in 3 of 3 volumes" in capsys.readouterr().out
