"""Simulated annotators (oracles), which answer requests from the cohort's reference labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ActiveSegmentationLib.cohort import IGNORE_LABEL, AnnotationKind, SliceId, SliceStack
from ActiveSegmentationLib.cohort.scribbles import scribble_from_mask
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.study import Imported, SliceAnnotation, counts_by_volume

if TYPE_CHECKING:
    from ActiveSegmentationLib.loop import StudyLoop


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


def answer_requests(loop: StudyLoop) -> dict[str, Imported]:
    """Commit the cohort's reference labels as answers to the open requests of a study.

    Nothing changes if the oracle has answered the last round already, so that the command can be repeated.

    Returns:
        For each volume the numbers of new slices and of slices that were answered before.

    Raises:
        BadInput: If there is no open request, or a volume has no reference labels.
    """
    rounds = loop.study.requests.rounds()
    wanted = loop.study.open_requests(max(rounds)) if rounds else []
    if rounds and not wanted:
        asked = {request.slice for request in loop.study.requests.read(max(rounds)).requests}
        answered = [slice_id.volume for slice_id in loop.study.annotations(OracleAnnotator.NAME) if slice_id in asked]
        if answered:
            return {volume: Imported(0, answered.count(volume)) for volume in dict.fromkeys(answered)}
    if not wanted:
        advice = "Run the command suggest first."
        raise BadInput("There is no open request to answer.", where=loop.study.folder, advice=advice)
    oracle = OracleAnnotator(loop.stack, loop.study.annotation, seed=loop.settings.seed)
    slices = [request.slice for request in wanted]
    loop.study.commit(oracle.annotate(slices, max(rounds)))
    return counts_by_volume(slices)
