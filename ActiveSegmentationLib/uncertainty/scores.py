"""How uncertain a model is of a pixel, of a slice, of a volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.segmentation import Predictor, Sampler, Slices, predict_volume
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
    "variance": lambda found: found.variance.mean(1),
    "std": lambda found: found.std.mean(1),
    "variance-ratio": lambda found: found.variance_ratio,
    "least-confidence": lambda found: 1 - found.mean.amax(1),
    "margin": _margin,
}
"""Maps (n, H, W) by name, larger where the model is less sure; "variance" and "std" are means over the classes."""

CLASS_SCORES: dict[str, Callable[[Accumulator], torch.Tensor]] = {
    "class-variance": lambda found: found.variance,
    "class-entropy": lambda found: found.mean * found.entropy[:, None],
    "class-probability": lambda found: found.mean,
    "class-share": lambda found: _most_probable(found.mean),
}
"""Maps of every class (n, C, H, W) by name.

"class-variance" is Foellmer 2024's Uncert(x, c), "class-entropy" the class-weighted predictive entropy of ClaSP PE
(mean probability times entropy of the mean), "class-share" 1 where the class is the most probable one, else 0.
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
    device: str = "cpu",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Scores of slices: means over the pixels that show the image, all from one sweep.

    No annotation decides the padding around a plane that is smaller than the grid, so the model may be as unsure of it
    as it likes: averaged in, it would hide what the model thinks of the image.

    Args:
        model: A segmenter or an ensemble.
        stack: The cohort's slices.
        rows: (n,) rows of the stack.
        sampler: Source of the draws.
        names: Names from ``SCORES`` and ``CLASS_SCORES``.
        device: Torch device.
        batch_size: Slices a batch, chosen by the size of the grid unless told.
        progress: Told after every batch.

    Returns:
        For every name float32 in the order of ``rows``: (n,), or (n, classes) for names from ``CLASS_SCORES``.

    Raises:
        BadInput: If there is no score of a name.
    """
    maps = SCORES | CLASS_SCORES
    unknown = sorted(set(names) - set(maps))
    if unknown:
        advice = f"Choose from: {', '.join(maps)}."
        raise BadInput(f"There is no uncertainty called '{unknown[0]}'.", where="uncertainty", advice=advice)
    shapes = {name: (len(rows), model.classes) if name in CLASS_SCORES else (len(rows),) for name in names}
    result = {name: np.empty(shape, dtype=np.float32) for name, shape in shapes.items()}
    done = 0
    for chosen, found in accumulate(
        model, stack, rows, sampler, device=device, batch_size=batch_size, progress=progress
    ):
        inside = torch.from_numpy(stack.inside(chosen)).to(found.mean.device)
        for name in names:
            result[name][done : done + len(chosen)] = _mean_inside(maps[name](found), inside).cpu().numpy()
        done += len(chosen)
    return result


def _mean_inside(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Means over the pixels inside (n, H, W) of maps (n, H, W) or (n, C, H, W); 0 where no pixel is inside."""
    shown = inside if values.ndim == inside.ndim else inside[:, None]
    return (values * shown).sum((-2, -1)) / shown.sum((-2, -1)).clamp(min=1)


def uncertainty_volume(
    model: Predictor,
    stack: Slices,
    volume_id: str,
    *,
    sampler: Sampler | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Entropy of the mean probabilities of a volume, in the plane geometry of its own slices.

    Args:
        model: A segmenter or an ensemble.
        stack: The cohort's slices.
        volume_id: The volume.
        sampler: Source of the draws to average; one prediction without dropout unless given.
        device: Torch device.
        batch_size: Slices a batch, chosen by the size of the grid unless told.
        progress: Told after every batch.

    Returns:
        (S, h, w) float32 in nats, 0 to ln C; 0 outside of the stack's grid.
    """
    prediction = predict_volume(
        model, stack, volume_id, sampler=sampler, device=device, batch_size=batch_size, progress=progress
    )
    return entropy_map(prediction.probabilities)
