"""Sliding windows over planes that are larger than the images a network is trained on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch

OVERLAP = 0.25
"""Smallest overlap of neighbouring windows, as a share of a window."""

LARGEST_WINDOW = (512, 512)
"""Window of models that were saved without the size of their training images."""

PIXELS_PER_BATCH = 2**17
"""Default number of pixels in a batch; larger batches are not faster on a CPU and need more memory."""

Place = tuple[slice, slice]


def fits(images: torch.Tensor, window: tuple[int, int]) -> bool:
    """Whether images (n, C, H, W) are not larger than a window."""
    return images.shape[-2] <= window[0] and images.shape[-1] <= window[1]


def windowed(
    predict: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, window: tuple[int, int]
) -> torch.Tensor:
    """Apply a network to images of any size, with the memory that a few windows need.

    Where windows overlap, the results are averaged with weights that fall towards the windows' borders.

    Args:
        predict: Maps images (n, C, H, W) to (n, K, H, W) float, for images that are not larger than the window.
        images: (n, C, H, W) float.
        window: Rows and columns of a window.

    Returns:
        (n, K, H, W) float; for images that fit, the result of ``predict``.
    """
    if fits(images, window):
        return predict(images)
    from monai.inferers.utils import sliding_window_inference  # slow to import, and most cohorts do not need it

    size = tuple(min(limit, n) for limit, n in zip(window, images.shape[-2:], strict=True))
    batch = max(1, PIXELS_PER_BATCH // (size[0] * size[1]))
    found = sliding_window_inference(images, size, batch, predict, overlap=OVERLAP, mode="gaussian")
    assert isinstance(found, torch.Tensor)
    return found


def places(shape: tuple[int, int], window: tuple[int, int]) -> Iterator[tuple[Place, Place]]:
    """Windows that cover a plane, each with the part that is nearer to its centre than to that of any other window.

    Args:
        shape: Rows and columns of the plane.
        window: Rows and columns of a window.

    Yields:
        Rows and columns of a window in the plane, and rows and columns of its own part within the window. The own parts
        cover the plane without overlap.
    """
    rows, columns = (_along(n, limit) for n, limit in zip(shape, window, strict=True))
    for row, own_row in rows:
        for column, own_column in columns:
            yield (row, column), (own_row, own_column)


def mean_over_windows(
    compute: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, window: tuple[int, int]
) -> torch.Tensor:
    """Mean over the windows of what is computed for each: (n, C, H, W) images -> (n, ...)."""
    if fits(images, window):
        return compute(images)
    shape = (images.shape[-2], images.shape[-1])
    found = [compute(images[..., rows, columns]) for (rows, columns), _ in places(shape, window)]
    return torch.stack(found).mean(0)


def _along(length: int, window: int) -> list[tuple[slice, slice]]:
    """Windows along one axis, evenly spaced, with their own parts."""
    window = min(window, length)
    step = max(1, int(window * (1 - OVERLAP)))
    count = 1 + -(-(length - window) // step)
    starts = [round(number * (length - window) / max(1, count - 1)) for number in range(count)]
    borders = [(before + window + after) // 2 for before, after in itertools.pairwise(starts)]
    edges = zip([0, *borders], [*borders, length], strict=True)
    return [
        (slice(start, start + window), slice(low - start, high - start))
        for start, (low, high) in zip(starts, edges, strict=True)
    ]
