"""Random slices with a share from slices that show structures, and the sources that say which slices do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ActiveSegmentationLib.acquisition.base import NO_MODEL, Choice, Strategy
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.random_choice import VolumeDraw
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec

PIXELS = 10
"""Default number of predicted pixels of a class from which a slice counts as showing the class."""


@dataclass(frozen=True)
class ForegroundRandom(Strategy):
    """Random slices of which a share shows foreground ("Random 33 % FG" and "Random 66 % FG" of nnActive, Luth et al.
    2025, adapted from patches to slices).

    - round(share * budget) times, a foreground class is drawn uniformly among the classes that open slices still show,
      then a random slice that shows it, from the volume with the fewest annotated and requested slices.
    - All others are random slices, spread over the volumes in the same way; with share=0 this is "balanced-random".

    ``structures_from`` is the source of the foreground:

    - "predicted": the current model gives a class at least ``pixels`` pixels; needs a trained model.
    - "marked": the extents that a person marked; all classes count as one. Needs such extents; volumes without
      one are drawn from by the rest only.
    - "oracle": the true labels, which needs an experiment; it is what nnActive does, and more than an annotator knows.

    Cost: one prediction of every slice for "predicted", else none; O(budget n).
    """

    name = "foreground-random"
    summary = "Random slices, a third of them where structures are predicted, or marked (foreground-random:marked)."
    source = "nnActive 2025"
    requires = "a trained model; `:marked` marked extents; `:oracle` an experiment"

    structures_from: Annotated[
        Literal["predicted", "marked", "oracle"], Option("source of the foreground", argument=True)
    ] = "predicted"
    share: Annotated[
        float, Option("share of the slices that must show foreground, such as 0.33 or 0.66", least=0, most=1)
    ] = 0.33
    pixels: Annotated[int, Option("predicted pixels of a class from which a slice counts as showing it", least=1)] = (
        PIXELS
    )

    @property
    def needs(self) -> frozenset[str]:
        """Marked extents, or reference labels; see ``Strategy.needs``."""
        return {"marked": frozenset({"extents"}), "oracle": frozenset({"truth"})}.get(self.structures_from, frozenset())

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Shares of the classes, if the model is used; see ``Strategy.score_specs``."""
        return (class_share(),) if self.structures_from == "predicted" else ()

    @property
    def uses_extents(self) -> bool:
        """Whether they count; see ``Strategy.uses_extents``."""
        return self.structures_from == "marked"

    def not_ready_reason(self, pool: Pool) -> str:
        """Not ready before a model or a marked extent says where the structures are; see
        ``Strategy.not_ready_reason``."""
        if self.structures_from == "predicted" and pool.model is None:
            return NO_MODEL
        if self.structures_from == "marked" and np.isnan(pool.extent_share()).all():
            return "No volume has a marked extent yet"
        return ""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Select slices, those that show foreground first; see ``Strategy.select``."""
        shown, scores = self._shown(pool)
        draw = VolumeDraw(pool, rng)
        choices: list[Choice] = []
        for _ in range(round(self.share * budget)):
            left = np.flatnonzero((shown & draw.allowance.mask[:, None]).any(0))
            if not len(left):
                break
            of_class = int(rng.choice(left))
            position = draw.take(shown[:, of_class])
            score = None if scores is None else float(scores[position, of_class])
            choices.append(Choice(pool.ids[position], score, self._reason(pool.class_name(of_class + 1))))
        while len(choices) < budget and draw.allowance:
            position = draw.take(draw.allowance.mask)
            choices.append(Choice(pool.ids[position], None, "Drawn at random, wherever the structures are."))
        return choices

    def _shown(self, pool: Pool) -> tuple[np.ndarray, np.ndarray | None]:
        """Which foreground classes each slice shows, (n, classes) bool, and how much of each if known."""
        if self.structures_from == "marked":
            return (np.nan_to_num(pool.extent_share()) > 0)[:, None], None
        if self.structures_from == "oracle":
            return pool.true_classes()[:, 1:], None
        return predicted_pixels(pool) >= self.pixels, pool.scores(class_share())[:, 1:]

    def _reason(self, name: str) -> str:
        if self.structures_from == "marked":
            return "Drawn at random from the slices inside the marked extent of the structures."
        if self.structures_from == "oracle":
            return f"Drawn at random from the slices whose reference labels contain {name} (known in experiments only)."
        return f"Drawn at random from the slices in which the model sees {name}."


def class_share() -> ScoreSpec:
    """Share of a slice's pixels that the model assigns to each class; strategies that use structures declare it."""
    from ActiveSegmentationLib.uncertainty import Deterministic

    return ScoreSpec(Deterministic(), "class-share")


def predicted_pixels(pool: Pool) -> np.ndarray:
    """Number of pixels that the model assigns to each foreground class, without padding: (n, C - 1) float64, whole
    numbers.

    Raises:
        BadInput: If no model is trained.
    """
    share = pool.scores(class_share())[:, 1:]
    pixels = pool.per_item("image pixels", lambda rows: _image_pixels(pool, rows))
    return np.rint(share * pixels[:, None])


def structures(pool: Pool) -> np.ndarray | None:
    """How much of each foreground class a slice shows, from predictions or marked extents: (n, C - 1) float64, or None.

    The number of predicted pixels, 0 if fewer than ``PIXELS``. In volumes with a marked extent, 1 for every class
    inside the extent and 0 outside. None without a model and any marked extent.
    """
    inside = pool.extent_share()
    has_extent = ~np.isnan(inside)
    if pool.model is None and not has_extent.any():
        return None
    found = predicted_pixels(pool) if pool.model is not None else np.zeros((len(pool), 1))
    found[found < PIXELS] = 0
    found[has_extent] = (inside[has_extent] > 0)[:, None]
    return found


def _image_pixels(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Number of pixels of each slice that are not padding, (n,) float64; the same for all slices of a volume."""
    _, first, numbers = np.unique(pool.stack.volume_number[rows], return_index=True, return_inverse=True)
    counts = np.array([pool.stack.inside(rows[place : place + 1]).sum() for place in first], dtype=np.float64)
    return counts[numbers]
