"""The maximum mean discrepancy between two samples (Gretton et al. 2012)."""

from __future__ import annotations

import torch

SCALES = (0.5, 1.0, 2.0)
"""Squared widths of the Gaussians in the mixture, divided by the number of dimensions."""


def mixture_kernel(squared: torch.Tensor, dimensions: int) -> torch.Tensor:
    """Mean of Gaussians exp(-d^2 / (2 s D)) for s in ``SCALES``, D dimensions and squared distances d^2.

    Two draws of N(0, I) have a distance of about sqrt(2 D), where this kernel is neither 0 nor flat for any D.

    Args:
        squared: Squared Euclidean distances, any shape.
        dimensions: Dimensions D of the points.
    """
    kernels = [torch.exp(squared / (-2 * scale * dimensions)) for scale in SCALES]
    return torch.stack(kernels).mean(0)


def laplace_kernel(squared: torch.Tensor, dimensions: int) -> torch.Tensor:
    """exp(-d / (2 sigma^2)) with sigma = 1 for distances d, as in the text of Ozdemir et al. (2021, Eq. 6).

    Args:
        squared: Squared Euclidean distances, any shape.
        dimensions: Dimensions of the points; not used.
    """
    return torch.exp(-0.5 * (squared + 1e-12).sqrt())  # the root of 0 has no gradient


KERNELS = {"mixture": mixture_kernel, "laplace": laplace_kernel}
"""Kernels by name: squared distances and number of dimensions -> values in (0, 1]."""


def mmd(points: torch.Tensor, others: torch.Tensor, kernel: str = "mixture") -> torch.Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy between two samples.

    Pairs of a point with itself are left out (the U-statistic), so that the expectation is 0 for samples of the same
    distribution and single estimates may be negative.

    Args:
        points: (n, d) float tensor, n at least 2.
        others: (m, d) float tensor, m at least 2.
        kernel: Name from ``KERNELS``.

    Returns:
        Scalar tensor, with a gradient with respect to both.
    """
    n, m = len(points), len(others)
    value, dimensions = KERNELS[kernel], points.shape[1]
    within_points = value(_squared(points, points), dimensions)
    within_others = value(_squared(others, others), dimensions)
    across = value(_squared(points, others), dimensions)
    return (
        (within_points.sum() - within_points.diagonal().sum()) / (n * (n - 1))
        + (within_others.sum() - within_others.diagonal().sum()) / (m * (m - 1))
        - 2 * across.mean()
    )


def _squared(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Squared distances of all pairs: (n, d), (m, d) -> (n, m)."""
    total = (points**2).sum(1)[:, None] + (others**2).sum(1)[None, :]
    return (total - 2 * points @ others.T).clamp(min=0)
