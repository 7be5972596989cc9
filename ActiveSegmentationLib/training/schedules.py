"""Learning rate schedules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Schedule = Literal["cosine", "poly", "constant"]
"""How the learning rate falls after the warm-up: "cosine" to 0, "poly" as (1 - t) ** 0.9, or not at all."""


def rate_factor(schedule: Schedule, step: int, steps: int, warm_up: float) -> float:
    """Factor in [0, 1] of the peak learning rate at a step.

    Args:
        schedule: How the rate falls after the warm-up.
        step: Number of the step, from 0; beyond the last one the factor is that of the end.
        steps: Number of steps of the whole training.
        warm_up: Share of the steps, in [0, 1), over which the rate rises linearly.
    """
    warm = warm_up * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    t = min(1.0, (step - warm) / max(1.0, steps - warm))  # timing takes more steps than a short training has
    falling = {"cosine": (1 + math.cos(math.pi * t)) / 2, "poly": (1 - t) ** 0.9, "constant": 1.0}
    return falling[schedule]


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters of an optimiser."""
    for group in optimiser.param_groups:
        group["lr"] = rate
