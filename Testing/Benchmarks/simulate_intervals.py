"""How often an interval says that two equally good strategies differ; it should be at most 5 %.

Scores of strategies without any difference are drawn again and again: every run (strategy and seed) has an effect of
its own on all test volumes, and every score has noise; in some variants a strategy also suits single patients better
than others, in every seed. Counted is how often the interval of ``paired_difference`` leaves out 0, how often it does
if the volume is the draw although patients have two, how often the
paired two-level bootstrap does that was used before, and how often ``headline`` calls the best of four strategies
better than any other.

The last table does the same for the means over settings of ``clustered_mean``, with the cohorts as clusters, against
the standard error that takes all (setting, seed) pairs for independent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ActiveSegmentationLib.evaluation import clustered_mean, paired_difference

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

STRATEGIES = 4
"""Strategies of which the best is compared with all others."""


def gauss(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal, standard deviation 1."""
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Student's t with 3 degrees of freedom, scaled to standard deviation 1."""
    return rng.standard_t(3, shape) / np.sqrt(3)


def failing(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Mostly small, but one in ten runs fails: standard deviation about 1."""
    return rng.standard_normal(shape) / 3 - 3 * (rng.random(shape) < 0.1)


@dataclass(frozen=True)
class Variant:
    """How scores are drawn.

    Attributes:
        name: In words.
        volumes: Test volumes.
        run: Distribution of the runs' effects, scaled by 0.02.
        noise: Distribution of single scores, scaled by 0.03.
        suits: Standard deviation of a strategy's own effect on a patient.
        each: Volumes of every patient.
    """

    name: str
    volumes: int = 20
    run: Draw = gauss
    noise: Draw = gauss
    suits: float = 0.0
    each: int = 1

    @property
    def patients(self) -> list[str]:
        """Patient of each volume."""
        return [f"patient {volume // self.each}" for volume in range(self.volumes)]

    def scores(self, rng: np.random.Generator, strategies: int, seeds: int) -> np.ndarray:
        """(strategies, seeds, volumes) scores."""
        runs = 0.02 * self.run(rng, (strategies, seeds, 1))
        own = self.suits * gauss(rng, (strategies, 1, self.volumes // self.each)).repeat(self.each, axis=2)
        return 0.7 + runs + own + 0.03 * self.noise(rng, (strategies, seeds, self.volumes))


VARIANTS = (
    Variant("seed SD 0.02, noise 0.03, 20 volumes"),
    Variant("the same, 100 volumes", volumes=100),
    Variant("the same, 6 volumes", volumes=6),
    Variant("patients of their own, SD 0.03", suits=0.03),
    Variant("the same, two volumes a patient", suits=0.03, each=2),
    Variant("the same, 6 patients", suits=0.03, each=2, volumes=12),
    Variant("heavy tails (t, 3 degrees)", run=heavy, noise=heavy),
    Variant("one run in ten fails", run=failing),
)


def bootstrap_excludes_zero(differences: np.ndarray, rng: np.random.Generator, draws: int = 1000) -> bool:
    """Whether the percentile interval of a two-level bootstrap over (seeds, volumes) leaves out 0."""
    seeds, volumes = (rng.multinomial(n, np.full(n, 1 / n), draws) / n for n in differences.shape)
    means = ((seeds @ differences) * volumes).sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return bool(low > 0 or high < 0)


def wrong_shares(variant: Variant, seeds: int, repeats: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Shares of wrong verdicts: t interval with the patient as the draw and with the volume, bootstrap over volumes,
    and the best of several strategies against all others."""
    single = volumes = bootstrap = several = 0
    pairs = STRATEGIES * (STRATEGIES - 1) // 2
    for _ in range(repeats):
        scores = variant.scores(rng, STRATEGIES, seeds)
        single += paired_difference(scores[0], scores[1], patients=variant.patients).verdict != 0
        volumes += paired_difference(scores[0], scores[1]).verdict != 0
        bootstrap += bootstrap_excludes_zero(scores[0] - scores[1], rng)
        best = int(scores.mean((1, 2)).argmax())
        others = (n for n in range(STRATEGIES) if n != best)
        joint = 1 - 0.05 / pairs
        several += any(
            paired_difference(scores[best], scores[n], patients=variant.patients, level=joint).verdict for n in others
        )
    return single / repeats, volumes / repeats, bootstrap / repeats, several / repeats


def wrong_over_settings(cohorts: int, repeats: int, rng: np.random.Generator) -> tuple[float, float]:
    """Shares of wrong verdicts on a mean over (setting, seed) pairs: cohorts as clusters, and all pairs independent.

    Each cohort has two settings of seven seeds. A strategy suits cohorts by an effect of 0.02 and settings by 0.02.
    """
    clustered = independent = 0
    names = np.repeat([f"cohort {n}" for n in range(cohorts)], 14)
    for _ in range(repeats):
        effects = np.repeat(0.02 * gauss(rng, (cohorts,)), 14) + np.repeat(0.02 * gauss(rng, (2 * cohorts,)), 7)
        values = effects + 0.03 * gauss(rng, (14 * cohorts,))
        found = clustered_mean(values, names.tolist())
        clustered += found.low > 0 or found.high < 0
        independent += abs(values.mean()) > norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return clustered / repeats, independent / repeats


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000, help="draws of each case")
    parser.add_argument("--seeds", default="2,3,5,10", help="numbers of seeds")
    options = parser.parse_args()
    counts = [int(word) for word in options.seeds.split(",")]
    found = {
        variant.name: [wrong_shares(variant, n, options.repeats, np.random.default_rng(n)) for n in counts]
        for variant in VARIANTS
    }
    titles = (
        "t interval, two strategies",
        "t interval with the volume as the draw",
        "bootstrap, two strategies",
        f"headline, best of {STRATEGIES}",
    )
    for place, title in enumerate(titles):
        print(f"| {title} | " + " | ".join(f"{n} seeds" for n in counts) + " |")
        print("| --- |" + " ---: |" * len(counts))
        for name, cells in found.items():
            print(f"| {name} | " + " | ".join(f"{100 * cell[place]:.1f} %" for cell in cells) + " |")
        print()
    print("| mean over settings, cohorts | cohorts as clusters | all pairs independent |")
    print("| ---: | ---: | ---: |")
    for cohorts in (2, 3, 5, 10):
        shares = wrong_over_settings(cohorts, options.repeats, np.random.default_rng(cohorts))
        print(f"| {cohorts} | " + " | ".join(f"{100 * share:.1f} %" for share in shares) + " |")


if __name__ == "__main__":
    main()
