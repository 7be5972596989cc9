"""BADGE: slices from which the model would learn much, each something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, ModelStrategy, best
from ActiveSegmentationLib.acquisition.gradient_options import PARAMETERS, gradients_of
from ActiveSegmentationLib.acquisition.k_center import Cover, fitting_device
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register


@register
class Badge(ModelStrategy):
    """k-means++ draws in the space of loss gradients at the model's own labels (Ash et al. 2020; "BADGE(LL)" of
    Foellmer et al. 2024).

    A slice's place is the gradient of the loss by the last 3 x 3 convolution before the head, as if the most probable
    label of every pixel were true: long where the model is unsure, and in another direction where something else would
    be learnt. The first pick is the longest gradient, every further one is drawn with probability proportional to the
    squared distance to the nearest pick; where all distances are 0, evenly. The loss is the cross-entropy, in which
    the direction depends on the slice's pixels alone; "training" adds the Dice loss in equal parts, as the paper's code
    does. Of several models the first gives the gradients. Needs a trained U-Net; costs a forward and a short backward
    pass a slice, then O(budget n d) with d <= ``parameters``.
    """

    name = "badge"
    summary = "Slices from which the model would learn much, each something different; quick, with some chance in it."
    known_options: ClassVar[Mapping[str, Option]] = {
        "parameters": PARAMETERS,
        "entries": Option("random", "Which weights of a larger layer are kept.", choices=("random", "first")),
        "loss": Option("cross-entropy", "The loss behind the gradients.", choices=("cross-entropy", "training")),
        "start": Option(
            "longest",
            "Begin from the longest gradient, or away from annotated slices.",
            choices=("longest", "annotated"),
        ),
    }

    def select_by_model(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Draw slices; see ``Strategy.select``."""
        gradients = gradients_of(
            pool, "last", self.options["parameters"], rng, loss=self.options["loss"], entries=self.options["entries"]
        )
        cover = Cover(gradients, fitting_device(pool.device, gradients))
        known = np.flatnonzero(pool.annotated) if self.options["start"] == "annotated" else np.arange(0)
        cover.add(known)
        allowance = pool.allowance()
        choices: list[Choice] = []
        while len(choices) < budget and allowance:
            if choices or len(known):
                distances = cover.gains()
                position = _draw(distances**2 * allowance.mask, allowance.mask, rng)
            else:
                distances = np.linalg.norm(gradients.astype(np.float64), axis=1)
                position = best(distances, allowance.mask)
            reason = _reason(pool, distances[position], first=not choices and not len(known))
            choices.append(Choice(pool.ids[position], float(distances[position]), reason))
            allowance.take(position)
            cover.add(np.array([position]))
        return choices


def _draw(weights: np.ndarray, allowed: np.ndarray, rng: np.random.Generator) -> int:
    """A position with probability proportional to its weight, an allowed one evenly where all weights are 0."""
    candidates = np.flatnonzero(allowed)
    total = weights[candidates].sum()
    return int(rng.choice(candidates, p=weights[candidates] / total if total > 0 else None))


def _reason(pool: Pool, distance: float, *, first: bool) -> str:
    if distance == 0:
        drawn = "" if first else "Drawn at random: "
        return f"{drawn}{'The' if first else 'the'} model would learn the same from every {pool.unit} that is left."
    if first:
        return f"The {pool.unit} that would change the model most."
    return f"Would change the model in another way than the {pool.unit}s picked before it."
