"""Planes larger than the stack's grid are used whole; cropping is optional and reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stack_phantoms import Recorder, add_volume, pixels

from ActiveSegmentationLib.cohort import (
    IGNORE_LABEL,
    Cohort,
    Geometry,
    SliceStack,
    Source,
    StackSettings,
    Turn,
    Volume,
    build_stack,
)
from ActiveSegmentationLib.cohort.preprocessing import resolve
from ActiveSegmentationLib.cohort.stack_building import stack_key
from ActiveSegmentationLib.cohort.stack_files import FORMAT, whole_file
from ActiveSegmentationLib.cohort.stack_preparation import overview_grid, plane_grid
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json

PLAIN = StackSettings(percentiles=(0, 100))
WIDE = (2, 60, 70)


def marked(shape=WIDE) -> np.ndarray:
    """Dim noise with a bright square near the lower right corner."""
    array = pixels(9, shape) / 10
    array[:, -12:-4, -14:-4] = 1000
    return array


def cohort_of(root: Path, *, wide: bool = True, count: int = 21) -> Cohort:
    root.mkdir(parents=True, exist_ok=True)
    volumes = [add_volume(root, f"v{n:02d}", pixels(n, (1, 20, 24))) for n in range(count)]
    if wide:
        volumes.append(add_volume(root, "wide", marked()))
    return Cohort(root, "test", tuple(volumes))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    recorder = Recorder()
    return build_stack(cohort_of(root / "c"), PLAIN, root / "cache", workers=2, progress=recorder), recorder


def test_large_planes_are_kept_whole_and_the_grid_stays_small(built):
    stack, recorder = built
    assert stack.grid_shape == (24, 24)
    rows = stack.volume_rows("wide")
    assert stack.whole.holds(np.arange(len(stack))).tolist() == [False] * 21 + [True] * 2
    assert stack.whole.shape(int(rows[0])) == (60, 70)
    images = stack.whole.planes(rows)
    np.testing.assert_allclose(images[:, 0].numpy(), marked() / 1000, atol=2e-3)
    assert np.array_equal(stack.whole.window(int(rows[1]), 40, 50, (20, 20)), images[1, :, 40:60, 50:].numpy())
    with pytest.raises(IndexError):
        stack.whole.shape(0)
    found = [text for text in recorder.messages if "larger than" in text]
    assert len(found) == 1
    assert "1 of 22" in found[0]
    assert "wide" in found[0]
    assert not found[0].startswith("warning")


def test_the_smaller_picture_shows_all_of_the_plane(built):
    stack, _ = built
    picture = stack.images[stack.volume_rows("wide")[0], 0].astype(float)
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    volume = stack.volume("wide")
    labels = np.zeros(WIDE[1:], np.uint8)
    labels[-12:-4, -14:-4] = 1
    shown = stack.to_overview(labels, "wide")
    assert shown.shape == (24, 24)
    assert shown[row, column] == 1
    assert np.count_nonzero(shown != IGNORE_LABEL) == 20 * 24  # 60 x 70 with the proportions kept, whole pixels
    assert volume.overview.zoom[0] == pytest.approx(70 / 24)


def test_labels_and_probabilities_of_whole_planes_go_there_and_back(built):
    stack, _ = built
    labels = np.random.default_rng(0).integers(0, 3, WIDE[1:]).astype(np.uint8)
    on_grid = stack.to_grid(labels, "wide")
    assert on_grid.shape == (60, 70)
    back = stack.from_grid((on_grid[None] == np.arange(3)[:, None, None]).astype(np.float32), "wide")
    assert np.array_equal(back.argmax(0), labels)
    assert stack.inside(stack.volume_rows("wide")).all()


def test_volumes_that_fit_are_prepared_as_without_the_large_one(built, tmp_path):
    alone = build_stack(cohort_of(tmp_path / "c", wide=False), PLAIN, tmp_path / "cache", workers=1)
    assert alone.whole is None
    assert np.array_equal(alone.images, built[0].images[:21])
    identity = [[volume.id, volume.patient, volume.content] for volume in alone.volumes]
    earlier = {name: value for name, value in alone.settings.to_json().items() if name != "crop"}
    assert alone.key == hash_json([FORMAT, earlier, identity])[:24]  # as earlier versions named it


def test_a_larger_field_of_view_in_one_direction_and_pixels_of_another_size(tmp_path):
    volumes = [add_volume(tmp_path, f"v{n:02d}", pixels(n, (1, 24, 24))) for n in range(3)]
    fine = add_volume(tmp_path, "fine", pixels(50, (1, 24, 120)), spacing=(0.5, 0.5, 5.0))
    turned = replace(add_volume(tmp_path, "turned", pixels(51, (1, 60, 24))), turn=Turn(transpose=True))
    settings = replace(PLAIN, size=(24, 24))
    stack = build_stack(Cohort(tmp_path, "test", (*volumes, fine, turned)), settings, tmp_path / "cache", workers=1)
    assert stack.whole.shape(3) == (24, 60)
    assert stack.whole.shape(4) == (24, 60)
    assert stack.from_grid(np.ones((2, 24, 60), np.float32), "turned").shape == (2, 60, 24)
    assert stack.inside(np.array([3])).sum() == 12 * 60


def test_cropping_is_a_choice_and_reported(tmp_path):
    recorder = Recorder()
    cohort = cohort_of(tmp_path / "c")
    stack = build_stack(cohort, replace(PLAIN, crop=True), tmp_path / "cache", progress=recorder)
    assert stack.whole is None
    assert stack.to_grid(np.zeros(WIDE[1:], np.uint8), "wide").shape == (24, 24)
    warned = [text for text in recorder.messages if text.startswith("warning")]
    assert len(warned) == 1
    for word in ("wide", "24 x 24", "cropped away", "--crop", "--size"):
        assert word in warned[0]
    kept = {name: value for name, value in stack.settings.to_json().items() if name != "crop"}
    identity = [[volume.id, volume.patient, volume.content] for volume in stack.volumes]
    assert (
        stack.key == hash_json([FORMAT, kept, identity])[:24]
    )  # the slices that earlier versions cropped without a word
    again = build_stack(cohort, PLAIN, tmp_path / "cache")
    assert again.key != stack.key
    assert again.whole is not None


def test_settings_of_earlier_versions_crop_where_a_size_was_asked_for():
    assert StackSettings.from_json({"size": [50, 50]}).crop
    assert not StackSettings.from_json({"size": None}).crop
    assert not StackSettings.from_json({"size": [50, 50], "stretch": True}).crop
    chosen = StackSettings(size=(50, 50))
    assert StackSettings.from_json(chosen.to_json()) == chosen


def test_whole_planes_are_taken_over_from_another_stack_and_damage_is_reported(tmp_path):
    cohort = cohort_of(tmp_path / "c")
    first = build_stack(cohort, PLAIN, tmp_path / "cache")
    fewer = build_stack(cohort.with_volumes(cohort.volumes[1:]), PLAIN, tmp_path / "cache")
    row = int(fewer.volume_rows("wide")[0])
    assert np.array_equal(fewer.whole.window(row, 0, 0, (60, 70)), first.whole.window(row + 1, 0, 0, (60, 70)))
    path = whole_file(fewer.folder, "wide")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(BadInput, match="damaged"):
        SliceStack(fewer.folder)


def test_no_pixel_of_any_plane_lies_outside_of_its_grid():
    rng = np.random.default_rng(3)
    for _ in range(300):
        volumes = []
        for _ in range(4):
            i, j = (int(n) for n in rng.integers(3, 90, 2))
            geometry = Geometry((i, j, 2), (*(float(mm) for mm in rng.uniform(0.3, 2.5, 2)), 5.0))
            turn = Turn(*(bool(flip) for flip in rng.integers(0, 2, 3)))
            volumes.append(Volume("v", "p", (Source("file", ("v.nii",)),), geometry, 2, turn=turn))
        size = (16, 24) if rng.random() < 0.5 else None
        settings = resolve(StackSettings(size=size), volumes)
        for volume in volumes:
            for grid in (plane_grid(volume, settings), overview_grid(volume, settings)):
                values = np.zeros((2, *grid.grid), np.float32)
                values[1] = 1
                assert grid.probabilities_from_grid(values)[1].min() == 1


def test_key_says_whether_planes_are_whole(tmp_path):
    volumes = [add_volume(tmp_path, "v", pixels(0, (1, 20, 24)))]
    contents = {"v": "x"}
    fixed = StackSettings(size=(16, 16), spacing=0)
    keys = [stack_key(volumes, settings, contents) for settings in (fixed, replace(fixed, crop=True))]
    assert keys[0] != keys[1]
    roomy = replace(fixed, size=(32, 32))
    assert stack_key(volumes, roomy, contents) == stack_key(volumes, replace(roomy, crop=True), contents)
