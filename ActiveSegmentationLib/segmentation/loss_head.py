"""The loss head: a small network that learns to predict the loss of the segmentation network on a slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

WIDTH = 128
"""Number of features that the head computes from each level (Yoo and Kweon 2019, Sec. 3.2)."""

MARGIN = 1.0
"""Smallest difference that two predicted losses should have (Sec. 3.3)."""

ATTACHED = 20 / 75
"""Share of the steps in which the ranking loss also trains the encoder (Gaillochet et al. 2023: 20 of 75 epochs);
afterwards it trains the head only."""

RATE, MOMENTUM, DECAY = 1e-2, 0.9, 5e-4
"""Settings of the head's own SGD. The learning rate is ten times that of Gaillochet et al., who train more than twenty
times longer, and a tenth of that of Yoo and Kweon."""


class LossHead(nn.Module):
    """Predicts the loss of a slice from the encoder's maps of all levels (Yoo and Kweon 2019, Fig. 2).

    Each map is averaged over positions, and a linear layer with ReLU turns it into ``WIDTH`` features. Another linear
    layer turns the features of all levels into one number. Only the order of these numbers has a meaning.

    Args:
        channels: Number of channels of each level's map.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Linear(width, WIDTH) for width in channels)
        self.out = nn.Linear(WIDTH * len(channels), 1)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Maps (n, channels, h, w) of every level -> predicted losses (n,) float32."""
        means = [level(each.float().mean((2, 3))) for level, each in zip(self.levels, maps, strict=True)]
        return self.out(functional.relu(torch.cat(means, 1)))[:, 0]


def head_optimiser(head: LossHead) -> torch.optim.SGD:
    """The optimiser of the head alone."""
    return torch.optim.SGD(head.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)


def ranking_loss(predicted: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
    """Hinge loss on the order of pairs of slices: mean of max(0, margin - sign(l_i - l_j) (p_i - p_j)) (Sec. 3.3).

    Slice i of the batch is paired with slice n - 1 - i. The middle slice of an odd number and pairs of equal losses are
    left out.

    Args:
        predicted: (n,) predicted losses.
        losses: (n,) losses, used without gradient.

    Returns:
        Scalar, 0 if there is no pair.
    """
    pairs = len(predicted) // 2
    order = torch.sign(losses - losses.flip(0)).detach()[:pairs]
    hinge = (MARGIN - order * (predicted - predicted.flip(0))[:pairs]).clamp(min=0)
    differ = order != 0
    return torch.where(differ, hinge, 0).sum() / differ.sum().clamp(min=1)
