"""Learning from unlabelled slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance import Listener

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import Cancelled
from ActiveSegmentationLib.segmentation import AugmentationSettings, TrainingTask, fit
from ActiveSegmentationLib.segmentation import mean_teacher as module
from ActiveSegmentationLib.segmentation.auto_learner import AutoLearner
from ActiveSegmentationLib.segmentation.mean_teacher import MeanTeacher
from ActiveSegmentationLib.segmentation.network import UNet
from ActiveSegmentationLib.segmentation.reduced_network import ReducedUNet

POOL = np.arange(24)
STILL = AugmentationSettings(rotation=0.0, scale=0.0, shift=0.0)


@pytest.fixture
def auto(tiny):
    return replace(tiny, learner="auto", steps=20, options={"design": False, "unlabelled": 1.0})


def _teacher(stack, settings, **others):
    network = AutoLearner.build_network(1, 3, settings, seed=0)
    return network, MeanTeacher(network, stack, POOL, settings, weight=1.0, seed=0, device="cpu", **others)


def _weights(model):
    return list(model.network.state_dict().values())


def test_only_slices_without_annotation_are_learned_from_and_only_by_learners_that_do(stack, tiny, auto):
    examples = stack.examples([0, 3])
    task = TrainingTask(stack, examples, 3, auto, seed=0, unlabelled=POOL)
    assert task.unlabelled.tolist() == [1, 2, *range(4, 24)]
    without = TrainingTask(stack, examples, 3, replace(auto, options={"unlabelled": 0.0}), seed=0, unlabelled=POOL)
    assert without.unlabelled is None
    assert TrainingTask(stack, examples, 3, auto, seed=0, unlabelled=np.array([0, 3])).unlabelled is None
    other = TrainingTask(stack, examples, 3, tiny, seed=0, unlabelled=POOL)
    assert other.unlabelled is None
    assert other.key == TrainingTask(stack, examples, 3, tiny, seed=0).key
    assert task.key != TrainingTask(stack, examples, 3, auto, seed=0, unlabelled=POOL[:9]).key


def test_unlabelled_slices_change_the_model_and_a_stopped_training_ends_with_the_same_bits(stack, auto, tmp_path):
    task = TrainingTask(stack, stack.examples([0, 3, 9]), 3, auto, seed=0, unlabelled=POOL)
    whole = fit(task, folder=tmp_path / "whole")
    assert whole.record["unlabelled slices"] == 21
    with pytest.raises(Cancelled):
        fit(task, folder=tmp_path / "parts", compute=Compute(progress=Listener(13)), checkpoint_every=6)
    parts = fit(task, folder=tmp_path / "parts", checkpoint_every=6)
    assert all(torch.equal(a, b) for a, b in zip(_weights(whole), _weights(parts), strict=True))
    alone = fit(replace(task, unlabelled=None), folder=tmp_path / "alone")
    assert not all(torch.equal(a, b) for a, b in zip(_weights(whole), _weights(alone), strict=True))


def test_the_weight_rises_and_nothing_is_learned_before(stack, auto):
    network, teacher = _teacher(stack, auto)
    assert [teacher.weight(n) for n in (0, 4, 6, 8, 19)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert teacher.add_gradients(network, 3) is None
    assert all(p.grad is None for p in network.parameters())
    assert all(p.grad is None for p in teacher.network.parameters())


def test_labels_are_those_of_the_teacher_where_it_is_confident_and_go_with_the_rectangles(stack, auto, monkeypatch):
    _, teacher = _teacher(stack, replace(auto, augmentation=STILL, batch_size=8))

    class Sees(torch.nn.Module):
        def forward(self, images):
            bright = images[:, 0]
            return 20 * torch.stack([(bright < 0.35), (bright > 0.65), (bright > 0.45) & (bright < 0.55)], 1).float()

    teacher.network = Sees()
    monkeypatch.setattr(module, "change_intensities", lambda images, *_, **__: images)
    images, labels = teacher.labelled(7)
    bright = images[:, 0]
    known = labels != 255
    assert 0.3 < known.float().mean() < 1
    assert torch.equal(labels[known] == 1, (bright > 0.65)[known])
    assert not known[(bright > 0.36) & (bright < 0.44)].any()
    again, _ = teacher.labelled(7)
    assert torch.equal(images, again)
    picked = torch.stack([stack.batches(np.array([row]))[0, 0] for row in POOL])
    for image in bright:
        same = (image[None] - picked).abs() < 1e-4
        shares = same.flatten(1).float().mean(1).sort(descending=True).values
        assert float(shares[0]) < 1
        assert float(shares[0] + shares[1]) > 0.99


def test_confident_labels_are_learned(stack, auto):
    settings = replace(auto, augment=False, dropout=(0.0,) * 5, decoder_dropout=(0.0,) * 4)
    network, teacher = _teacher(stack, settings)  # nothing is drawn from the global generator
    teacher._labels = lambda images: torch.ones((len(images), 34, 40), dtype=torch.uint8)

    def share():
        with torch.no_grad():
            return float(torch.softmax(network(stack.batches(POOL[:4])), 1)[:, 1].mean())

    before = share()
    optimiser = torch.optim.Adam(network.parameters(), 3e-2)
    for number in range(8, 18):
        optimiser.zero_grad()
        teacher.add_gradients(network, number)
        optimiser.step()
    assert share() > before + 0.2


def test_parts_of_a_batch_add_up_to_its_gradients(stack, auto):
    settings = replace(auto, batch_size=8, norm="instance", dropout=(0.0,) * 5, decoder_dropout=(0.0,) * 4)
    found = []
    for parts in (1, 2):
        network, teacher = _teacher(stack, settings)
        teacher._loss = lambda logits, labels: logits.square().mean()
        teacher.add_gradients(network, 9, parts)
        found.append([p.grad for p in network.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_the_teacher_is_the_average_of_the_network(stack, auto):
    network, teacher = _teacher(stack, auto)
    first = [p.clone() for p in teacher.network.parameters()]
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1.0)
    teacher.follow(network, 5000)
    assert all(torch.allclose(p, q + 0.01, atol=1e-6) for p, q in zip(teacher.network.parameters(), first, strict=True))


def test_large_planes_are_seen_in_parts_at_their_own_resolution(stack, auto):
    class Large:
        def __getattr__(self, name):
            return getattr(stack, name)

        @property
        def whole(self):
            return self

        def holds(self, rows):
            return np.asarray(rows) < 8

        def shape(self, row):
            return 50, 40

        def window(self, row, top, left, size):
            assert 0 <= top <= 16
            assert left == 0
            return np.full((1, *size), -float(row), dtype=np.float32)

    teacher = MeanTeacher(
        AutoLearner.build_network(1, 3, auto, seed=0),
        Large(),
        POOL[:8],
        replace(auto, batch_size=8),
        weight=1.0,
        seed=0,
        device="cpu",
    )
    assert bool((teacher._images(0) <= 0).all())


@pytest.mark.parametrize("size", [(34, 40), (33, 41), (16, 16)])
def test_a_reduced_network_predicts_all_pixels(tiny, size):
    settings = replace(tiny, features=(8, 8, 8), dropout=(0.0,) * 3, decoder_dropout=(0.0,) * 2)
    network = ReducedUNet(1, 3, settings, 2).eval()
    images = torch.rand(2, 1, *size)
    assert network(images).shape == (2, 3, *size)
    assert network.encode(images)[0].shape[-2:] == tuple((side + 1) // 2 for side in size)
    flat = torch.rand(1, 1, *(side // 2 for side in size))
    enlarged = flat.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(network.encode(enlarged)[-1], UNet.encode(network, flat)[-1])
