"""A finished stack: its table, its tensors, its labels, and damage to its files."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from stack_phantoms import STORED_IGNORE_LABEL, labels, small_cohort

from ActiveSegmentationLib.cohort.preprocessing import StackSettings
from ActiveSegmentationLib.cohort.stack import SliceStack
from ActiveSegmentationLib.cohort.stack_building import build_stack
from ActiveSegmentationLib.cohort.types import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> SliceStack:
    root = tmp_path_factory.mktemp("cohort")
    return build_stack(small_cohort(root), StackSettings(), root / "cache", workers=2)


@pytest.fixture
def copy(stack, tmp_path) -> Path:
    return Path(shutil.copytree(stack.folder, tmp_path / "copy"))


def test_the_table_counts_slices_volume_by_volume(stack):
    assert len(stack) == 3 + 4 + 5 + 6
    assert [volume.id for volume in stack.volumes] == ["v0", "v1", "v2", "v3"]
    assert stack.patients == ("p0", "p1")
    np.testing.assert_array_equal(stack.volume_number, [0] * 3 + [1] * 4 + [2] * 5 + [3] * 6)
    np.testing.assert_array_equal(stack.patient_number, [0] * 7 + [1] * 11)
    np.testing.assert_array_equal(stack.index[:7], [0, 1, 2, 0, 1, 2, 3])
    np.testing.assert_allclose(stack.position[:3], [1 / 6, 3 / 6, 5 / 6])
    assert stack.images.shape == (18, 1, *stack.grid_shape) == (18, 1, 24, 24)
    assert stack.channels == 1
    assert not stack.images.flags.writeable


def test_rows_and_slices_name_each_other(stack):
    for row in range(len(stack)):
        assert stack.row(stack.slice_id(row)) == row
    assert stack.slice_ids([3, 0]) == [SliceId("v1", 0), SliceId("v0", 0)]
    np.testing.assert_array_equal(stack.volume_rows("v1"), [3, 4, 5, 6])
    np.testing.assert_array_equal(stack.rows_of(["v2", "v0", "v2"]), [0, 1, 2, 7, 8, 9, 10, 11])
    assert stack.rows_of([]).dtype == np.int64


@pytest.mark.parametrize("slice_id", [SliceId("v0", 3), SliceId("v0", -1), SliceId("v9", 0)])
def test_unknown_slices_are_refused(stack, slice_id):
    with pytest.raises(BadInput, match="There is no"):
        stack.row(slice_id)


def test_a_volume_has_its_geometry(stack):
    volume = stack.volume("v2")
    assert (volume.start, volume.stop, volume.slice_count, volume.patient) == (7, 12, 5, "p1")
    assert volume.plane_shape == (20, 24)
    assert volume.plane_spacing == (1.0, 1.0)
    assert volume.geometry.origin == (10.0, -20.0, 30.0)


def test_truth_is_what_the_files_hold(stack):
    for number in range(4):
        shape = (3 + number, 20, 24)
        np.testing.assert_array_equal(stack.truth(f"v{number}", AnnotationKind.MASK), labels(number, shape, 3))
        drawn = labels(number, shape, STORED_IGNORE_LABEL)
        drawn[drawn == STORED_IGNORE_LABEL] = 255
        np.testing.assert_array_equal(stack.truth(f"v{number}", AnnotationKind.SCRIBBLE), drawn)


def test_batches_are_the_rows_in_order(stack):
    torch = pytest.importorskip("torch")
    for rows in (np.array([5, 0, 5]), torch.tensor([5, 0, 5]), [5, 0, 5]):
        batch = stack.batches(rows)
        assert batch.dtype == torch.float32
        np.testing.assert_array_equal(batch.numpy(), stack.images[[5, 0, 5]].astype(np.float32))
    assert stack.batches(np.empty(0, np.int64)).shape == (0, 1, 24, 24)
    with pytest.raises(IndexError):
        stack.batches([len(stack)])


def test_the_whole_stack_is_one_tensor_made_once(stack):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = stack.tensor()
    assert whole.dtype == torch.float16
    assert whole.data_ptr() == stack.images.ctypes.data  # mapped, not copied
    assert stack.tensor("cpu") is whole
    full = stack.tensor(torch.device("cpu"), torch.float32)
    np.testing.assert_array_equal(full.numpy(), stack.images.astype(np.float32))


def test_labels_go_to_the_grid_and_probabilities_come_back(stack):
    truth = stack.truth("v3", AnnotationKind.MASK)
    many = stack.to_grid(truth, "v3")
    assert many.shape == (6, 24, 24)
    np.testing.assert_array_equal(many[2], stack.to_grid(truth[2], "v3"))
    np.testing.assert_array_equal(many[:, 2:22], truth)
    assert (many[:, :2] == 255).all()
    one_hot = (many[:, None] == np.arange(4)[:, None, None]).astype(np.float32)
    back = stack.from_grid(one_hot, "v3")
    np.testing.assert_array_equal(back.argmax(axis=1), truth)
    np.testing.assert_array_equal(stack.from_grid(one_hot[0], "v3"), back[0])


def test_pixels_inside_are_those_that_labels_reach(stack):
    rows = np.array([len(stack) - 1, 0, 1, 0])
    inside = stack.inside(rows)
    assert inside.shape == (4, *stack.grid_shape)
    assert inside.dtype == bool
    for row, mask in zip(rows, inside, strict=True):
        volume = stack.volumes[stack.volume_number[row]]
        on_grid = stack.to_grid(np.zeros(volume.plane_shape, dtype=np.uint8), volume.id)
        np.testing.assert_array_equal(mask, on_grid == 0)
    assert inside.any(axis=(1, 2)).all()
    assert stack.inside(rows[:0]).shape == (0, *stack.grid_shape)


def test_another_process_gets_the_same_stack(stack):
    sent = pickle.dumps(stack)
    assert len(sent) < 8000  # the cohort, and no pixels: these are 20 kB
    received = pickle.loads(sent)
    assert received.key == stack.key
    np.testing.assert_array_equal(received.images, stack.images)


def test_a_finished_stack_works_without_image_libraries(stack):
    code = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("SimpleITK", "filelock"):
            raise ImportError(name + " is not installed in this test")
sys.meta_path.insert(0, Blocker())
from pathlib import Path
import numpy as np
from ActiveSegmentationLib.cohort.stack import SliceStack
from ActiveSegmentationLib.cohort.types import AnnotationKind
stack = SliceStack(Path({str(stack.folder)!r}))
truth = stack.truth("v1", AnnotationKind.SCRIBBLE)
grid = stack.to_grid(truth[0], "v1")
back = stack.from_grid(np.ones((2, *stack.grid_shape), np.float32), "v1")
print(len(stack), tuple(stack.batches([1, 2]).shape), grid.shape, back.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "18 (2, 1, 24, 24) (24, 24) (2, 20, 24)"


def test_opening_what_is_not_a_stack(tmp_path):
    with pytest.raises(BadInput, match="no prepared slices"):
        SliceStack(tmp_path)


def test_a_truncated_file_is_named_with_advice(copy):
    path = copy / "images.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="damaged") as caught:
        SliceStack(copy)
    assert caught.value.where == str(path)
    assert "Delete this folder" in caught.value.advice


def test_images_of_another_size_are_refused(copy):
    np.save(copy / "images.npy", np.zeros((17, 1, 24, 24), np.float16))
    with pytest.raises(BadInput, match="unexpected size"):
        SliceStack(copy)


def test_missing_images_are_refused(copy):
    (copy / "images.npy").unlink()
    with pytest.raises(BadInput, match="no such file"):
        SliceStack(copy)


def test_another_format_is_refused(copy):
    write_json(copy / "stack.json", read_json(copy / "stack.json") | {"format": 0})
    with pytest.raises(BadInput, match="another version"):
        SliceStack(copy)


def test_damaged_labels_are_refused(copy):
    path = copy / "truth" / "v0.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match="reference labels are damaged"):
        SliceStack(copy).truth("v0", AnnotationKind.MASK)
