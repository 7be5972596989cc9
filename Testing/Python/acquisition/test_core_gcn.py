from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from acquisition_fakes import FakeStack, fake_model, fake_pool

from ActiveSegmentationLib.acquisition import Constraints, create_strategy
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.embedding.graph_network import Graph, graph_features
from ActiveSegmentationLib.loop import choose_slices


def literal_graph(features):
    """A = S D^-1 + I from one pair of slices at a time."""
    count = len(features)
    similar = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            lengths = math.sqrt(sum(v * v for v in features[i])) * math.sqrt(sum(v * v for v in features[j]))
            if i != j and lengths > 0:
                similar[i, j] = sum(a * b for a, b in zip(features[i], features[j], strict=True)) / lengths
    graph = np.zeros_like(similar)
    for j in range(count):
        column = sum(similar[i, j] for i in range(count))
        for i in range(count):
            graph[i, j] = similar[i, j] / column if column > 0 else 0.0
        graph[j, j] += 1.0
    return graph


@pytest.mark.parametrize("zero_row", [False, True])
def test_the_graph_is_the_papers(zero_row):
    features = np.random.default_rng(0).random((9, 4))
    features[3] = 0.0 if zero_row else features[3]
    values = torch.from_numpy(np.random.default_rng(1).normal(size=(9, 2)).astype(np.float32))
    spread = Graph(features, "cpu").spread(values).numpy()
    np.testing.assert_allclose(spread, literal_graph(features.tolist()) @ values.numpy(), atol=1e-5)


def test_negative_features_leave_finite_columns():
    features = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 1.0]])
    split = np.concatenate([np.maximum(features, 0), np.maximum(-features, 0)], axis=1)
    spread = Graph(features, "cpu").spread(torch.eye(5)).numpy()
    np.testing.assert_allclose(spread, literal_graph(split.tolist()), atol=1e-6)
    assert spread.min() >= -1e-6


def literal_features(features, annotated, weight, steps, seed):
    """The training of the paper with a dense graph, Adam and its penalty written out."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(features / np.linalg.norm(features, axis=1, keepdims=True)).float()
    graph = torch.from_numpy(literal_graph(features.tolist())).float()
    shapes = ((features.shape[1], 128), (128,), (128, 1), (1,))
    parameters = [((torch.rand(s, generator=draw) * 2 - 1) / math.sqrt(s[-1])).requires_grad_() for s in shapes]
    means = [torch.zeros(s) for s in shapes]
    squares = [torch.zeros(s) for s in shapes]
    for step in range(1, steps + 1):
        hidden = torch.relu(graph @ (rows @ parameters[0]) + parameters[1])
        dropped = hidden * (torch.rand(hidden.shape, generator=draw) >= 0.3) / 0.7
        score = torch.sigmoid(graph @ (dropped @ parameters[2]) + parameters[3])[:, 0]
        loss = -torch.log(score[annotated]).mean() - weight * torch.log(1 - score[~annotated]).mean()
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, g, m, s in zip(parameters, gradients, means, squares, strict=True):
                downhill = g + 5e-4 * p
                m.mul_(0.9).add_(0.1 * downhill)
                s.mul_(0.999).add_(0.001 * downhill * downhill)
                p.sub_(1e-3 * (m / (1 - 0.9**step)) / ((s / (1 - 0.999**step)).sqrt() + 1e-8))
    with torch.no_grad():
        hidden = torch.relu(graph @ (rows @ parameters[0]) + parameters[1])
        return torch.cat([hidden, graph @ (hidden @ parameters[2]) + parameters[3]], dim=1).numpy()


def test_features_equal_the_literal_training():
    features = np.random.default_rng(0).random((12, 6)).astype(np.float32)
    annotated = np.arange(12) % 4 == 1
    found = graph_features(features, annotated, weight=1.2, steps=30, seed=5)
    expected = literal_features(features, annotated, 1.2, 30, 5)
    assert found.shape == (12, 129)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_training_distinguishes_annotated_slices():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.random((20, 4)) * [1, 1, 0.1, 0.1], rng.random((20, 4)) * [0.1, 0.1, 1, 1]])
    annotated = np.arange(40) < 15
    found = graph_features(features.astype(np.float32), annotated, weight=1.2, steps=200, seed=0)
    assert found[:20, -1].mean() > found[20:, -1].mean()


@pytest.mark.parametrize("seed", range(3))
def test_picks_are_the_slices_that_the_features_belong_to(seed):
    """Annotated slices anywhere in the pool, limits and all: the picks are those of a slow loop over pool places."""
    stack = FakeStack()
    features = np.random.default_rng(seed).random((60, 5)).astype(np.float32)
    annotated = [SliceId("volume03", 7), SliceId("volume00", 4), SliceId("volume05", 0)]
    limits = Constraints(max_per_volume=2)
    pool = fake_pool(stack, features=features, annotated=annotated, constraints=limits, rows=np.arange(59, -1, -1))
    choices = choose_slices(create_strategy("coregcn/steps=10"), pool, 6, generator(seed, "test"))
    made = graph_features(
        pool.embeddings("segmenter"),
        pool.annotated,
        weight=1.2,
        steps=10,
        seed=int(generator(seed, "test").integers(2**63)),
    ).astype(float)
    centres, taken = [pool.ids.index(slice_id) for slice_id in annotated], []
    while len(taken) < 6:
        of_volume = [sum(pool.volumes[t] == v for t in taken) for v in range(6)]
        open_ones = [i for i in range(60) if i not in centres and of_volume[pool.volumes[i]] < 2]
        taken.append(max(open_ones, key=lambda i: min(np.linalg.norm(made[i] - made[c]) for c in centres)))
        centres.append(taken[-1])
    assert [choice.slice for choice in choices] == [pool.ids[i] for i in taken]
    assert all(a.score >= b.score for a, b in itertools.pairwise(choices))


def test_torchs_own_randomness_is_left_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    pool = fake_pool(annotated=[SliceId("volume00", 1)], model=fake_model())
    choose_slices(create_strategy("coregcn/steps=3"), pool, 2, generator(0, "test"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_reasons_name_the_space_and_what_stands_in_for_it():
    annotated = [SliceId("volume00", 1)]
    strategy = create_strategy("coregcn/steps=3")
    reason = strategy.select(fake_pool(annotated=annotated), 1, generator(0, "test"))[0].reason
    assert "model's features" in reason
    assert "volume00, slice 2" in reason
    pixels = {"pixels": lambda rows: np.random.default_rng(0).random((len(rows), 4)).astype(np.float32)}
    reason = strategy.select(fake_pool(annotated=annotated, embedders=pixels), 1, generator(0, "test"))[0].reason
    assert "pixels" in reason
    reason = choose_slices(strategy, fake_pool(), 1, generator(0, "test"))[0].reason
    assert reason.startswith("No slice is annotated yet")


def test_without_open_slices_nothing_is_chosen():
    stack = FakeStack(1, 2)
    annotated = [SliceId("volume00", 0), SliceId("volume00", 1)]
    assert (
        choose_slices(create_strategy("coregcn"), fake_pool(stack, annotated=annotated), 1, generator(0, "test")) == []
    )
