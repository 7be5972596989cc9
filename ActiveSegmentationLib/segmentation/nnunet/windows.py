"""Sliding windows over slices and volumes, in the manner of nnU-Net's predictor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch

STEP = 0.5
"""Distance of neighbouring windows, as a share of a window."""

Places = tuple[slice, ...]


def padded(images: torch.Tensor, patch: tuple[int, ...]) -> tuple[torch.Tensor, Places]:
    """Images (n, C, *size), padded by 0 where they are smaller than a patch, and where the images are in the result."""
    from acvl_utils.cropping_and_padding.padding import pad_nd_image

    found, place = pad_nd_image(images, patch, "constant", {"value": 0}, True)
    return found, place[2:]


def window_logits(
    network: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    patch: tuple[int, ...],
    *,
    at_once: int,
    starts: Sequence[int] | None = None,
) -> torch.Tensor:
    """Apply a network to images of any size, window by window, and average with nnU-Net's weights.

    Args:
        network: Maps (b, C, *patch) to logits (b, classes, *patch).
        images: (n, C, *size) float32 on the network's device.
        patch: Size of a window.
        at_once: Windows that the network takes at once.
        starts: Where windows start along the first axis. Default: as nnU-Net places them.

    Returns:
        Logits (n, classes, *size) float32.
    """
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    wide, place = padded(images, patch)
    windows = list(_windows(tuple(wide.shape[2:]), patch, starts))
    if len(windows) == 1:
        found = torch.cat([network(part) for part in wide.split(at_once)])
        return found[(slice(None), slice(None), *place)]
    weights = compute_gaussian(
        patch, sigma_scale=1.0 / 8, value_scaling_factor=10, dtype=torch.float32, device=images.device
    )
    total, norm = None, torch.zeros(wide.shape[2:], device=images.device)
    for window in windows:
        norm[window] += weights
    for pairs in _in_batches([(n, window) for n in range(len(wide)) for window in windows], at_once):
        found = network(torch.stack([wide[(n, slice(None), *window)] for n, window in pairs]))
        if total is None:
            total = torch.zeros((len(wide), found.shape[1], *wide.shape[2:]), device=images.device)
        for (n, window), logits in zip(pairs, found, strict=True):
            total[(n, slice(None), *window)] += logits * weights
    assert total is not None  # there is always a window
    total /= norm  # in place, as both may take gigabytes
    return total[(slice(None), slice(None), *place)]


def mirrored(network: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The mean of a network's logits over all mirror images of its input, as of nnU-Net's predictor."""

    def mean(images: torch.Tensor) -> torch.Tensor:
        axes = range(2, images.ndim)
        flips = [some for count in range(1, len(axes) + 1) for some in itertools.combinations(axes, count)]
        total = network(images)
        for some in flips:
            total = total + torch.flip(network(torch.flip(images, some)), some)
        return total / (len(flips) + 1)

    return mean


def first_slices(slices: int, window: int) -> list[int]:
    """Where nnU-Net's windows start along the slices of a volume; one that is smaller than a window is padded."""
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    return compute_steps_for_sliding_window((max(slices, window),), (window,), STEP)[0]


def _windows(size: tuple[int, ...], patch: tuple[int, ...], starts: Sequence[int] | None) -> Iterator[Places]:
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    steps = compute_steps_for_sliding_window(size, patch, STEP)
    for corner in itertools.product(steps[0] if starts is None else starts, *steps[1:]):
        yield tuple(slice(start, start + length) for start, length in zip(corner, patch, strict=True))


def _in_batches(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
