"""What a strategy may look at: the slices of the pool, what is annotated, and figures computed on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from ActiveSegmentationLib.acquisition.constraints import Allowance, Constraints
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.cohort.stack import SliceStack
from ActiveSegmentationLib.common.errors import BadInput

Embedder = Callable[[np.ndarray], np.ndarray]
"""Rows of the stack (n,) -> features (n, d) float32."""


class Pool:
    """The slices that a study may ask for, in an order that depends on nothing but their identity.

    Positions 0..n-1 follow (volume id, slice index); every array below has that order, so a tie is broken by it.

    Args:
        stack: The cohort's slices.
        rows: Rows of the stack that belong to the pool, in any order.
        annotated: Slices that are annotated; those outside of the pool are ignored.
        skipped: Slices that must not be asked for (they still are part of the space to cover).
        constraints: Limits on this round's choices.
        embedders: Functions that compute each kind of embedding, called at most once a pool.
        device: Torch device that strategies may compute on.
    """

    def __init__(
        self,
        stack: SliceStack,
        rows: np.ndarray,
        *,
        annotated: Collection[SliceId] = (),
        skipped: Collection[SliceId] = (),
        constraints: Constraints | None = None,
        embedders: Mapping[str, Embedder] | None = None,
        device: str = "cpu",
    ) -> None:
        ids = [stack.slice_id(int(row)) for row in rows]
        order = sorted(range(len(ids)), key=lambda position: ids[position])
        self.stack = stack
        self.device = device
        self.ids: tuple[SliceId, ...] = tuple(ids[position] for position in order)
        self.rows = np.asarray(rows, dtype=np.int64)[order]
        self.constraints = constraints or Constraints()
        annotated_ids, skipped_ids = frozenset(annotated), frozenset(skipped)
        self.annotated = np.array([slice_id in annotated_ids for slice_id in self.ids], dtype=bool)
        """(n,) bool: annotated slices."""
        self.skipped = np.array([slice_id in skipped_ids for slice_id in self.ids], dtype=bool)
        """(n,) bool: slices that must not be asked for."""
        self.volumes = stack.volume_number[self.rows]
        """(n,) int: number of the volume of each slice."""
        self.patients = stack.patient_number[self.rows]
        """(n,) int: number of the patient of each slice."""
        self.indices = stack.index[self.rows]
        """(n,) int: 0-based index of each slice in its volume."""
        self.positions = stack.position[self.rows]
        """(n,) float in (0, 1): relative place of each slice in its volume."""
        self._embedders = dict(embedders or {})
        self._embeddings: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def allowance(self) -> Allowance:
        """A fresh account of which slices may be picked."""
        allowed = ~self.annotated & ~self.skipped
        if not self.constraints.blank:
            allowed &= ~np.asarray(self.stack.blank)[self.rows]
        return Allowance(self.constraints, self.volumes, self.patients, self.indices, allowed, self.annotated)

    def offers(self, kind: str) -> bool:
        """Whether embeddings of this kind can be had in this round."""
        return kind in self._embedders

    def embeddings(self, kind: str) -> np.ndarray:
        """Features of every slice of the pool, computed once.

        Args:
            kind: "pixels", "segmenter", "learned" or "learned:PRESET".

        Returns:
            (n, d) float32 array.

        Raises:
            BadInput: If this round has no such embedding, or if a value is not finite.
        """
        if kind not in self._embedders:
            raise BadInput(
                f"This round has no '{kind}' embedding.",
                where="acquisition",
                advice="Train a model first, or choose a strategy that needs none.",
            )
        if kind not in self._embeddings:
            features = np.asarray(self._embedders[kind](self.rows), dtype=np.float32)
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            if len(bad):
                first = self.ids[bad[0]]
                raise BadInput(
                    f"The '{kind}' embedding of {len(bad)} slice(s) is not finite, the first: slice {first.index}.",
                    where=first.volume,
                    advice="Look at the image; exclude the volume if it is broken.",
                )
            self._embeddings[kind] = features
        return self._embeddings[kind]

    def patient_name(self, position: int) -> str:
        """Id of the patient of the slice at ``position``."""
        return self.stack.patients[int(self.patients[position])]

    def describe(self, position: int) -> str:
        """The slice at ``position`` in words; people count slices from 1."""
        slice_id = self.ids[position]
        return f"{slice_id.volume}, slice {slice_id.index + 1}"
