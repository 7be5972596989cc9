"""Random slices, a share of them from where the structures are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.balanced_random import VolumeDraw
from ActiveSegmentationLib.acquisition.base import Choice, Strategy, without_knowledge
from ActiveSegmentationLib.acquisition.foreground import PIXELS, SHARE, predicted_pixels
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.common.errors import BadInput

SOURCES = ("predicted", "marked", "oracle")
"""What tells where the structures are: the model's prediction, extents that a person marked, or the true labels."""


@register
class ForegroundRandom(Strategy):
    """Random slices of which a share shows foreground ("Random 33 % FG" and "Random 66 % FG" of nnActive, Luth et al.
    2025, brought from patches to slices).

    round(share * budget) times a foreground class is drawn uniformly among those that open slices still show, then a
    slice that shows it: at random from the volume that has the fewest annotated and requested slices. All others are
    random slices, spread over the volumes in the same way; with share=0 this is "balanced-random".

    The argument says what tells where the foreground is. "predicted" (usual): the current model gives a class at least
    ``pixels`` pixels; needs a trained model, before which balanced random slices are asked for. "marked": a person
    marked the first and the last slice that show anything; all classes count as one; needs such marks, volumes without
    any are drawn from by the rest only. "oracle": the true labels, which needs an experiment; it is what nnActive
    does, and more than any annotator can know. Cost: one prediction of every slice for "predicted", else none;
    O(budget n).

    Raises:
        BadInput: If the argument names no such source.
    """

    name = "foreground-random"
    summary = "Random slices, a third of them where structures are predicted, or marked (foreground-random:marked)."
    known_options: ClassVar = {
        "share": Option(0.33, "part of the slices that shall show foreground, as 0.33 or 0.66", least=0, most=1),
        "pixels": Option(PIXELS, "pixels of a class that the model must predict for a slice to show it", least=1),
    }

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        self.figures = (SHARE,) if self.source == "predicted" else ()
        self.marks = self.source == "marked"
        self.needs = {"marked": frozenset({"extents"}), "oracle": frozenset({"truth"})}.get(self.source, frozenset())

    def _take_argument(self, argument: str | None) -> None:
        if argument is not None and argument not in SOURCES:
            advice = f"Use {', '.join(f'{self.name}:{source}' for source in SOURCES)}."
            raise BadInput(f"There is no source '{argument}'.", where=f"strategy {self.name}", advice=advice)
        self.source = argument or "predicted"

    def hold(self, pool: Pool) -> str:
        """Why it cannot tell yet where the foreground is; "" where it can."""
        if self.source == "predicted" and pool.model is None:
            return "No model is trained yet"
        if self.source == "marked" and np.isnan(pool.marked()).all():
            return "No volume has a marked extent yet"
        return ""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices, those for the foreground first; see ``Strategy.select``."""
        why_not = self.hold(pool)
        if why_not:
            return without_knowledge(pool, budget, why_not)
        shown, scores = self._shown(pool)
        draw = VolumeDraw(pool, rng)
        choices: list[Choice] = []
        for _ in range(round(self.options["share"] * budget)):
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
        """Which foreground classes each slice shows, (n, classes) bool, and by how much where that is known."""
        if self.source == "marked":
            return (np.nan_to_num(pool.marked()) > 0)[:, None], None
        if self.source == "oracle":
            return pool.true_classes()[:, 1:], None
        return predicted_pixels(pool) >= self.options["pixels"], pool.figure(*SHARE)[:, 1:]

    def _reason(self, name: str) -> str:
        if self.source == "marked":
            return "Drawn at random from the slices between the marked ends of the structures."
        if self.source == "oracle":
            return f"Drawn at random from the slices that truly show {name} (known in experiments only)."
        return f"Drawn at random from the slices in which the model sees {name}."
