"""Uncertainty scores: maps of pixels, and numbers of slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import Predictor, Sampler, Slices
from ActiveSegmentationLib.uncertainty.accumulation import Accumulator, accumulate


def _most_probable(probabilities: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(probabilities).scatter_(1, probabilities.argmax(1, keepdim=True), 1.0)


def _margin(found: Accumulator) -> torch.Tensor:
    two = found.mean.topk(2, dim=1).values
    return 1 - (two[:, 0] - two[:, 1])


SCORES: dict[str, Callable[[Accumulator], torch.Tensor]] = {
    "entropy": lambda found: found.entropy,
    "mean-entropy": lambda found: found.mean_entropy,
    "mutual-information": lambda found: found.mutual_information,
    "half-sum-of-entropies": lambda found: (found.entropy + found.mean_entropy) / 2,
    "variance": lambda found: found.variance.mean(1),
    "foreground-variance": lambda found: found.variance[:, 1:].mean(1),
    "std": lambda found: found.std.mean(1),
    "variance-ratio": lambda found: found.variance_ratio,
    "least-confidence": lambda found: 1 - found.mean.amax(1),
    "margin": _margin,
}
"""Functions that make maps (n, H, W) by name, larger where the model is less sure.

"variance" and "std" are means over the classes, "foreground-variance" over those that are not background.
"half-sum-of-entropies" is half the entropy of the mean plus half the mean entropy: the code released with Gaillochet
et al. 2023 computes it where the paper says Jensen-Shannon divergence.
"""


def _weighted(name: str) -> Callable[[Accumulator], torch.Tensor]:
    return lambda found: found.mean * SCORES[name](found)[:, None]


CLASS_SCORES: dict[str, Callable[[Accumulator], torch.Tensor]] = {
    **{f"class-{name}": _weighted(name) for name in SCORES},
    "class-variance": lambda found: found.variance,
    "class-std": lambda found: found.std,
    "class-probability": lambda found: found.mean,
    "class-share": lambda found: _most_probable(found.mean),
}
"""Functions that make maps of every class (n, C, H, W) by name.

"class-variance" is Foellmer 2024's Uncert(x, c), "class-std" its root, "class-share" 1 where the class is the most
probable one, else 0. The other maps are weighted with the mean probability of each class; "class-entropy" is
the class-weighted predictive entropy of ClaSP PE.
"""

TOP_SHARE = 0.05
"""Share of a slice's pixels that the aggregate "top" averages."""

DILATION = 2
"""Pixels by which the predicted foreground is dilated for the aggregate "foreground"."""


def _mean(values: torch.Tensor, counted: torch.Tensor | None) -> torch.Tensor:
    """Mean over the counted pixels, 0 where none counts: (..., H, W) -> (...)."""
    if counted is None:
        return values.mean((-2, -1))
    return torch.where(counted, values, 0).sum((-2, -1)) / counted.sum((-2, -1)).clamp(min=1)


def _foreground(values: torch.Tensor, found: Accumulator) -> torch.Tensor:
    foreground = (found.mean.argmax(1, keepdim=True) > 0).float()
    near = functional.max_pool2d(foreground, 2 * DILATION + 1, stride=1, padding=DILATION)[:, 0] > 0
    return _mean(values, near if found.valid is None else near & found.valid)


def _top(values: torch.Tensor, found: Accumulator) -> torch.Tensor:
    if found.valid is None:
        flat = values.flatten(1)
        return flat.topk(max(1, round(TOP_SHARE * flat.shape[1])), dim=1).values.mean(1)
    slices = zip(values, found.valid, strict=True)
    chosen = [each[valid].topk(max(1, round(TOP_SHARE * int(valid.sum())))).values.mean() for each, valid in slices]
    return torch.stack(chosen)


def _counted(values: torch.Tensor, found: Accumulator) -> torch.Tensor:
    return values if found.valid is None else torch.where(found.valid, values, 0)


