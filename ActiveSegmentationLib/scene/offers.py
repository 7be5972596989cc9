"""What came too late, or is due next: offered to the person, never done without being asked."""

from __future__ import annotations

from dataclasses import dataclass

from ActiveSegmentationLib.cohort import SliceId

PREDICTION, REQUESTS, SUGGEST = "prediction", "requests", "suggest"
"""Kinds of offers: start from a prediction, open the first request, ask for the next slices."""


@dataclass(frozen=True)
class Offer:
    """Something a person may accept.

    Attributes:
        kind: "prediction", "requests" or "suggest".
        text: What is offered, one sentence.
        study: Id of the study.
        slice: The slice it is about, or None.
    """

    kind: str
    text: str
    study: str
    slice: SliceId | None = None


@dataclass(frozen=True)
class AutoTrain:
    """When and how to train automatically.

    Attributes:
        after: Committed slices after which to train.
        models: Models to train.
        steps: Training steps, 0 for the study's setting.
    """

    after: int
    models: int = 1
    steps: int = 0
