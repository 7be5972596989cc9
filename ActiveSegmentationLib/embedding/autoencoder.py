"""Convolutional encoder and decoder blocks, for the autoencoders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from ActiveSegmentationLib.embedding.network import shrunk

LEAST_DEVIATION = 1e-2
"""Smallest standard deviation that an image is divided by, so that an empty slice does not become amplified noise."""
_NORM_GROUPS = 8

SMALL_GRID = 64
"""Slices whose longer side has at most this many pixels are resized to 32 x 32 pixels, larger ones to 64 x 64."""


def fitting_side(grid: tuple[int, int]) -> int:
    """Default number of rows and columns that slices of a grid are resized to."""
    return 32 if max(grid) <= SMALL_GRID else 64


def standardised(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images (n, C, H, W) float32 resized to ``side`` x ``side`` pixels, each channel with mean 0 and deviation 1.

    Every image is normalised on its own, as in Ozdemir et al. (2021, Sec. 2.5).
    """
    small = shrunk(images, (side, side))
    deviation, mean = torch.std_mean(small, dim=(2, 3), keepdim=True, correction=0)
    return (small - mean) / deviation.clamp(min=LEAST_DEVIATION)


def down_blocks(channels: int, widths: Sequence[int], outputs: int, side: int) -> nn.Sequential:
    """Encoder: blocks that halve the plane, then a linear layer: (n, channels, side, side) -> (n, outputs).

    Group normalisation is used, so that the output for a slice does not depend on the other slices of the batch.

    Args:
        channels: Channels of the images.
        widths: Channels after each block, multiples of 8.
        outputs: Length of the output.
        side: Rows and columns of the images, a multiple of 2 to the number of blocks.
    """
    layers: list[nn.Module] = []
    before = channels
    for width in widths:
        layers += [nn.Conv2d(before, width, 4, stride=2, padding=1, bias=False), *_activation(width)]
        before = width
    end = side >> len(widths)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * end * end, outputs))


def up_blocks(channels: int, widths: Sequence[int], inputs: int, side: int) -> nn.Sequential:
    """Decoder for the output of ``down_blocks`` with the same arguments: (n, inputs) -> (n, channels, side, side)."""
    end = side >> len(widths)
    order = [*reversed(widths)]
    layers: list[nn.Module] = [nn.Linear(inputs, order[0] * end * end), nn.Unflatten(1, (order[0], end, end))]
    for before, width in itertools.pairwise(order):
        layers += [nn.ConvTranspose2d(before, width, 4, stride=2, padding=1, bias=False), *_activation(width)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(order[-1], channels, 4, stride=2, padding=1))


def _activation(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(width // _NORM_GROUPS, width), nn.LeakyReLU(0.1)
