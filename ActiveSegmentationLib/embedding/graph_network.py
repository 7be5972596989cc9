"""The graph network of CoreGCN, which learns features that separate annotated slices from the others."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.compute import Compute, on_device
from ActiveSegmentationLib.training import Learner, StepLosses, descend, run_training

HIDDEN = 128
DROPOUT = 0.3
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 5e-4
"""Network and training of Caramalau, Bhattarai and Kim (2021)."""

SMALLEST_DEGREE = 1e-10
"""Sums of similarities below this count as 0: such a slice resembles no other."""


class Graph:
    """Slices and their similarities as the adjacency matrix A = S D^-1 + I, which is applied but never stored.

    S = X X^T with a diagonal of 0 holds the cosine similarities of the slices, D = diag(column sums of S). For a matrix
    Z, A Z = X (X^T D^-1 Z) - D^-1 Z + Z, so all slices of a large pool can be used.

    Args:
        features: (n, d) float array, finite. Positive and negative parts become features of their own, so that no
            similarity is negative.
        device: PyTorch device.

    Attributes:
        rows: (n, m) float32 tensor X: positive and negative parts, scaled to length 1.
    """

    def __init__(self, features: np.ndarray, device: str) -> None:
        parts = np.concatenate([np.maximum(features, 0), np.maximum(-features, 0)], axis=1)
        used = np.asarray(parts[:, parts.any(axis=0)], dtype=np.float64)
        lengths = np.linalg.norm(used, axis=1, keepdims=True)
        unit = np.divide(used, lengths, out=np.zeros_like(used), where=lengths > 0)
        rows = torch.from_numpy(unit).to(device)
        own = (rows**2).sum(dim=1)
        degrees = rows @ rows.sum(dim=0) - own
        inverse = torch.where(degrees > SMALLEST_DEGREE, 1 / degrees.clamp(min=SMALLEST_DEGREE), 0.0)
        self.rows = rows.float()
        self._own, self._inverse = own.float()[:, None], inverse.float()[:, None]

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """A times (n, m) float32 values."""
        scaled = self._inverse * values
        return self.rows @ (self.rows.T @ scaled) - self._own * scaled + values


class GraphNetwork(nn.Module):
    """Two graph convolutions: H = relu(A X W1 + b1), y = A dropout(H) W2 + b2.

    Args:
        graph: The graph.
        draw: Source of the initial weights, on the CPU.
        device: PyTorch device.
    """

    def __init__(self, graph: Graph, draw: torch.Generator, device: str) -> None:
        super().__init__()
        self._graph = graph
        self._mixed = graph.spread(graph.rows)
        shapes = ((self._mixed.shape[1], HIDDEN), (HIDDEN,), (HIDDEN, 1), (1,))
        self.weights = nn.ParameterList(_initial(shape, draw).to(device) for shape in shapes)

    def hidden(self) -> torch.Tensor:
        """Hidden features H of all slices: (n, 128) float32."""
        return functional.relu(self._mixed @ self.weights[0] + self.weights[1])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log odds y (n, 1) float32 that a slice is annotated, from its hidden features."""
        return self._graph.spread(hidden @ self.weights[2]) + self.weights[3]


class GraphLearner(Learner):
    """Trains a graph network to distinguish annotated slices from the others.

    The loss is -mean log sigmoid(y) over the annotated slices - weight * mean log(1 - sigmoid(y)) over the others.

    Args:
        features: (n, d) float array, finite.
        annotated: (n,) bool, at least one of them True.
        weight: Weight of the slices that are not annotated.
        steps: Number of training steps.
        seed: Seed of weights and dropout, below 2**63.
        device: PyTorch device.
    """

    advice: ClassVar[str] = "Look for broken images in the cohort, or choose another strategy."
    stage = "Training the graph network"
    network: GraphNetwork

    def __init__(
        self, features: np.ndarray, annotated: np.ndarray, *, weight: float, steps: int, seed: int, device: str
    ) -> None:
        self.steps, self.device, self._weight = steps, device, weight
        self._draw = torch.Generator().manual_seed(seed)
        self._annotated = torch.from_numpy(np.flatnonzero(annotated)).to(device)
        self._others = torch.from_numpy(np.flatnonzero(~annotated)).to(device)
        self.network = GraphNetwork(Graph(features, device), self._draw, device)
        adam = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.optimisers = {"network": adam}

    def step(self, number: int) -> StepLosses:
        """Do one optimisation step over the whole graph; see ``Learner.step``."""
        hidden = self.network.hidden()
        kept = on_device(torch.rand(hidden.shape, generator=self._draw) >= DROPOUT, self.device)
        found = self.network.logits(hidden * kept / (1 - DROPOUT))[:, 0]
        loss = -functional.logsigmoid(found[self._annotated]).mean()
        if len(self._others):
            loss = loss - self._weight * functional.logsigmoid(-found[self._others]).mean()
        descend(self.optimisers["network"], loss)
        return {"loss": loss.detach()}


def graph_features(
    features: np.ndarray,
    annotated: np.ndarray,
    *,
    weight: float,
    steps: int,
    seed: int,
    compute: Compute | None = None,
) -> np.ndarray:
    """Train a graph network and return the features that it makes of the slices.

    PyTorch's own generators stay as they are.

    Args:
        features: (n, d) float32 array, finite.
        annotated: (n,) bool, at least one of them True.
        weight: Weight lambda of the slices that are not annotated.
        steps: Number of training steps.
        seed: Seed of weights and dropout, below 2**63.
        compute: Device and progress reporter. Default: the CPU.

    Returns:
        (n, 129) float32: hidden features, and the log odds that a slice is annotated.

    Raises:
        JobFailed: If the loss is not finite.
        Cancelled: If the user asked to stop.
    """
    compute = compute or Compute()
    learner = GraphLearner(features, annotated, weight=weight, steps=steps, seed=seed, device=compute.device)
    run_training(learner, compute.progress)
    with torch.no_grad():
        hidden = learner.network.hidden()
        return torch.cat([hidden, learner.network.logits(hidden)], dim=1).cpu().numpy()


def _initial(shape: tuple[int, ...], draw: torch.Generator) -> torch.Tensor:
    bound = 1 / math.sqrt(shape[-1])
    return torch.rand(shape, generator=draw) * (2 * bound) - bound
