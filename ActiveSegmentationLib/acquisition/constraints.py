"""Limits that hold for every strategy: caps per volume and patient, minimum gaps, skipped and blank slices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ActiveSegmentationLib.common.errors import BadInput


@dataclass(frozen=True)
class Constraints:
    """Limits on the choices of one round.

    Attributes:
        max_per_volume: Maximum number of slices of one volume in this round, None for no limit.
        max_per_patient: Maximum number of slices of one patient in this round, None for no limit.
        min_gap: Minimum difference of slice index to any annotated or picked slice of the same volume; 1 (or 0) allows
            adjacent slices, as the papers do.
        blank: Whether slices without image content may be picked.
    """

    max_per_volume: int | None = None
    max_per_patient: int | None = None
    min_gap: int = 0
    blank: bool = False

    def __post_init__(self) -> None:
        for field in ("max_per_volume", "max_per_patient"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise BadInput(
                    f"The limit must be at least 1, not {value}.", where=field, advice="Leave it out for none."
                )
        if self.min_gap < 0:
            raise BadInput(f"The gap must not be negative ({self.min_gap}).", where="min_gap", advice="Use 0 for none.")

    def to_json(self) -> dict[str, Any]:
        """The limits as JSON values."""
        return asdict(self)


class Allowance:
    """The slices of a pool that may be picked now, kept up to date while picks are made.

    Args:
        constraints: The limits.
        volumes: (n,) integer volume of each slice.
        patients: (n,) integer patient of each slice.
        indices: (n,) 0-based index of each slice in its volume.
        allowed: (n,) bool, slices that may be picked at all.
        annotated: (n,) bool, slices to keep the gap to from the start.
    """

    def __init__(
        self,
        constraints: Constraints,
        volumes: np.ndarray,
        patients: np.ndarray,
        indices: np.ndarray,
        allowed: np.ndarray,
        annotated: np.ndarray,
    ) -> None:
        self._constraints = constraints
        self._volumes, self._patients, self._indices = volumes, patients, indices
        self._taken_of_volume: dict[int, int] = {}
        self._taken_of_patient: dict[int, int] = {}
        self.mask = allowed.copy()
        """(n,) bool: slices that may be picked now."""
        if constraints.min_gap > 1:
            for position in np.flatnonzero(annotated):
                self._close_gap(int(position))

    def __bool__(self) -> bool:
        return bool(self.mask.any())

    def take(self, position: int) -> None:
        """Count a pick and rule out what the limits no longer allow.

        Args:
            position: Position of the picked slice; ``mask[position]`` must be True.
        """
        if not self.mask[position]:
            raise ValueError(f"slice at position {position} may not be picked")
        self.mask[position] = False
        limits = self._constraints
        volume, patient = int(self._volumes[position]), int(self._patients[position])
        self._taken_of_volume[volume] = self._taken_of_volume.get(volume, 0) + 1
        self._taken_of_patient[patient] = self._taken_of_patient.get(patient, 0) + 1
        if self._taken_of_volume[volume] == limits.max_per_volume:
            self.mask[self._volumes == volume] = False
        if self._taken_of_patient[patient] == limits.max_per_patient:
            self.mask[self._patients == patient] = False
        if limits.min_gap > 1:
            self._close_gap(position)

    def take_in_order(self, order: np.ndarray, budget: int) -> list[int]:
        """Take the first ``budget`` positions of ``order`` that the limits allow.

        Args:
            order: Positions, the most urgent first.
            budget: Number of picks wanted.

        Returns:
            The positions taken, in that order.
        """
        taken: list[int] = []
        for position in order:
            if len(taken) == budget:
                break
            if self.mask[position]:
                self.take(int(position))
                taken.append(int(position))
        return taken

    def _close_gap(self, position: int) -> None:
        same = self._volumes == self._volumes[position]
        near = np.abs(self._indices - self._indices[position]) < self._constraints.min_gap
        self.mask[same & near] = False
