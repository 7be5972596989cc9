"""Offers: late results and next steps, which are carried out only if the user clicks."""

from __future__ import annotations

from dataclasses import dataclass

from ActiveSegmentationLib.cohort import SliceId

PREDICTION, REQUESTS, SUGGEST = "prediction", "requests", "suggest"
"""Kinds of offers: start from a prediction, open the first request, suggest the next slices."""


@dataclass(frozen=True)
class Offer:
    """Something that the user may accept.

    Attributes:
        kind: "prediction", "requests" or "suggest".
        text: The offer in one sentence.
        study: Id of the study.
        slice: The slice that it concerns, or None.
    """

    kind: str
    text: str
    study: str
    slice: SliceId | None = None


@dataclass(frozen=True)
class AutoTrain:
    """When and how to train automatically.

    Attributes:
        after: Number of committed slices after which to train.
        models: Number of ensemble members.
        steps: Training steps, 0 for the setting of the study.
    """

    after: int
    models: int = 1
    steps: int = 0
