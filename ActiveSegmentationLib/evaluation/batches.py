"""What the slices requested in a round have in common: patients, neighbours, classes, uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ActiveSegmentationLib.evaluation.results import RequestRow
from ActiveSegmentationLib.evaluation.statistics import mean_without_nan

SliceKey = tuple[str, int]
"""Volume and index of a slice, from 0."""


@dataclass(frozen=True)
class BatchFacts:
    """The slices that one run requested in one round.

    Attributes:
        cohort: Name of the cohort.
        strategy: Name of the strategy.
        seed: Seed of the run.
        round: Round, from 1.
        slices: Number of slices.
        patients: Number of their patients.
        largest_share: Share of the slices that come from the volume with most of them (Foellmer 2024, Appendix E),
            0..1.
        neighbours: Share of the slices with another slice next to them in the batch or annotated before, 0..1.
        foreground: Share of the slices that show foreground, 0..1; NaN if the reference masks are not known.
        class_entropy: ``class_entropy`` of the foreground pixels of the batch; NaN likewise.
        foreground_percent: Foreground pixels annotated so far, in percent of those of the pool; NaN likewise.
        uncertainty: Sum of the uncertainty of the slices under the model of the round before; NaN if it was not
            recorded or there was no model.
    """

    cohort: str
    strategy: str
    seed: int
    round: int
    slices: int
    patients: int
    largest_share: float
    neighbours: float
    foreground: float
    class_entropy: float
    foreground_percent: float
    uncertainty: float = float("nan")


def class_entropy(pixels: np.ndarray) -> float:
    """How evenly pixels are spread over the foreground classes.

    Args:
        pixels: (C,) pixels of each foreground class.

    Returns:
        Shannon entropy of the shares of the classes over that of equal shares: 1 if all classes have the same number of
        pixels, 0 if one has all; NaN without pixels. With one class it is 1.
    """
    counts = np.asarray(pixels, dtype=np.float64)
    if counts.sum() == 0:
        return float("nan")
    if len(counts) == 1:
        return 1.0
    shares = counts[counts > 0] / counts.sum()
    return float(max(0.0, -(shares * np.log(shares)).sum() / np.log(len(counts))))


def batch_facts(
    requests: Iterable[RequestRow],
    pixels: Mapping[SliceKey, np.ndarray] | None = None,
    uncertainty: Mapping[tuple[str, int, int], float] | None = None,
) -> list[BatchFacts]:
    """The facts about every batch, by cohort, strategy, seed and round.

    Args:
        requests: Request rows.
        pixels: (C,) pixels of each foreground class for every slice of the pool. Default: not known.
        uncertainty: Summed uncertainty of a batch by strategy, seed and round.
    """
    ordered = sorted(requests, key=lambda row: (row.cohort, row.strategy, row.seed, row.round, row.rank))
    everything = float(sum(int(counts.sum()) for counts in pixels.values())) if pixels else float("nan")
    found = []
    for run, of_run in groupby(ordered, key=lambda row: (row.cohort, row.strategy, row.seed)):
        before: set[SliceKey] = set()
        for number, of_round in groupby(of_run, key=lambda row: row.round):
            batch = list(of_round)
            own = [(row.volume, row.slice) for row in batch]
            known = before | set(own)
            foreground, entropy, percent = _foreground(own, known, pixels, everything)
            found.append(
                BatchFacts(
                    *run,
                    number,
                    slices=len(batch),
                    patients=len({row.patient for row in batch}),
                    largest_share=max(Counter(row.volume for row in batch).values()) / len(batch),
                    neighbours=sum(_has_neighbour(key, known) for key in own) / len(own),
                    foreground=foreground,
                    class_entropy=entropy,
                    foreground_percent=percent,
                    uncertainty=(uncertainty or {}).get((run[1], run[2], number), float("nan")),
                )
            )
            before = known
    return found


def _has_neighbour(key: SliceKey, known: set[SliceKey]) -> bool:
    volume, index = key
    return (volume, index - 1) in known or (volume, index + 1) in known


def _foreground(
    own: Sequence[SliceKey], known: set[SliceKey], pixels: Mapping[SliceKey, np.ndarray] | None, everything: float
) -> tuple[float, float, float]:
    """Share of the slices with foreground, class entropy, and percent of the pool's foreground annotated so far."""
    if pixels is None:
        return float("nan"), float("nan"), float("nan")
    counts = np.stack([pixels[key] for key in own])
    annotated = float(sum(int(pixels[key].sum()) for key in known))
    share = float((counts.sum(axis=1) > 0).mean())
    return share, class_entropy(counts.sum(axis=0)), 100 * annotated / everything if everything else float("nan")


