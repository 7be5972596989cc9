"""Batches that hold related slices: of one patient, one volume, or neighbours (Vepa et al. 2024, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator


@dataclass(frozen=True)
class SliceTable:
    """Patient, volume and index of the slices to learn from; int64 arrays of one length n.

    Attributes:
        rows: Rows of the stack, each once.
        patients: Number of each slice's patient.
        volumes: Number of each slice's volume; a volume belongs to one patient.
        indices: 0-based index of each slice in its volume.
    """

    rows: np.ndarray
    patients: np.ndarray
    volumes: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def ordered(self) -> SliceTable:
        """The same slices sorted by patient, volume and index, so that each patient and each volume is one range."""
        order = np.lexsort((self.indices, self.volumes, self.patients))
        return SliceTable(self.rows[order], self.patients[order], self.volumes[order], self.indices[order])


@dataclass(frozen=True)
class GroupBatch:
    """One batch, tuple after tuple; int64 arrays of one length.

    Attributes:
        rows: Rows of the stack.
        patients: Number of each slice's patient.
        volumes: Number of each slice's volume.
        neighbours: Pair of neighbouring slices: the number of the tuple for an anchor and its neighbour, a number of
            its own for every other slice.
        tuples: Number of the tuple in the batch.
    """

    rows: np.ndarray
    patients: np.ndarray
    volumes: np.ndarray
    neighbours: np.ndarray
    tuples: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


class GroupBatchSampler:
    """Batches of tuples from different patients, drawn again for every epoch (Vepa et al. 2024, Algorithm 1).

    - Phase 1 makes one tuple for each slice: the slice itself (anchor), then, for each grouping in use, a random
      neighbour (index +- 1), a random other slice of its volume, and a random other slice of its patient. Companions
      are drawn from the slices that are not in the tuple yet. Where there is none, the anchor replaces it.
    - Phase 2 fills each batch with one tuple from each of several patients, without replacement.

    Differences from Algorithm 1:

    - The probability of a patient is proportional to the tuples it has left, not equal. For patients of equal length
      that is the same. Otherwise, equal probabilities would use up short patients first and drop most of the long ones.
    - When fewer patients than wanted have tuples left, batches continue with these, down to two patients. The remaining
      tuples of the last patient are not used in this epoch (``unused``).
    - With fewer patients than a batch needs, batches are smaller (see ``warning``). With a single patient, or with no
      grouping in use (plain SimCLR), batches are random tuples, and every tuple is used.

    Args:
        table: The slices, in any order; batches do not depend on it.
        slice_groups: Whether to add a neighbour to each tuple.
        volume_groups: Whether to add a slice of the volume.
        patient_groups: Whether to add a slice of the patient.
        batch_size: Slices per batch, rounded down to whole tuples.
        seed: Seed of all epochs.

    Attributes:
        tuple_size: Slices per tuple.
        tuples_per_batch: Tuples in a full batch.
        warning: One line for the user if the cohort has too few patients, or None.
        unused: Number of tuples that the last epoch left out.

    Raises:
        BadInput: If there is no slice, or a batch cannot hold two tuples.
    """

    def __init__(
        self,
        table: SliceTable,
        *,
        slice_groups: bool,
        volume_groups: bool,
        patient_groups: bool,
        batch_size: int,
        seed: int,
    ) -> None:
        if not len(table):
            raise BadInput("There is no slice to learn from.", where="learned metric", advice="Add volumes.")
        self.tuple_size = 1 + slice_groups + volume_groups + patient_groups
        self.tuples_per_batch = batch_size // self.tuple_size
        if self.tuples_per_batch < 2:
            message = f"Batches of {batch_size} do not hold two tuples of {self.tuple_size} slices."
            raise BadInput(message, where="batch_size", advice=f"Use at least {2 * self.tuple_size}.")
        self._table = table.ordered()
        self._slice_groups, self._volume_groups, self._patient_groups = slice_groups, volume_groups, patient_groups
        self._seed = seed
        self._volume_range = _ranges(self._table.volumes)
        self._patient_range = _ranges(self._table.patients)
        self._starts = np.unique(self._patient_range[0])
        self._counts = np.diff([*self._starts, len(table)])
        self._mixed = len(self._starts) == 1 or self.tuple_size == 1
        self.unused = 0
        self.warning: str | None = None
        if not self._mixed and len(self._starts) < self.tuples_per_batch:
            self.tuples_per_batch = len(self._starts)
            size = self.tuples_per_batch * self.tuple_size
            self.warning = (
                f"There are only {len(self._starts)} patients: the learned metric is trained on batches of {size} "
                f"slices instead of {batch_size}. More patients make it better."
            )

    @property
    def batches_per_epoch(self) -> int:
        """Number of full batches that use every tuple once."""
        return -(-len(self._table) // self.tuples_per_batch)

    def epoch(self, number: int) -> list[GroupBatch]:
        """The batches of an epoch; the same number gives the same batches.

        Args:
            number: 0-based number of the epoch.
        """
        rng = generator(self._seed, "tuples", number)
        tuples = self._tuples(rng)
        chosen = self._shuffled(rng) if self._mixed else self._from_different_patients(rng)
        self.unused = len(self._table) - sum(len(numbers) for numbers in chosen)
        return [self._batch(tuples[numbers]) for numbers in chosen]

    def _tuples(self, rng: np.random.Generator) -> np.ndarray:
        """Phase 1: (n, tuple_size) positions in the table, the anchor first."""
        tuples = np.arange(len(self._table))[:, None]
        if self._slice_groups:
            tuples = np.column_stack([tuples, self._neighbours(rng)])
        if self._volume_groups:
            tuples = np.column_stack([tuples, _draw_others(*self._volume_range, tuples, rng)])
        if self._patient_groups:
            tuples = np.column_stack([tuples, _draw_others(*self._patient_range, tuples, rng)])
        return tuples

    def _neighbours(self, rng: np.random.Generator) -> np.ndarray:
        table, anchors = self._table, np.arange(len(self._table))
        adjacent = (np.diff(table.indices) == 1) & (np.diff(table.volumes) == 0)
        before, after = np.concatenate([[False], adjacent]), np.concatenate([adjacent, [False]])
        up = np.where(before & after, rng.random(len(anchors)) < 0.5, after)
        return anchors + np.where(up, 1, np.where(before, -1, 0))

    def _shuffled(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Batches of nearly equal size."""
        parts = max(1, round(len(self._table) / self.tuples_per_batch))
        return np.array_split(rng.permutation(len(self._table)), parts)

    def _from_different_patients(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Phase 2: positions of the anchors of each batch."""
        order = np.concatenate([s + rng.permutation(c) for s, c in zip(self._starts, self._counts, strict=True)])
        left = self._counts.copy()
        batches = []
        while (patients := min(self.tuples_per_batch, int(np.count_nonzero(left)))) >= 2:
            with np.errstate(divide="ignore"):  # patients without tuples are never chosen
                waiting = rng.standard_exponential(len(left)) / left
            chosen = np.argpartition(waiting, patients - 1)[:patients]
            left[chosen] -= 1
            batches.append(order[self._starts[chosen] + left[chosen]])
        return batches

    def _batch(self, tuples: np.ndarray) -> GroupBatch:
        places, table = tuples.ravel(), self._table
        numbers = np.repeat(np.arange(len(tuples)), self.tuple_size)
        neighbours = len(tuples) + np.arange(len(places)).reshape(tuples.shape)
        neighbours[:, : 1 + self._slice_groups] = np.arange(len(tuples))[:, None]
        rows, patients, volumes = table.rows[places], table.patients[places], table.volumes[places]
        return GroupBatch(rows, patients, volumes, neighbours.ravel(), numbers)


def _ranges(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First position and one past the last position of each entry's run of equal numbers."""
    border = np.flatnonzero(np.diff(numbers)) + 1
    edges = np.concatenate([[0], border, [len(numbers)]])
    lengths = np.diff(edges)
    return np.repeat(edges[:-1], lengths), np.repeat(edges[1:], lengths)


def _draw_others(start: np.ndarray, stop: np.ndarray, tuples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random position in each range that is not in the tuple; the tuple's first element if there is none.

    Args:
        start: (n,) first positions.
        stop: (n,) one past the last positions.
        tuples: (n, m) positions taken, all within their ranges; repetitions count once.
        rng: Source of randomness.
    """
    taken = np.sort(tuples, axis=1)
    fresh = np.column_stack([np.ones(len(taken), dtype=bool), np.diff(taken, axis=1) > 0])
    free = stop - start - fresh.sum(1)
    drawn = start + np.floor(rng.random(len(start)) * free).astype(np.int64)
    for column in range(taken.shape[1]):  # ascending: each taken position at or below moves the drawn one up by one
        drawn += fresh[:, column] & (taken[:, column] <= drawn)
    return np.where(free > 0, drawn, tuples[:, 0])
