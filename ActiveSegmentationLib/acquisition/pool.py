"""The data that a strategy selects from: slices, annotations, and embeddings and scores computed on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.acquisition.constraints import Allowance
from ActiveSegmentationLib.acquisition.round_inputs import (
    UNITS,
    Embedder,
    PoolStatistics,
    RoundPlan,
    ScoreSpec,
    Sources,
)
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.cohort.stack import SliceStack
from ActiveSegmentationLib.common.errors import BadInput

if TYPE_CHECKING:
    from ActiveSegmentationLib.uncertainty import Predictor


class Pool:
    """The slices that a study may request, in an order that depends only on their ids.

    Positions 0..n-1 follow (volume id, slice index). Every array below has that order, and it breaks ties.

    With the unit "volume" the items are whole volumes; strategies need no special code for that:

    - an item represents all slices of its volume; its id is that of the volume's first slice;
    - scores and embeddings are means over its slices (Ozdemir et al. 2021, "3D Image Volumes");
    - it counts as annotated once any of its slices is, and may be requested while any of its slices is open;
    - limits per patient count volumes; ``slices_of`` returns the slices of a choice.

    Args:
        stack: The cohort's slices.
        rows: Rows of the stack that belong to the pool, in any order.
        annotated: Annotated slices; those outside the pool are ignored.
        skipped: Slices that must not be requested (they still count as slices to be covered).
        statistics: Statistics of the cohort.
        plan: The round, its unit and its limits.
        sources: Sources of embeddings and predictions.
    """

    def __init__(
        self,
        stack: SliceStack,
        rows: np.ndarray,
        *,
        annotated: Collection[SliceId] = (),
        skipped: Collection[SliceId] = (),
        statistics: PoolStatistics | None = None,
        plan: RoundPlan | None = None,
        sources: Sources | None = None,
    ) -> None:
        self.plan, self.statistics = plan or RoundPlan(), statistics or PoolStatistics()
        self.unit = self.plan.unit
        if self.unit not in UNITS:
            raise BadInput(
                f"'{self.unit}' is not a unit of requests.", where="unit", advice=f"Use {' or '.join(UNITS)}."
            )
        self.stack, self._sources = stack, sources or Sources()
        self.model, self.compute = self._sources.model, self._sources.compute
        self._slices = slices = _Slices(stack, rows, annotated, skipped, self.plan.constraints.blank)
        self._members = _item_numbers(slices, self.unit)
        first = np.unique(self._members, return_index=True)[1]
        self.ids: tuple[SliceId, ...] = tuple(slices.ids[position] for position in first)
        self.rows = slices.rows[first]
        """(n,) int64: row of the stack of each item (for a volume, of its first slice)."""
        self._open = self._any(slices.open)
        self.annotated = self._any(slices.annotated)
        """(n,) bool: annotated items; volumes count with any annotated slice, and may still be requested."""
        self.skipped = ~self._any(~slices.skipped)
        """(n,) bool: items that must not be requested."""
        self.volumes, self.patients = slices.volumes[first], slices.patients[first]
        """(n,) int: number of the volume and of the patient of each item."""
        self.indices = slices.indices[first]
        """(n,) int: 0-based index of each slice in its volume; for a volume, of its first slice."""
        self.positions = self._mean(slices.positions)
        """(n,) float in (0, 1): relative position of each slice in its volume."""
        self._known: dict[object, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def allowance(self) -> Allowance:
        """A new record of which items may be picked."""
        return Allowance(self.plan.constraints, self.volumes, self.patients, self.indices, self._open, self.annotated)

    def slices_of(self, item: SliceId) -> list[SliceId]:
        """The slices to annotate if ``item`` was chosen: itself, or every open slice of its volume, in order."""
        if self.unit == "slice":
            return [item]
        members = np.flatnonzero(self._members == self.ids.index(item))
        return [self._slices.ids[position] for position in members if self._slices.open[position]]

    def rows_of(self, position: int) -> np.ndarray:
        """Rows of the stack of all slices of the item at ``position``, open or not: (m,) int64."""
        return self._slices.rows[self._members == position]

    def slice_counts(self) -> np.ndarray:
        """Number of slices that each item adds to the budget: (n,) int."""
        return np.bincount(self._members, weights=self._slices.open, minlength=len(self)).astype(np.int64)

    def offers(self, kind: str) -> bool:
        """Whether embeddings of this kind are available in this round."""
        return kind in self._sources.embedders

    def embeddings(self, kind: str) -> np.ndarray:
        """Features of every item of the pool, computed once.

        Args:
            kind: "pixels", "segmenter", "learned", "learned:PRESET" or another that the loop offers.

        Returns:
            (n, d) float32 array.

        Raises:
            BadInput: If this round has no such embedding, or if a value is not finite.
        """
        return self.per_item(("embedding", kind), self._embedder(kind))

    def slice_embeddings(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Features of every slice of the items, not averaged over volumes.

        Args:
            kind: See ``embeddings``.

        Returns:
            (m, d) float32 array, and (m,) int64 the item of each slice; as many slices as items with the unit "slice".

        Raises:
            BadInput: See ``embeddings``.
        """
        if self.unit == "slice":
            return self.embeddings(kind), self._members
        values = self._embedder(kind)(self._slices.rows)
        self._require_finite(("embedding", kind), values)
        return values, self._members

    @property
    def annotated_slices(self) -> np.ndarray:
        """Whether each slice of the items is annotated: (m,) bool, in the order of ``slice_embeddings``."""
        return self._slices.annotated

    def _embedder(self, kind: str) -> Embedder:
        if kind not in self._sources.embedders:
            raise BadInput(
                f"This round has no '{kind}' embedding.",
                where="acquisition",
                advice="Train a model first, or choose a strategy that needs none.",
            )
        embed = self._sources.embedders[kind]
        return lambda rows: np.asarray(embed(rows), dtype=np.float32)

    def scores(self, spec: ScoreSpec) -> np.ndarray:
        """A score of every item; all declared scores of a sampler are computed at the first request.

        Args:
            spec: Sampler and name of the score.

        Returns:
            (n,) or (n, classes) float32 array.

        Raises:
            BadInput: If no model is trained, there is no such score, or a value is not finite.
        """
        key = ("score", *spec)
        if key not in self._known:
            from ActiveSegmentationLib.uncertainty import seeded, slice_scores

            declared = (other.name for other in self._sources.score_specs if other.sampler == spec.sampler)
            found = slice_scores(
                self.require_model(),
                self.stack,
                self._slices.rows,
                seeded(spec.sampler, self.plan.seed),
                names=tuple(dict.fromkeys([spec.name, *declared])),
                compute=self.compute,
            )
            for name, values in found.items():
                self._remember(("score", spec.sampler, name), values)
        return self._known[key]

    def require_model(self) -> Predictor:
        """The model of the previous round.

        Raises:
            BadInput: If no model is trained.
        """
        if self.model is None:
            advice = "Train a model first, or choose a strategy that needs none."
            raise BadInput("No model is trained yet.", where="acquisition", advice=advice)
        return self.model

    def per_item(self, key: object, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Values computed slice by slice, once per key, and averaged over the slices of each item.

        Args:
            key: Hashable name of the values.
            compute: Rows of the stack (m,) of all slices of the pool -> (m,) or (m, d) float array.

        Returns:
            (n,) or (n, d) array: the values, or with the unit "volume" their means over each volume's slices.

        Raises:
            BadInput: If a value is not finite; the message names the slice.
        """
        if key not in self._known:
            self._remember(key, compute(self._slices.rows))
        return self._known[key]

    @property
    def annotated_rows(self) -> np.ndarray:
        """Rows of the stack of all annotated slices of the pool, ascending by id: (m,) int64."""
        return self._slices.rows[self._slices.annotated]

    def class_pixels(self) -> np.ndarray:
        """Annotated pixels of each class, background first, summed over the slices of each item: (n, C) int64.

        Zero for items that are not annotated; C is 0 if nothing is annotated.
        """
        known = self.statistics.class_pixels or {}
        classes = max((len(counts) for counts in known.values()), default=0)
        found = np.zeros((len(self._slices.ids), classes), dtype=np.int64)
        for position in np.flatnonzero(self._slices.annotated):
            counts = known.get(self._slices.ids[position])
            if counts is not None:
                found[position, : len(counts)] = counts
        return (
            np.stack([np.bincount(self._members, column, len(self)) for column in found.T], axis=1).astype(np.int64)
            if classes
            else np.zeros((len(self), 0), dtype=np.int64)
        )

    def extent_share(self) -> np.ndarray:
        """Share of each item's slices that are in the marked extent of their volume; NaN if none is marked: (n,)."""
        extents = self.statistics.extents or {}
        inside = np.full(len(self._slices.ids), np.nan)
        for position, slice_id in enumerate(self._slices.ids):
            if slice_id.volume in extents:
                first, last = extents[slice_id.volume]
                inside[position] = float(first <= slice_id.index <= last)
        return self._mean(inside)

    def true_classes(self) -> np.ndarray:
        """Whether each class is in an item's reference labels, background first: (n, C) bool; in experiments only.

        Raises:
            BadInput: If the annotator is not simulated.
        """
        truth = self.statistics.truth
        if truth is None:
            advice = "Choose another strategy."
            message = "The reference labels of slices that are not annotated are known in experiments only."
            raise BadInput(message, where="acquisition", advice=advice)
        return self.per_item("truth", lambda rows: truth(rows).astype(np.float32)) > 0

    def class_name(self, number: int) -> str:
        """Name of a class, or its number if names are not known."""
        names = self.statistics.class_names
        return f"'{names[number]}'" if number < len(names) else f"class {number}"

    def patient_name(self, position: int) -> str:
        """Id of the patient of the item at ``position``."""
        return self.stack.patients[int(self.patients[position])]

    def describe(self, position: int) -> str:
        """The item at ``position`` in words; slices count from 1."""
        slice_id = self.ids[position]
        return slice_id.volume if self.unit == "volume" else f"{slice_id.volume}, slice {slice_id.index + 1}"

    def _remember(self, key: object, values: np.ndarray) -> None:
        self._require_finite(key, values)
        self._known[key] = self._mean(values)

    def _require_finite(self, key: object, values: np.ndarray) -> None:
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        bad = np.flatnonzero(~finite)
        if len(bad):
            first = self._slices.ids[bad[0]]
            what = f"The '{key[1]}' embedding" if isinstance(key, tuple) and key[0] == "embedding" else "A score"
            raise BadInput(
                f"{what} of {len(bad)} slice(s) is not finite, the first: slice {first.index + 1}.",
                where=first.volume,
                advice="Look at the image; exclude the volume if it is broken.",
            )

    def _any(self, flags: np.ndarray) -> np.ndarray:
        return np.bincount(self._members, weights=flags, minlength=len(self.ids)) > 0

    def _mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the slices of each item: (m, ...) -> (n, ...)."""
        if self.unit == "slice":
            return values
        total = np.zeros((len(self.ids), *values.shape[1:]), dtype=np.float64)
        np.add.at(total, self._members, values)
        counts = np.bincount(self._members, minlength=len(self.ids))
        return (total / counts.reshape(-1, *(1 for _ in values.shape[1:]))).astype(values.dtype)


class _Slices:
    """The slices of a pool, sorted by id."""

    def __init__(
        self,
        stack: SliceStack,
        rows: np.ndarray,
        annotated: Collection[SliceId],
        skipped: Collection[SliceId],
        blank: bool,
    ) -> None:
        ids = [stack.slice_id(int(row)) for row in rows]
        order = sorted(range(len(ids)), key=lambda position: ids[position])
        self.ids = tuple(ids[position] for position in order)
        self.rows = np.asarray(rows, dtype=np.int64)[order]
        annotated_ids, skipped_ids = frozenset(annotated), frozenset(skipped)
        self.annotated = np.array([slice_id in annotated_ids for slice_id in self.ids], dtype=bool)
        self.skipped = np.array([slice_id in skipped_ids for slice_id in self.ids], dtype=bool)
        self.volumes = stack.volume_number[self.rows]
        self.patients = stack.patient_number[self.rows]
        self.indices = stack.index[self.rows]
        self.positions = stack.position[self.rows]
        self.open = ~self.annotated & ~self.skipped
        if not blank:
            self.open &= ~np.asarray(stack.blank)[self.rows]


def _item_numbers(slices: _Slices, unit: str) -> np.ndarray:
    """Number of the item that each slice belongs to: (m,) int64, ascending."""
    if unit == "slice":
        return np.arange(len(slices.ids))
    starts = np.array([n == 0 or slices.ids[n].volume != slices.ids[n - 1].volume for n in range(len(slices.ids))])
    return np.cumsum(starts) - 1
