"""Simulated annotators (oracles), which answer requests from the cohort's reference labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, SliceId, SliceStack
from ActiveSegmentationLib.cohort.scribbles import scribble_from_mask
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.study import SliceAnnotation


class Annotator(Protocol):
    """Answers requests: a person in a viewer, or an oracle."""

    def annotate(self, slices: Iterable[SliceId], round_number: int) -> list[SliceAnnotation]:
        """Annotate the slices, in order."""


class OracleAnnotator:
    """Answers requests from the reference labels of the stack.

    Masks are the reference masks. Scribbles are the cohort's own where a volume has them; otherwise they are drawn from
    its masks. Drawn scribbles depend only on the seed, the volume and the slice, so that every strategy gets the same.

    Args:
        stack: The cohort's slices with their reference labels.
        kind: Masks or scribbles.
        seed: Seed of drawn scribbles.
        name: The annotator's name in stored annotations.
    """

    NAME = "oracle"

    def __init__(self, stack: SliceStack, kind: AnnotationKind, *, seed: int = 0, name: str = NAME) -> None:
        self._stack, self._kind, self._seed, self._name = stack, kind, seed, name

    def can_answer(self, volume_id: str) -> bool:
        """Whether there are reference labels for this volume."""
        return self._truth(volume_id, self._kind) is not None or self._truth(volume_id, AnnotationKind.MASK) is not None

    def annotate(self, slices: Iterable[SliceId], round_number: int) -> list[SliceAnnotation]:
        """Annotate the slices, in order.

        Raises:
            BadInput: If a volume has no reference labels.
        """
        return [
            SliceAnnotation(
                slice=slice_id,
                labels=self.labels(slice_id),
                kind=self._kind,
                annotator=self._name,
                round=round_number,
                seconds=0.0,
                committed_at="",
            )
            for slice_id in slices
        ]

    def labels(self, slice_id: SliceId) -> np.ndarray:
        """The answer for one slice: (h, w) uint8 label values, 255 where unlabelled.

        Raises:
            BadInput: If the volume has no reference labels.
        """
        own = self._truth(slice_id.volume, self._kind)
        if own is not None:
            return own[slice_id.index]
        mask = self._truth(slice_id.volume, AnnotationKind.MASK)
        if mask is None or self._kind == AnnotationKind.MASK:
            advice = "Use a cohort with reference labels for every volume of the pool."
            raise BadInput(f"There is no reference {self._kind} to answer with.", where=slice_id.volume, advice=advice)
        rng = generator(self._seed, "scribble", slice_id.volume, slice_id.index)
        return scribble_from_mask(mask[slice_id.index], rng, ignore_label=IGNORE_LABEL)

    def _truth(self, volume_id: str, kind: AnnotationKind) -> np.ndarray | None:
        return self._stack.truth(volume_id, kind)
