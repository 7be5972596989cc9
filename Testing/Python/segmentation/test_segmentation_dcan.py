"""DCAN: side outputs that add up, dropout of whole channels, and the loss against a literal version."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS, TrainingSettings, TrainingTask
from ActiveSegmentationLib.segmentation.dcan import DcanLearner


@pytest.fixture
def small() -> TrainingSettings:
    return replace(TRAINING_PRESETS["ozdemir2021"], features=(4, 4, 8, 8, 8), steps=4, batch_size=3)


def test_the_papers_settings():
    preset = TRAINING_PRESETS["ozdemir2021"]
    assert preset.learner == "dcan"
    assert (preset.steps, preset.batch_size, preset.learning_rate, preset.optimiser) == (8000, 8, 5e-4, "adam")
    assert (preset.class_weights, preset.dice_share, preset.augmentation.flip_columns) == ("inverse", 0.0, True)
    network = DcanLearner.build_network(1, 3, preset, seed=0)
    dropouts = [(name, module) for name, module in network.net.named_modules() if isinstance(module, _DropoutNd)]
    assert all(isinstance(module, nn.Dropout2d) and module.p == 0.5 for _, module in dropouts)
    assert [name for name, _ in dropouts] == [
        *(f"down_{level}.convs.entry" for level in (1, 2, 3, 4)),
        *(f"side_{level}.dropout" for level in (4, 3, 2, 1)),
    ]


def test_the_prediction_is_the_sum_of_the_side_outputs(small):
    network = DcanLearner.build_network(2, 3, small, seed=0).eval()
    images = torch.randn(2, 2, 37, 50)
    maps = network.encode(images)
    sides = network.side_logits(maps, (37, 50))
    assert len(maps) == len(sides) == 5
    assert all(side.shape == (2, 3, 37, 50) for side in sides)
    assert torch.allclose(network(images), sum(sides), atol=1e-5)
    assert all((side != sides[0]).any() for side in sides[1:])


@pytest.mark.parametrize(("sides", "levels"), [(1, [4]), (3, [4, 3, 2]), (0, [4, 3, 2, 1, 0])])
def test_sides_count_from_the_coarsest_level(small, sides, levels):
    network = DcanLearner.build_network(1, 3, replace(small, options={"sides": sides}), seed=0)
    found = [name for name, _ in network.net.named_children() if name.startswith("side")]
    assert found == [f"side_{level}" for level in levels]
    last = network.convolutions("last")
    assert last == network.convolutions("decoder")[-1:]
    assert last[0] is network.net.get_submodule(f"side_{levels[-1]}.block.conv")


def test_the_loss_is_weighted_by_inverse_frequency_for_the_sum_and_the_sides(stack, small):
    examples = stack.examples([0, 3, 9])
    learner = DcanLearner(stack, examples, 3, replace(small, options={"side_weight": 0.5}), seed=0, device="cpu")
    outputs = [torch.randn((2, 3, 6, 5), generator=torch.Generator().manual_seed(n)) for n in range(6)]
    labels = torch.randint(0, 3, (2, 6, 5), generator=torch.Generator().manual_seed(9))
    labels[:, 0] = 255
    shares = np.bincount(examples.labels.ravel(), minlength=3)[:3] / examples.labels.size
    losses = []
    for logits in outputs:
        by_slice = []
        for n in range(2):
            places = [(y, x) for y in range(6) for x in range(5) if labels[n, y, x] != 255]
            weights = [1 / shares[int(labels[n, y, x])] for y, x in places]
            logs = [-float(logits[n, :, y, x].log_softmax(0)[labels[n, y, x]]) for y, x in places]
            by_slice.append(float(np.average(logs, weights=weights)))
        losses.append(np.mean(by_slice))
    found = learner.loss(outputs, labels.to(torch.uint8), torch.ones(2, dtype=torch.bool), 0)
    assert float(found) == pytest.approx(losses[0] + 0.5 * np.mean(losses[1:]), rel=1e-5)


def test_more_side_outputs_than_levels_are_refused(stack, small):
    with pytest.raises(BadInput, match="'sides' must be at most 5"):
        TrainingTask(stack, stack.examples([0]), 3, replace(small, options={"sides": 6}), seed=0)
