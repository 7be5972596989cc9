"""Coreset: the slices that leave nothing in the cohort far from an annotated one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Representativeness
from ActiveSegmentationLib.acquisition.k_center import Centre, Cover, fitting_device, k_center_greedy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding import EMBEDDING_PRESETS

SPACES = {
    "pixels": "their pixels",
    "segmenter": "the current model's features",
    "learned": "the learned metric",
}
"""Kinds of embedding, in words."""


class _KCenter(Representativeness):
    """k-center greedy in one embedding; subclasses say in which. The gain of a slice is its distance to the nearest
    annotated or picked one; before there is any, how much nearer it is to the mean of all than the farthest slice.
    """

    space: str

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices; see ``Strategy.select``. Draws nothing from ``rng``: k-center greedy is deterministic."""
        space = self._space_of(pool)
        features = pool.embeddings(space)
        device = fitting_device(pool.device, features)
        centres = k_center_greedy(features, pool.annotated, pool.allowance(), budget, device=device)
        return [_choice(pool, centre, space) for centre in centres]

    def start(self, pool: Pool, rng: np.random.Generator) -> _CoverGains:
        """Distances to what is annotated; see ``Representativeness.start``."""
        return _CoverGains(pool, self._space_of(pool))

    def _space_of(self, pool: Pool) -> str:
        """The embedding to use in this round."""
        return self.space


class _CoverGains:
    """Distances to the nearest annotated or picked slice, as gains."""

    def __init__(self, pool: Pool, space: str) -> None:
        features = pool.embeddings(space)
        self._pool, self._space = pool, space
        self._cover = Cover(features, fitting_device(pool.device, features))
        self._cover.add(np.flatnonzero(pool.annotated))

    def gains(self) -> np.ndarray:
        """Distances (n,), see ``Gains.gains``."""
        return self._cover.gains()

    def take(self, position: int) -> str:
        """Cover what is near to the pick, see ``Gains.take``."""
        centre = Centre(position, self._cover.distance(position), int(self._cover.nearest[position]))
        self._cover.add(np.array([position]))
        return _choice(self._pool, centre, self._space).reason


@register
class Coreset(_KCenter):
    """k-center greedy coreset (Sener and Savarese 2018; the baseline "Coreset" of Vepa 2024 and Foellmer 2024).

    The argument names the space in which slices are compared: "segmenter", the globally averaged coarsest features of
    the last trained model (of several models those of each, side by side); "pixels", 32 x 32 pixels; "learned", the
    group-contrastive metric. Plain "coreset" is "coreset:segmenter". Before the first model is trained there are no
    such features and pixels stand in for them; each choice's reason says so. Needs: the embedding; cost O((annotated +
    budget) n d).

    Raises:
        BadInput: If the argument names no such space.
    """

    name = "coreset"
    summary = "Slices unlike any annotated one, by the model's features (coreset:pixels and coreset:learned also)."
    spaces: ClassVar[tuple[str, ...]] = ("segmenter", "pixels", "learned")

    def _take_argument(self, argument: str | None) -> None:
        if argument is not None and argument not in self.spaces:
            advice = f"Use {', '.join(f'coreset:{space}' for space in self.spaces)}."
            raise BadInput(f"There is no space called '{argument}'.", where="strategy coreset", advice=advice)
        self.space = argument or "segmenter"
        self.embeddings = ("segmenter", "pixels") if self.space == "segmenter" else (self.space,)

    def _space_of(self, pool: Pool) -> str:
        return "pixels" if self.space == "segmenter" and not pool.offers("segmenter") else self.space


@register
class GroupContrastiveCoreset(_KCenter):
    """k-center greedy in a metric learned from the cohort alone (Vepa et al. 2024, "Ours"; Eq. 2-5).

    The encoder is trained without labels to bring slices of one patient, volume or neighbourhood together. It is
    trained once a cohort and serves every round, the first included. The argument picks a preset of loss weights (the
    rows of the paper's ablation). Needs: the learned embedding (minutes of training, once); cost O((annotated + budget)
    n d).

    Raises:
        BadInput: If the argument names no preset.
    """

    name = "group-contrastive-coreset"
    summary = "Slices unlike any annotated one, by a metric learned from your cohort; needs no label to start."

    def _take_argument(self, argument: str | None) -> None:
        if argument is not None and argument not in EMBEDDING_PRESETS:
            advice = f"Presets are: {', '.join(EMBEDDING_PRESETS)}."
            raise BadInput(f"There is no preset '{argument}'.", where=f"strategy {self.name}", advice=advice)
        self.space = "learned" if argument is None else f"learned:{argument}"
        self.embeddings = (self.space,)


def _choice(pool: Pool, centre: Centre, space: str) -> Choice:
    by = SPACES[space.partition(":")[0]]
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
