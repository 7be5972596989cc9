"""Options of the training: neighbouring slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance import Listener

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.segmentation import AugmentationSettings, TrainingSettings, TrainingTask, fit, load_model
from ActiveSegmentationLib.segmentation.neighbours import with_neighbours

OPTIONS = {
    "neighbours": {"neighbours": 1},
    "neighbours and best": {"neighbours": 1, "select": "best", "validate_every": 3},
}


@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)
def test_a_stopped_training_ends_with_the_same_bits_and_loads_to_the_same_predictions(stack, tiny, tmp_path, changes):
    settings = replace(tiny, **changes)
    task = TrainingTask(stack, stack.examples([0, 3, 9]), 3, settings, seed=0, validation=stack.examples([20, 21]))
    whole = fit(task, folder=tmp_path / "whole")
    with pytest.raises(Cancelled):
        fit(task, folder=tmp_path / "parts", compute=Compute(progress=Listener(7)), checkpoint_every=4)
    fit(task, folder=tmp_path / "parts", checkpoint_every=4)
    rows = np.array([0, 7, 8, 12])
    found = load_model(tmp_path / "parts").probabilities(stack, rows)
    assert np.array_equal(found, whole.probabilities(stack, rows))
    plain = fit(replace(task, settings=tiny, validation=None), folder=tmp_path / "plain")
    assert not np.allclose(found, plain.probabilities(stack, rows), atol=1e-3)


def test_keys_of_models_without_these_options_are_as_before():
    assert "neighbours" not in TrainingSettings().to_json()


def test_neighbours_are_those_of_the_volume_and_its_ends_are_repeated(stack):
    wide = with_neighbours(stack, 2)
    assert wide.around([0, 9, 23]).tolist() == [[0, 0, 0, 1, 2], [8, 8, 9, 10, 11], [21, 22, 23, 23, 23]]
    images = wide.batches(np.array([9, 4]))
    assert images.shape == (2, 5, 34, 40)
    assert torch.equal(images[0], stack.batches(np.array([8, 8, 9, 10, 11]))[:, 0])
    assert with_neighbours(stack, 0) is stack


def test_several_channels_stay_together_and_large_planes_have_neighbours_too():
    large = _LargePlanes()
    wide = with_neighbours(large, 1)
    planes = wide.whole.planes(np.array([0, 2]))
    assert planes[:, :, 0, 0].tolist() == [[0, 0, 1, 10, 10, 11], [1, 2, 2, 11, 12, 12]]
    assert wide.whole.window(1, 3, 4, (2, 5)).shape == (6, 2, 5)
    assert wide.whole.window(1, 3, 4, (2, 5))[:, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert wide.whole.shape(1) == (9, 11)


class _LargePlanes:
    """One volume of three slices with two channels, whose values are the row, and 10 more."""

    channels, volume_number, grid_shape = 2, np.zeros(3, dtype=np.int64), (4, 4)

    @property
    def whole(self):
        return self

    def holds(self, rows):
        return np.ones(len(rows), dtype=bool)

    def shape(self, row):
        return 9, 11

    def planes(self, rows, device="cpu"):
        values = torch.as_tensor(rows, dtype=torch.float32)
        return torch.stack([values, values + 10], 1)[:, :, None, None].expand(-1, -1, 9, 11)

    def window(self, row, top, left, size):
        return self.planes([row])[0, :, top : top + size[0], left : left + size[1]].numpy()


def test_neighbours_change_their_intensities_together(stack, tiny):
    from ActiveSegmentationLib.segmentation.augmentation import augment

    images = torch.rand(4, 1, 8, 8).repeat(1, 3, 1, 1)
    still = AugmentationSettings(probability=1.0, rotation=0.0, scale=0.0, shift=0.0, noise=0.0)
    labels = torch.zeros(4, 8, 8, dtype=torch.uint8)
    changed, _ = augment(images, labels, still, torch.Generator().manual_seed(0), together=3)
    assert torch.allclose(changed[:, 0], changed[:, 1], atol=1e-6)
    assert not torch.allclose(changed[:, 0], images[:, 0], atol=1e-2)


def test_too_many_neighbours_are_refused():
    with pytest.raises(BadInput, match="neighbours"):
        TrainingSettings(neighbours=6)
