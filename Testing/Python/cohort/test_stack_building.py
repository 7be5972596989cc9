"""Building a stack: content, errors, resuming after a kill, and reuse."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from stack_phantoms import Recorder, add_volume, content_of, labels, pixels, small_cohort

from ActiveSegmentationLib.cohort import io as cohort_io
from ActiveSegmentationLib.cohort import stack_building, stack_checks, stack_contents
from ActiveSegmentationLib.cohort.preprocessing import PRESETS, StackSettings
from ActiveSegmentationLib.cohort.stack_building import build_stack
from ActiveSegmentationLib.cohort.stack_checks import damaged_volumes
from ActiveSegmentationLib.cohort.types import AnnotationKind, Cohort, Geometry, LabelSource, Role, Source, Volume
from ActiveSegmentationLib.common.errors import BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.common.files import write_json

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = StackSettings(percentiles=(0, 100), size=(20, 24))

SCRIPT = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
from stack_phantoms import Recorder
from ActiveSegmentationLib.cohort import stack_building
from ActiveSegmentationLib.cohort.types import Cohort
from ActiveSegmentationLib.common.files import read_json
root = Path(sys.argv[1])
recorder = Recorder()
stack = stack_building.build_stack(
    Cohort.from_json(read_json(root / "cohort.json"), root), stack_building.StackSettings(), root / "cache",
    workers=2, progress=recorder,
)
print(stack.folder.name, recorder.count("Preparing slices"), *recorder.messages)
"""


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    return small_cohort(tmp_path / "images")


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Ids of the volumes whose pixels are read."""
    seen: list[str] = []
    original = cohort_io.read_image
    monkeypatch.setattr(cohort_io, "read_image", lambda c, v: (seen.append(v.id), original(c, v))[1])
    return seen


def one(root: Path, volume: Volume) -> Cohort:
    return Cohort(root, "folder", (volume,))


def test_slices_are_the_normalised_planes(cohort, tmp_path):
    stack = build_stack(cohort, SETTINGS, tmp_path / "cache")
    for number, volume in enumerate(stack.volumes):
        array = pixels(number, (3 + number, 20, 24))
        expected = ((array - array.min()) / (array.max() - array.min())).astype(np.float16)
        np.testing.assert_array_equal(stack.images[volume.start : volume.stop, 0], expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_slice_axis_of_an_oblique_volume(tmp_path, axis):
    array = pixels(0, (6, 9, 12))
    volume = add_volume(tmp_path, "v", array, spacing=(1.0, 1.0, 1.0), axis=axis, mask=labels(0, array.shape, 3))
    stack = build_stack(one(tmp_path, volume), replace(SETTINGS, size=None), tmp_path / "cache")
    assert len(stack) == (12, 9, 6)[axis]
    rows, columns = ((6, 9), (6, 12), (9, 12))[axis]
    top, left = (16 - rows + 1) // 2, (16 - columns + 1) // 2
    for index in range(len(stack)):
        plane = np.take(array, index, axis=2 - axis)
        found = stack.images[index, 0, top : top + rows, left : left + columns]
        np.testing.assert_array_equal(found, ((plane - array.min()) / (array.max() - array.min())).astype(np.float16))
        truth = stack.truth("v", AnnotationKind.MASK)[index]
        np.testing.assert_array_equal(truth, np.take(labels(0, array.shape, 3), index, axis=2 - axis))


def test_anisotropic_planes_become_isotropic(tmp_path):
    y, x = np.mgrid[:40, :20].astype(np.float32)
    array = np.stack([(0.5 * y) ** 2 + (2.0 * x) ** 2] * 3)  # depends on millimetres only
    volume = add_volume(tmp_path, "v", array, spacing=(2.0, 0.5, 6.0))
    stack = build_stack(one(tmp_path, volume), replace(SETTINGS, spacing=1.0, size=(20, 40)), tmp_path / "cache")
    plane = stack.images[0, 0].astype(np.float32) * array.max()
    y, x = 0.25 + np.arange(20), -0.5 + np.arange(40)  # centres of the grid's pixels in millimetres
    expected = y[2:-2, None] ** 2 + x[None, 2:-2] ** 2
    np.testing.assert_allclose(plane[2:-2, 2:-2], expected, atol=0.01 * array.max())


def test_channels_are_normalised_alone_and_chosen_by_number(tmp_path):
    array = np.stack([pixels(0, (3, 16, 16)), 50 * pixels(1, (3, 16, 16)) + 9])
    cohort = one(tmp_path, add_volume(tmp_path, "v", array))
    settings = replace(SETTINGS, size=(16, 16))
    both = build_stack(cohort, settings, tmp_path / "cache")
    assert both.channels == 2
    assert both.images.min(axis=(0, 2, 3)).tolist() == [0, 0]
    assert both.images.max(axis=(0, 2, 3)).tolist() == [1, 1]
    second = build_stack(cohort, replace(settings, channels=(1,)), tmp_path / "cache")
    np.testing.assert_array_equal(second.images[:, 0], both.images[:, 1])
    with pytest.raises(BadInput, match=r"channel\(s\) 2 .*: v \(2\)"):
        build_stack(cohort, replace(settings, channels=(2,)), tmp_path / "cache")


def test_blank_slices_are_marked(tmp_path):
    array = pixels(0, (5, 16, 16))
    array[1] = 37.1
    array[3] = 500 + np.random.default_rng(0).random((16, 16))
    stack = build_stack(one(tmp_path, add_volume(tmp_path, "v", array)), SETTINGS, tmp_path / "cache")
    assert stack.blank.tolist() == [False, True, False, True, False]
    constant = one(tmp_path, add_volume(tmp_path, "c", np.full((3, 16, 16), 5.3, np.float32)))
    assert build_stack(constant, SETTINGS, tmp_path / "cache").blank.all()


def test_beyond_the_image_lies_the_volumes_minimum(tmp_path):
    volume = add_volume(tmp_path, "v", pixels(0, (3, 16, 16)))
    settings = StackSettings(normalisation="zscore", size=(24, 24))
    stack = build_stack(one(tmp_path, volume), settings, tmp_path / "cache")
    assert (stack.images[:, :, :4] == stack.images.min()).all()


def test_the_result_does_not_depend_on_threads_or_place(cohort, tmp_path):
    first = build_stack(cohort, StackSettings(), tmp_path / "one", workers=1)
    moved = small_cohort(tmp_path / "elsewhere")
    second = build_stack(moved, StackSettings(), tmp_path / "two", workers=4)
    assert content_of(first.folder) == content_of(second.folder)
    assert first.folder.name == second.folder.name == first.key


def test_an_existing_stack_is_opened_and_reads_no_file(cohort, tmp_path, reads, monkeypatch):
    first = build_stack(cohort, StackSettings(), tmp_path / "cache")
    reads.clear()
    monkeypatch.setattr(stack_contents, "hash_file", lambda path: pytest.fail(f"{path} was read again"))
    roles = tuple(replace(volume, role=Role.TEST) for volume in cohort.volumes)
    assert build_stack(cohort.with_volumes(roles), StackSettings(), tmp_path / "cache").key == first.key
    assert reads == []


def test_other_pixels_labels_or_settings_make_another_stack(cohort, tmp_path):
    cache, root = tmp_path / "cache", cohort.root
    keys = [build_stack(cohort, StackSettings(), cache).key]
    keys.append(build_stack(cohort, PRESETS["gaillochet2023-hippocampus"], cache).key)
    add_volume(root, "v0", pixels(99, (3, 20, 24)))
    keys.append(build_stack(cohort, StackSettings(), cache).key)
    add_volume(root, "v1", pixels(1, (4, 20, 24)), mask=labels(99, (4, 20, 24), 3))
    keys.append(build_stack(cohort, StackSettings(), cache).key)
    assert len(set(keys)) == 4


def test_bad_volumes_are_all_named_and_the_rest_is_kept(cohort, tmp_path, reads, monkeypatch):
    root, cache = cohort.root, tmp_path / "cache"
    original = cohort_io.read_image

    def with_nan(cohort, volume):
        array = original(cohort, volume)
        if volume.id == "v1":
            array[0, 2, 3, 4] = np.nan
        return array

    (root / "v2_0000.nii.gz").write_bytes(b"no image")
    (root / "v3_0000.nii.gz").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(cohort_io, "read_image", with_nan)
        with pytest.raises(BadInput) as caught:
            build_stack(cohort, SETTINGS, cache)
    text = str(caught.value)
    assert "3 of 4 volume(s)" in text
    assert all(f"{name}_0000.nii.gz" in text for name in ("v1", "v2", "v3"))
    assert "v0_0000" not in text
    assert "activesegmentation exclude STUDY v1 v2 v3;" in caught.value.advice
    reads.clear()
    stack = build_stack(cohort.with_volumes(cohort.volumes[:1]), SETTINGS, cache)
    assert reads == []  # taken over from the failed run
    fresh = build_stack(cohort.with_volumes(cohort.volumes[:1]), SETTINGS, tmp_path / "fresh")
    assert content_of(stack.folder) == content_of(fresh.folder)
    assert not list(cache.glob("*.partial"))


def test_a_file_of_another_size_than_indexed_is_refused(tmp_path):
    volume = add_volume(tmp_path, "v", pixels(0, (3, 16, 16)))
    other = replace(volume, geometry=Geometry((16, 16, 4), volume.geometry.spacing))
    with pytest.raises(BadInput, match=r"v: .*v_0000"):
        build_stack(one(tmp_path, other), SETTINGS, tmp_path / "cache")


def test_labels_that_cannot_be_used_are_a_warning(cohort, tmp_path):
    (cohort.root / "v1_mask.nii.gz").write_bytes(b"no image")
    volumes = list(cohort.volumes)
    volumes[2] = replace(volumes[2], mask=LabelSource(Source("file", ("missing.nii.gz",))))
    recorder = Recorder()
    stack = build_stack(cohort.with_volumes(tuple(volumes)), SETTINGS, tmp_path / "cache", progress=recorder)
    assert [(problem.where, problem.severity) for problem in stack.problems] == [("v1", "warning"), ("v2", "warning")]
    assert any("v1_mask.nii.gz" in message for message in recorder.messages)
    assert stack.truth("v1", AnnotationKind.MASK) is None
    assert not stack.has_truth("v1", AnnotationKind.MASK)
    assert stack.truth("v1", AnnotationKind.SCRIBBLE) is not None
    assert stack.has_truth("v1", AnnotationKind.SCRIBBLE)


def test_an_empty_cohort_and_mixed_channels_are_refused(cohort, tmp_path):
    with pytest.raises(BadInput, match="no volume"):
        build_stack(cohort.with_volumes(()), SETTINGS, tmp_path / "cache")
    odd = add_volume(cohort.root, "odd", np.stack([pixels(5, (3, 20, 24))] * 2))
    with pytest.raises(BadInput, match=r"1 volume\(s\) do not have 1 channel\(s\) like the rest: odd \(2\)"):
        build_stack(cohort.with_volumes((*cohort.volumes, odd)), SETTINGS, tmp_path / "cache")


def test_an_error_in_the_middle_keeps_what_is_done(cohort, tmp_path, monkeypatch, reads):
    expected = build_stack(cohort, SETTINGS, tmp_path / "whole")
    original = cohort_io.read_image
    seen: list[str] = []

    def broken(cohort, volume):
        if len(seen) == 2:
            raise RuntimeError("power cut")
        seen.append(volume.id)
        return original(cohort, volume)

    with monkeypatch.context() as patch:
        patch.setattr(cohort_io, "read_image", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            build_stack(cohort, SETTINGS, tmp_path / "cache", workers=1)
    reads.clear()
    resumed = build_stack(cohort, SETTINGS, tmp_path / "cache", workers=1)
    assert sorted(reads) == sorted({"v0", "v1", "v2", "v3"} - set(seen))
    assert content_of(resumed.folder) == content_of(expected.folder)


def test_a_cancel_takes_effect_between_volumes(cohort, tmp_path, reads):
    with pytest.raises(Cancelled):
        build_stack(cohort, SETTINGS, tmp_path / "cache", workers=1, progress=Recorder("Preparing slices", cancel_at=2))
    assert 1 <= len(reads) < 4
    before = len(reads)
    recorder = Recorder()
    build_stack(cohort, SETTINGS, tmp_path / "cache", workers=1, progress=recorder)
    assert len(reads) == 4
    steps = [done for stage, done, total in recorder.reports if stage == "Preparing slices"]
    assert steps == list(range(before, 5))


def test_a_full_disk_is_explained(cohort, tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(stack_building.os, "fsync", full)
        with pytest.raises(JobFailed, match="disk is full"):
            build_stack(cohort, SETTINGS, tmp_path / "cache")
    monkeypatch.setattr(stack_building.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(JobFailed, match=r"need 0\.00 GB; the disk has 0\.00 GB left"):
        build_stack(cohort, SETTINGS, tmp_path / "other")


def test_a_damaged_neighbour_is_not_taken_over(cohort, tmp_path, reads):
    cache = tmp_path / "cache"
    stack = build_stack(cohort, SETTINGS, cache)
    (stack.folder / "images.npy").write_bytes(b"damaged")
    (stack.folder / "truth" / "v2.npz").write_bytes(b"damaged")
    reads.clear()
    part = build_stack(cohort.with_volumes(cohort.volumes[1:]), SETTINGS, cache)
    assert sorted(reads) == ["v1", "v2", "v3"]
    assert len(part) == 15


def test_adding_a_volume_reads_only_that_one(cohort, tmp_path, reads):
    cache = tmp_path / "cache"
    build_stack(cohort.with_volumes(cohort.volumes[1:]), SETTINGS, cache)
    reads.clear()
    stack = build_stack(cohort, SETTINGS, cache)
    assert reads == ["v0"]
    assert content_of(stack.folder) == content_of(build_stack(cohort, SETTINGS, tmp_path / "fresh").folder)


def test_threads_open_arrays_one_at_a_time(tmp_path, monkeypatch):
    """Python up to 3.11.7 does not support two at once."""
    cohort, cache = small_cohort(tmp_path, 12), tmp_path / "cache"
    load, opened, at_once = np.load, [], []

    def slow(*args, **options):
        opened.append(args[0])
        at_once.append(len(opened))
        time.sleep(0.01)
        try:
            return load(*args, **options)
        finally:
            opened.remove(args[0])

    monkeypatch.setattr(np, "load", slow)
    build_stack(cohort.with_volumes(cohort.volumes[1:]), SETTINGS, cache)
    build_stack(cohort, SETTINGS, cache)
    assert len(at_once) > 12
    assert max(at_once) == 1


def start_build(root: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def stored_cohort(tmp_path) -> Cohort:
    """A cohort that another process can read: its record is stored with its images."""
    cohort = small_cohort(tmp_path, 12)
    write_json(tmp_path / "cohort.json", cohort.to_json())
    return cohort


def test_two_processes_build_one_stack(stored_cohort, tmp_path):
    processes = [start_build(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    expected = build_stack(stored_cohort, StackSettings(), tmp_path / "whole")
    assert [output.split()[0] for output, _ in outputs] == [expected.key] * 2
    assert content_of(tmp_path / "cache" / expected.key) == content_of(expected.folder)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_build_killed_at_random_moments_ends_like_an_unbroken_one(stored_cohort, tmp_path):
    expected = build_stack(stored_cohort, StackSettings(), tmp_path / "whole")
    moments = random.Random(0)
    for _ in range(4):
        process = start_build(tmp_path)
        partial = tmp_path / "cache" / f"{expected.key}.partial"
        wanted = moments.randrange(12)
        while process.poll() is None and len(list(partial.glob("done/*.json"))) < wanted:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start_build(tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.split()[0] == expected.key
    assert content_of(tmp_path / "cache" / expected.key) == content_of(expected.folder)


def test_waiting_for_another_process_is_said_and_can_be_cancelled(cohort, tmp_path, monkeypatch):
    from filelock import FileLock

    cache = tmp_path / "cache"
    key = build_stack(cohort, SETTINGS, cache).key
    os.rename(cache / key, cache / "elsewhere")
    recorder = Recorder("Waiting for another process", cancel_at=1)
    with FileLock(cache / f"{key}.lock"), pytest.raises(Cancelled):
        build_stack(cohort, SETTINGS, cache, progress=recorder)
    assert recorder.messages == ["Another process is preparing the same slices; waiting for it."]


def acdc_part(root: Path) -> Cohort:
    """Two volumes of one real patient, listed explicitly."""
    import SimpleITK as sitk

    volumes = []
    for path in sorted((root / "acdc" / "patient001").glob("*_frame??.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        geometry = Geometry(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
        mask, scribble = (Source("file", (f"{name}_{kind}.nii.gz",)) for kind in ("gt", "scribble"))
        files = (Source("file", (path.name,)),)
        volumes.append(Volume(name, "patient001", files, geometry, 2, 1, LabelSource(mask), LabelSource(scribble, 4)))
    return Cohort(root / "acdc" / "patient001", "acdc", tuple(volumes))


def test_real_cardiac_volumes(real_data, tmp_path):
    cohort = acdc_part(real_data)
    stack = build_stack(cohort, StackSettings(), tmp_path / "cache", workers=2)
    assert stack.images.shape == (20, 1, 256, 216)
    assert np.isfinite(stack.images).all()
    assert not stack.blank.any()
    for volume in stack.volumes:
        mask, scribble = (stack.truth(volume.id, kind) for kind in AnnotationKind)
        assert set(np.unique(mask)) == {0, 1, 2, 3}
        assert set(np.unique(scribble)) == {0, 1, 2, 3, 255}
        assert (mask == scribble)[scribble != 255].mean() > 0.99
        np.testing.assert_array_equal(stack.to_grid(mask, volume.id), mask)
    stretched = build_stack(cohort, PRESETS["vepa2024-acdc"], tmp_path / "cache", workers=2)
    assert stretched.grid_shape == (256, 256)
    volume = stretched.volumes[0]
    mask = stretched.truth(volume.id, AnnotationKind.MASK)
    one_hot = (stretched.to_grid(mask, volume.id)[:, None] == np.arange(4)[:, None, None]).astype(np.float32)
    back = stretched.from_grid(one_hot, volume.id).argmax(axis=1)
    assert (back == mask).mean() > 0.995


def test_a_real_hippocampus_as_the_paper_prepares_it(real_data, tmp_path):
    import SimpleITK as sitk

    path = sorted((real_data / "hippocampus" / "imagesTr").glob("h*.nii.gz"))[0]
    image = sitk.ReadImage(str(path))
    geometry = Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    mask = LabelSource(Source("file", (f"labelsTr/{path.name}",)))
    volume = Volume("h", "h", (Source("file", (f"imagesTr/{path.name}",)),), geometry, 2, mask=mask)
    cohort = one(real_data / "hippocampus", volume)
    stack = build_stack(cohort, PRESETS["gaillochet2023-hippocampus"], tmp_path / "cache")
    array = sitk.GetArrayFromImage(image).astype(np.float64)
    low, high = np.percentile(array, [1, 99])
    expected = np.zeros((len(array), 60, 60))
    top, left = ((60 - n + 1) // 2 for n in array.shape[1:])
    expected[:, top : top + array.shape[1], left : left + array.shape[2]] = (np.clip(array, low, high) - low) / (
        high - low
    )
    assert stack.grid_shape == (50, 50)
    np.testing.assert_allclose(stack.images[:, 0], expected[:, 5:55, 5:55], atol=1e-3)
    assert set(np.unique(stack.truth("h", AnnotationKind.MASK))) == {0, 1, 2}


def prepared(stack) -> dict[str, bytes]:
    """Every file of a stack but the note on its last check."""
    return {name: content for name, content in content_of(stack.folder).items() if name != stack_checks.CHECKED}


def flip(path: Path, place: int) -> None:
    """Flip a bit of a file, and give it the time that it had."""
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("small", [True, False])
def test_a_flipped_bit_is_noticed_and_only_its_volume_prepared_again(tmp_path, cohort, reads, monkeypatch, small):
    if not small:
        monkeypatch.setattr(stack_checks, "SMALL", 0)
    stack = build_stack(cohort, SETTINGS, tmp_path / "cache")
    whole, damaged = prepared(stack), stack.volumes[1]
    assert damaged_volumes(stack.folder) == []
    place = (stack.folder / "images.npy").stat().st_size - stack.images[damaged.start :].nbytes + 7
    flip(stack.folder / "images.npy", place)
    assert damaged_volumes(stack.folder) == [damaged.id]
    reads.clear()
    recorder = Recorder()
    again = build_stack(cohort, SETTINGS, tmp_path / "cache", progress=recorder)
    assert reads == [damaged.id]
    assert any("damaged" in message for message in recorder.messages)
    assert prepared(again) == whole
    reads.clear()
    build_stack(cohort, SETTINGS, tmp_path / "cache")
    assert reads == []


def test_a_large_stack_is_not_read_again_within_a_day(tmp_path, cohort, monkeypatch):
    monkeypatch.setattr(stack_checks, "SMALL", 0)
    stack = build_stack(cohort, SETTINGS, tmp_path / "cache")
    assert damaged_volumes(stack.folder) == []
    seen = []
    monkeypatch.setattr(stack_checks, "checksums", lambda images, whole: seen.append(1) or [0])
    assert damaged_volumes(stack.folder) == []
    assert not seen
    monkeypatch.setattr(stack_checks.time, "time", lambda: time.monotonic() + 1e12)
    assert len(damaged_volumes(stack.folder)) == len(stack.volumes)


@pytest.mark.parametrize("damage", ["cut", "record", "header"])
def test_a_stack_that_cannot_be_used_at_all_is_prepared_again(tmp_path, cohort, damage):
    stack = build_stack(cohort, SETTINGS, tmp_path / "cache")
    whole = prepared(stack)
    if damage == "cut":
        os.truncate(stack.folder / "images.npy", 1000)
    elif damage == "header":
        flip(stack.folder / "images.npy", 3)
    else:
        text = (stack.folder / "stack.json").read_text(encoding="utf-8")
        (stack.folder / "stack.json").write_text(text.replace('"zoom": [', '"zoom": [9', 1), encoding="utf-8")
    again = build_stack(cohort, SETTINGS, tmp_path / "cache")
    assert prepared(again) == whole
