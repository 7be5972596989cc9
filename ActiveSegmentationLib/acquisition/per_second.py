"""What a slice teaches for each second that it takes to annotate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, checked_scores, highest
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Figure, Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.wrapping import ScoreWrapper
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.uncertainty import Deterministic

ENOUGH = 5
"""Timed annotations from which seconds are fitted."""

_AREAS = Figure(Deterministic(), "class-probability")


@register
class PerSecond(ScoreWrapper):
    """Score over expected seconds to the power ``weight`` (ours).

    Expected seconds of a slice are a + b l, where l is the sum over the foreground classes of the root of their
    expected area, which grows as their outlines do. a and b, neither below 0, are fitted to the active seconds of the
    annotated slices once five are timed; until then looking at a slice and drawing are taken to share an average
    slice's time in halves, which ranks slices without knowing seconds. Uncertain slices are mostly those with much to
    draw, so that methods that look best per slice may not be so per hour (nnActive 2025). The argument names the score:
    entropy unless told; its scores must not be negative. Needs what the score needs, and a trained model. Cost: that of
    the score, and one prediction of every slice.
    """

    name = "per-second"
    summary = "Slices that are worth most for the time they will take to draw; add a score as in per-second:bald."
    known_options: ClassVar = {
        "weight": Option(1.0, "how much time counts: 0 not at all, 1 as score a second", least=0, most=10)
    }

    def __init__(self, argument: str | None = None, options: Mapping[str, str] | None = None) -> None:
        super().__init__(argument, options)
        self.figures = (*self.wrapped.figures, _AREAS)

    def shares(self) -> bool:
        """Scores are divided by seconds."""
        return True

    def hold(self, pool: Pool) -> str:
        """Why it cannot judge yet; see ``ModelStrategy.hold``."""
        return super().hold(pool) or ("" if pool.model is not None else "No model is trained yet")

    def score(self, pool: Pool) -> np.ndarray:
        """Scores over expected seconds: (n,) float64, so that this may be wrapped in turn.

        Raises:
            BadInput: If a score is negative.
        """
        return self._worth(pool, checked_scores(self.scorer.score(pool), pool))

    def _worth(self, pool: Pool, scores: np.ndarray) -> np.ndarray:
        if (scores < 0).any():
            message = f"'{type(self.wrapped).name}' has negative scores, of which no share a second can be told."
            raise BadInput(message, where=f"strategy {self.name}", advice="Use for example per-second:entropy.")
        return scores / expected_seconds(pool)[0] ** self.options["weight"]

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """What the slice will take, and why it is worth it; see ``ScoreStrategy.reason``."""
        seconds, measured = expected_seconds(pool)
        plain = float(self.scorer.score(pool)[position])
        time = (
            f"{seconds[position]:.0f} seconds" if measured else f"{seconds[position]:.1f} times that of a usual slice"
        )
        return f"Worth its time, about {time}. {self.scorer.reason(pool, position, plain)}"

    def select_by_scores(self, pool: Pool, scores: np.ndarray, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Take what is worth most a second; see ``Strategy.select``."""
        return highest(pool, checked_scores(self._worth(pool, scores), pool), budget, self.reason)


def expected_seconds(pool: Pool) -> tuple[np.ndarray, bool]:
    """How long every item will take to annotate, by the present model's prediction; see ``PerSecond``.

    Returns:
        (n,) float64, positive, and whether these are seconds; else they are parts of a usual slice's time.
    """
    outline = np.sqrt(pool.figure(*_AREAS)[:, 1:].astype(np.float64)).sum(axis=1)
    known = pool.knowledge.seconds or {}
    timed = [(position, known[item]) for position, item in enumerate(pool.ids) if known.get(item, 0) > 0]
    if len(timed) >= ENOUGH and pool.unit == "slice":
        from scipy.optimize import nnls

        positions, seconds = (np.array(values) for values in zip(*timed, strict=True))
        design = np.stack([np.ones(len(positions)), outline[positions]], axis=1)
        fixed, each = nnls(design, seconds.astype(np.float64))[0]
        if fixed + each * outline.min() > 0:
            return fixed + each * outline, True
    usual = outline.mean()
    return 0.5 + 0.5 * (outline / usual if usual > 0 else np.ones(len(outline))), False
