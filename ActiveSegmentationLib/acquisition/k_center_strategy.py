"""k-center greedy as a strategy, whatever the space in which slices are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Representativeness
from ActiveSegmentationLib.acquisition.k_center import Centre, Cover, fitting_device, k_center_greedy
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.spaces import Space, in_words
from ActiveSegmentationLib.common.seeds import generator


class KCenterStrategy(Representativeness):
    """k-center greedy in one embedding; subclasses say in which. The gain of a slice is its distance to the nearest
    annotated or picked one; before there is any, how much nearer it is to the mean of all than the farthest slice.
    """

    known_options: ClassVar[Mapping[str, Option]] = {
        "first": Option(
            "random",
            "where nothing is annotated, the very first slice is drawn at random, or is the most typical one",
            choices=("random", "typical"),
        )
    }
    space: Space

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``. Only the very first slice of all is drawn, by the pool's seed."""
        space = self.space.of(pool)
        features = pool.embeddings(space)
        device = fitting_device(pool.device, features)
        first = _first_centre(pool) if self.options["first"] == "random" else None
        centres = k_center_greedy(features, pool.annotated, pool.allowance(), budget, first=first, device=device)
        return [_choice(pool, centre, space, drawn=first is not None) for centre in centres]

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> CoverGains:
        """Distances to what is annotated; see ``Representativeness.start``."""
        space = self.space.of(pool)
        return CoverGains(pool, pool.embeddings(space), lambda centre: _choice(pool, centre, space).reason)


class CoverGains:
    """Distances to the nearest annotated or picked slice, as gains.

    Args:
        pool: The pool.
        features: (n, d) float32 array, finite.
        tell: Says of a pick why it was worth it, one sentence with a full stop.
    """

    def __init__(self, pool: Pool, features: np.ndarray, tell: Callable[[Centre], str]) -> None:
        self._tell = tell
        self._cover = Cover(features, fitting_device(pool.device, features))
        self._cover.add(np.flatnonzero(pool.annotated))

    def gains(self) -> np.ndarray:
        """Distances (n,), see ``Gains.gains``."""
        return self._cover.gains()

    def take(self, position: int) -> str:
        """Cover what is near to the pick, see ``Gains.take``."""
        centre = Centre(position, self._cover.distance(position), int(self._cover.nearest[position]))
        self._cover.add(np.array([position]))
        return self._tell(centre)


def _first_centre(pool: Pool) -> int | None:
    """A slice at random: the same for all such strategies of a seed, another one for every seed."""
    allowed = np.flatnonzero(pool.allowance().mask)
    if not len(allowed) or pool.annotated.any():
        return None
    return int(generator(0, "first centre").permutation(allowed)[pool.seed % len(allowed)])


def _choice(pool: Pool, centre: Centre, space: str, *, drawn: bool = False) -> Choice:
    by = in_words(space)
    if centre.nearest < 0 and drawn:
        return Choice(pool.ids[centre.position], None, "Drawn at random: the first slice, from which others differ.")
    if centre.nearest < 0:
        return Choice(
            pool.ids[centre.position], None, f"The most typical slice of the cohort by {by}: a good first one."
        )
    if centre.distance == 0:
        reason = f"Nothing different is left: identical by {by} to {pool.describe(centre.nearest)}."
    else:
        known = "annotated" if pool.annotated[centre.nearest] else "annotated or requested"
        reason = f"Unlike anything {known} so far by {by}; the nearest is {pool.describe(centre.nearest)}."
    return Choice(pool.ids[centre.position], centre.distance, reason)
