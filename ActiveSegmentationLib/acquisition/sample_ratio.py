"""The sample ratio: prefers slices that are typical of the cohort and under-represented among the annotated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ActiveSegmentationLib.acquisition.base import Gains, RepresentativeStrategy, Strategy
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.common.errors import BadInput

FLOOR = 1e-3
"""Minimum deviation of the annotated slices as a share of the cohort's, so that a few similar slices do not
dominate."""


class Gaussian:
    """A normal distribution with diagonal covariance, fitted to points that can be added one by one.

    Args:
        points: (n, d) float array of points to start with.
        wide: (d,) standard deviations used while there are fewer than two points; the share ``FLOOR`` of them is the
            minimum. None uses the points' own.
    """

    def __init__(self, points: np.ndarray, wide: np.ndarray | None = None) -> None:
        points = np.asarray(points, dtype=np.float64)
        self._wide = wide
        self._count = len(points)
        self.mean = points.mean(axis=0) if len(points) else np.zeros(points.shape[1])
        """(d,) mean."""
        self._squares = ((points - self.mean) ** 2).sum(axis=0)

    @property
    def deviation(self) -> np.ndarray:
        """(d,) standard deviation (divided by n), never 0."""
        own = np.sqrt(self._squares / max(1, self._count))
        if self._wide is not None:
            own = self._wide if self._count < 2 else np.maximum(own, FLOOR * self._wide)
        return np.where(own > 0, own, 1.0)

    def add(self, point: np.ndarray) -> None:
        """Add one point (d,), by Welford's algorithm."""
        self._count += 1
        difference = point - self.mean
        self.mean = self.mean + difference / self._count
        self._squares = self._squares + difference * (point - self.mean)

    def log_likelihood(self, points: np.ndarray) -> np.ndarray:
        """Logarithm of the product over the dimensions of 1 + erf(-|z - mean| / (deviation sqrt 2)): (n, d) -> (n,).

        Each factor (Ozdemir et al. 2021, Eq. 8) is the share of the distribution that is farther out. The sum of
        logarithms stays finite when the product underflows.
        """
        from scipy.special import log_ndtr

        distance = np.abs(np.asarray(points, dtype=np.float64) - self.mean) / self.deviation
        return (np.log(2.0) + log_ndtr(-distance)).sum(axis=1)


class SampleRatioGains(Gains):
    """Log ratios of all items, cohort over annotated; for volumes, the mean over their slices.

    Args:
        points: (m, d) float array, finite: the slices of the whole cohort.
        annotated: (m,) bool, at least one is True.
        items: (m,) int, the item of each slice, 0 to n - 1; None if each slice is an item.
        greedy: Whether ``take`` counts a pick as annotated.
    """

    def __init__(
        self, points: np.ndarray, annotated: np.ndarray, items: np.ndarray | None = None, *, greedy: bool
    ) -> None:
        self._points = np.asarray(points, dtype=np.float64)
        self._items = np.arange(len(points)) if items is None else items
        self._annotated = annotated.copy()
        cohort = Gaussian(self._points)
        self._typical = cohort.log_likelihood(self._points)
        self._known = Gaussian(self._points[annotated], cohort.deviation)
        self._greedy = greedy

    def ratios(self) -> np.ndarray:
        """(n,) float64: the logarithm that Eq. 7 maximises; negative if an item is more typical of the annotated slices
        than of the cohort."""
        ratios = self._typical - self._known.log_likelihood(self._points)
        return np.bincount(self._items, ratios) / np.bincount(self._items)

    def gains(self) -> np.ndarray:
        """Ratios minus the lowest one, see ``Gains.gains``."""
        ratios = self.ratios()
        return ratios - ratios.min()

    def take(self, position: int) -> str:
        """Count the pick as annotated if greedy, see ``GreedyState.take``."""
        reason = _reason(float(self.ratios()[position]))
        if self._greedy:
            for new in np.flatnonzero((self._items == position) & ~self._annotated):
                self._known.add(self._points[new])
                self._annotated[new] = True
        return reason


def sample_ratio_gains(pool: Pool, kind: str, *, greedy: bool) -> SampleRatioGains:
    """The ratios of a pool's items; the distributions are fitted to slices, also if volumes are requested."""
    points, items = pool.slice_embeddings(kind)
    return SampleRatioGains(points, pool.annotated_slices, items, greedy=greedy)


Preset = Annotated[str | None, Option("preset of the autoencoder", argument=True)]
Greedy = Annotated[bool, Option("whether each pick counts as annotated for the next ones")]


class AutoencoderStrategy(Strategy):
    """A strategy that compares slices in the latent space of an infoVAE with a preset."""

    preset: str | None

    def __post_init__(self) -> None:
        """Check the options and the preset.

        Raises:
            BadInput: If there is no such preset.
        """
        super().__post_init__()
        if self.preset is None:
            return
        from ActiveSegmentationLib.embedding import INFO_VAE_PRESETS

        if self.preset not in INFO_VAE_PRESETS:
            advice = f"Presets are: {', '.join(INFO_VAE_PRESETS)}."
            raise BadInput(f"There is no preset '{self.preset}'.", where=f"strategy {self.name}", advice=advice)

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The autoencoder's; see ``Strategy.embeddings``."""
        return ("infovae" if self.preset is None else f"infovae:{self.preset}",)

    def not_ready_reason(self, pool: Pool) -> str:
        """Nothing is annotated; see ``Strategy.not_ready_reason``."""
        return "" if pool.annotated.any() else f"No {pool.unit} is annotated yet"


@dataclass(frozen=True)
class SampleRatio(AutoencoderStrategy, RepresentativeStrategy):
    """Ratio of likelihoods in the latent space of an infoVAE (Ozdemir et al. 2021, Eq. 7 and 8, without uncertainty).

    - One normal distribution with a diagonal covariance is fitted to the latent vectors of the whole cohort, another to
      those of the annotated slices; slices that are likely under the first and unlikely under the second are requested.
      With a single annotated slice the second distribution uses the deviations of the first.
    - A cohort of several clusters (two scanners, say) is not normally distributed, and the ratio then prefers slices
      between them.
    - Each pick counts as annotated for the following picks; without ``greedy`` all are picked at once, as in the paper.
    - The gain of a slice is its log ratio minus the lowest one of the cohort; log ratios of whole volumes are means
      over their slices.

    Needs an annotated slice and the autoencoder (trained without labels once per cohort, about a minute on small
    slices); cost O(budget n d).
    """

    name = "sample-ratio"
    summary = "Slices that are typical of your cohort and under-represented among those annotated; needs no model."
    source = "Ozdemir 2021, Eq. 7 and 8"
    requires = "an annotated slice; training of an autoencoder, once"

    preset: Preset = None
    greedy: Greedy = True

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> SampleRatioGains:
        """The ratios given the annotated slices; see ``RepresentativeStrategy.start``."""
        return sample_ratio_gains(pool, self.embeddings[0], greedy=self.greedy)


def _reason(ratio: float) -> str:
    if ratio > 0:
        return "Typical of the cohort, and under-represented among the annotated slices."
    return "Nothing under-represented is left: at least as typical of the annotated slices as of the cohort."