AGGREGATES: dict[str, Callable[[torch.Tensor, Accumulator], torch.Tensor]] = {
    "mean": lambda values, found: _mean(values, found.valid),
    "foreground": _foreground,
    "top": _top,
    "sum": lambda values, found: _counted(values, found).sum((-2, -1)),
    "max": lambda values, found: _counted(values, found).amax((-2, -1)),
}
"""Functions that reduce a map (n, H, W), nowhere negative, to one number per slice (n,), by name.

Pixels that are not valid do not count.

"mean" averages all pixels, as in the papers; "foreground" the predicted foreground and its surroundings within
``DILATION`` pixels of it, 0 where none is predicted; "top" the ``TOP_SHARE`` of the pixels with the largest values.
"""


def entropy_map(probabilities: np.ndarray, axis: int = 0) -> np.ndarray:
    """Entropy of probabilities over the classes.

    Args:
        probabilities: Values in [0, 1] that sum to 1 along ``axis``, for example (C, S, h, w).
        axis: The axis of the C classes.

    Returns:
        float32 without that axis, in nats between 0 (certain) and ln C; 0 ln 0 counts as 0.
    """
    p = torch.from_numpy(np.ascontiguousarray(probabilities, dtype=np.float32))
    return torch.special.entr(p).sum(axis).clamp(0, math.log(p.shape[axis])).numpy()


def slice_scores(
    model: Predictor,
    stack: Slices,
    rows: np.ndarray,
    sampler: Sampler,
    *,
    names: Sequence[str] = ("entropy",),
    compute: Compute | None = None,
) -> dict[str, np.ndarray]:
    """Uncertainty scores of slices, all from the same draws: means (or other aggregates) over pixels inside the image.

    Args:
        model: A model or an ensemble.
        stack: The cohort's slices.
        rows: (n,) rows of the stack.
        sampler: Source of the draws.
        names: Names from ``SCORES`` and ``CLASS_SCORES``; those from ``SCORES`` may be followed by a colon and a name
            from ``AGGREGATES``, as in "entropy:top".
        compute: Device, batch size and progress reporter. Default: the CPU.

    Returns:
        For every name float32 in the order of ``rows``: (n,), or (n, classes) for names from ``CLASS_SCORES``; NaN for
        slices with a probability that is not finite.

    Raises:
        BadInput: If a name is unknown.

    Example:
        >>> slice_scores(model, stack, rows, Dropout(passes=8), names=["mutual-information", "entropy:top"])
    """
    measures = {name: _measure(name) for name in names}
    shapes = {name: (len(rows), model.classes) if name in CLASS_SCORES else (len(rows),) for name in names}
    result = {name: np.empty(shape, dtype=np.float32) for name, shape in shapes.items()}
    done = 0
    for chosen, found in accumulate(model, stack, rows, sampler, compute):
        broken = ~torch.isfinite(found.mean).flatten(1).all(1)  # votes and masks would hide them
        for name in names:
            values = measures[name](found)
            values[broken] = torch.nan
            result[name][done : done + len(chosen)] = values.cpu().numpy()
        done += len(chosen)
    return result


def _measure(name: str) -> Callable[[Accumulator], torch.Tensor]:
    """The function of a name such as "entropy", "entropy:top" or "class-variance": statistics -> (n,) or (n, C)."""
    base, colon, aggregate = name.partition(":")
    if name in CLASS_SCORES:
        of_class = CLASS_SCORES[name]
        return lambda found: _mean(of_class(found), None if found.valid is None else found.valid[:, None])
    if base not in SCORES:
        advice = f"Choose from: {', '.join(SCORES | CLASS_SCORES)}."
        raise BadInput(f"There is no uncertainty score called '{name}'.", where="uncertainty", advice=advice)
    if colon and aggregate not in AGGREGATES:
        advice = f"Choose from: {', '.join(AGGREGATES)}."
        raise BadInput(f"There is no aggregate called '{aggregate}'.", where="uncertainty", advice=advice)
    of_pixel, over_pixels = SCORES[base], AGGREGATES[aggregate or "mean"]
    return lambda found: over_pixels(of_pixel(found), found)