def mean_over_seeds(facts: Sequence[BatchFacts], name: str) -> dict[tuple[str, str, int], float]:
    """Mean of one of the numbers over seeds, by cohort, strategy and round; NaN where no seed has it."""
    groups: dict[tuple[str, str, int], list[float]] = {}
    for fact in facts:
        groups.setdefault((fact.cohort, fact.strategy, fact.round), []).append(getattr(fact, name))
    return {key: float(mean_without_nan(np.array(values, dtype=np.float64))) for key, values in groups.items()}


@dataclass(frozen=True)
class Deviations:
    """Mean pairwise absolute deviation of pixel values within groups of slices (Vepa 2024, Section 3.1).

    Attributes:
        dataset: Between all slices.
        patient: Between slices of a patient, mean over patients.
        volume: Between slices of a volume, mean over volumes.
        adjacent: Between neighbouring slices of a volume, mean over pairs.
    """

    dataset: float
    patient: float
    volume: float
    adjacent: float


def mean_pairwise_deviation(images: np.ndarray, *, at_once: int = 4096) -> float:
    """Mean absolute difference of pixel values over all pairs of images and all pixels.

    The sum over pairs follows from the sorted values of a pixel, so that no pair is visited.

    Args:
        images: (n, pixels) float.
        at_once: Pixels that are sorted at a time.

    Returns:
        The mean, in the unit of the pixels; NaN with fewer than two images.
    """
    count = len(images)
    if count < 2:
        return float("nan")
    weights = 2.0 * np.arange(count) - (count - 1)
    total = 0.0
    for start in range(0, images.shape[1], at_once):
        ordered = np.sort(np.asarray(images[:, start : start + at_once], dtype=np.float64), axis=0)
        total += float((weights @ ordered).sum())
    return total / images.shape[1] / (count * (count - 1) / 2)


def group_deviations(
    images: np.ndarray, patients: Sequence[str], volumes: Sequence[str], positions: Sequence[int]
) -> Deviations:
    """How different slices are within the whole pool, patients, volumes and neighbouring slices.

    Args:
        images: (n, pixels) float, each volume's values scaled to 0..1.
        patients: (n,) patient of each slice.
        volumes: (n,) volume of each slice.
        positions: (n,) index of each slice in its volume.
    """

    def within(names: Sequence[str]) -> float:
        of = np.asarray(names)
        found = [mean_pairwise_deviation(images[of == name]) for name in np.unique(of)]
        return float(mean_without_nan(np.array(found)))

    row = {(volume, index): place for place, (volume, index) in enumerate(zip(volumes, positions, strict=True))}
    steps = [
        float(np.abs(np.asarray(images[place], dtype=np.float64) - images[row[volume, index + 1]]).mean())
        for (volume, index), place in row.items()
        if (volume, index + 1) in row
    ]
    adjacent = float(np.mean(steps)) if steps else float("nan")
    return Deviations(mean_pairwise_deviation(images), within(patients), within(volumes), adjacent)


def correlation(uncertainty: np.ndarray, errors: np.ndarray) -> float:
    """Pearson's correlation of slices' uncertainty with their misclassified pixels (Foellmer 2024, Appendix D).

    Args:
        uncertainty: (n,) float.
        errors: (n,) number of misclassified pixels.

    Returns:
        -1..1; NaN with fewer than three slices, or if one of the two does not vary.
    """
    if len(errors) < 3 or np.ptp(uncertainty) == 0 or np.ptp(errors) == 0:
        return float("nan")
    return float(np.corrcoef(uncertainty, errors)[0, 1])
