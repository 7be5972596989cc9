"""Coreset: the slices that leave nothing in the cohort far from an annotated one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Representativeness
from ActiveSegmentationLib.acquisition.k_center import Centre, Cover, fitting_device, k_center_greedy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.spaces import Space, in_words, parse_space


class _KCenter(Representativeness):
    """k-center greedy in one embedding; subclasses say in which. The gain of a slice is its distance to the nearest
    annotated or picked one; before there is any, how much nearer it is to the mean of all than the farthest slice.
    """

    space: Space

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``. Draws nothing from ``rng``: k-center greedy is deterministic."""
        space = self.space.of(pool)
        features = pool.embeddings(space)
        device = fitting_device(pool.device, features)
        centres = k_center_greedy(features, pool.annotated, pool.allowance(), budget, device=device)
        return [_choice(pool, centre, space) for centre in centres]

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


@register
class Coreset(_KCenter):
    """k-center greedy coreset (Sener and Savarese 2018; the baseline "Coreset" of Vepa 2024 and Foellmer 2024).

    The argument names the space in which slices are compared: "segmenter", the globally averaged coarsest features of
    the last trained model (of several models those of each, side by side); "pixels", 32 x 32 pixels; "learned" or
    "learned:NAME", the group-contrastive metric, with the names of "group-contrastive-coreset". Plain "coreset" is
    "coreset:segmenter". Before the first model is trained there are no such features and pixels stand in for them; each
    choice's reason says so. Needs: the embedding; cost O((annotated + budget) n d).

    Raises:
        BadInput: If the argument names no such space.
    """

    name = "coreset"
    summary = "Slices unlike any annotated one, by the model's features (coreset:pixels and coreset:learned also)."

    def _take_argument(self, argument: str | None) -> None:
        self.space = parse_space(argument, "segmenter", self.name)
        self.embeddings = self.space.embeddings


@register
class GroupContrastiveCoreset(_KCenter):
    """k-center greedy in a metric learned from the cohort alone (Vepa et al. 2024, "Ours"; Eq. 2-5).

    The encoder is trained without labels to bring slices of one patient, volume or neighbourhood together. It is
    trained once a cohort and serves every round, the first included. The argument picks the losses: a preset, among
    them every row of the paper's ablation ("ntxent", "patient", "volume", "slice", any of them joined by "-" in this
    order as in "ntxent-patient-volume", and "all"), or free weights as in
    "group-contrastive-coreset:nt-xent=1+patient=0.05+volume=0.35+slice=0", with which the study's own training is kept
    in all else. Needs: the learned embedding (minutes of training, once); cost O((annotated + budget) n d).

    Raises:
        BadInput: If the argument names no preset and no weights.
    """

    name = "group-contrastive-coreset"
    summary = "Slices unlike any annotated one, by a metric learned from your cohort; needs no label to start."

    def _take_argument(self, argument: str | None) -> None:
        self.space = parse_space("learned" if argument is None else f"learned:{argument}", "learned", self.name)
        self.embeddings = self.space.embeddings


def _choice(pool: Pool, centre: Centre, space: str) -> Choice:
    by = in_words(space)
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
