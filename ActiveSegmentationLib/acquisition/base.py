"""What a strategy is: a pool and a budget go in, slices with scores and reasons come out."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput


@dataclass(frozen=True)
class Choice:
    """One slice that a strategy asks for.

    Attributes:
        slice: The slice.
        score: The strategy's figure for it when it was picked, higher = asked more urgently; None where it has none.
        reason: Why, in plain words.
    """

    slice: SliceId
    score: float | None
    reason: str


class Strategy(abc.ABC):
    """Chooses slices.

    A strategy is made once from its name and argument, keeps no state between rounds and asks the pool for what it
    needs. All randomness comes from the generator it is handed.

    Attributes:
        name: Name under which people call it.
        summary: One line that tells a person when to use it.
        embeddings: Kinds of embedding that ``select`` asks the pool for; they may be prepared ahead.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    embeddings: tuple[str, ...] = ()

    @abc.abstractmethod
    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Choose slices.

        Args:
            pool: What there is to choose from, with the constraints that hold.
            budget: Number of slices wanted, at least 1.
            rng: Source of all randomness.

        Returns:
            At most ``budget`` choices, the most urgent first, no slice twice; fewer only where the pool allows no more.

        Raises:
            BadInput: If a score is not finite; the message names the slice.
        """


def check_choices(choices: Sequence[Choice], pool: Pool, budget: int) -> None:
    """Hold a strategy's answer against its promise, whoever wrote the strategy.

    Raises:
        BadInput: If a score is NaN or infinite (a broken slice must never be ranked silently).
        ValueError: If there are too many choices, a slice twice, or one that may not be picked.
    """
    for choice in choices:
        if choice.score is not None and not np.isfinite(choice.score):
            raise BadInput(
                f"The score of slice {choice.slice.index + 1} is {choice.score}, not a finite number.",
                where=choice.slice.volume,
                advice="Look at the image; exclude the volume if it is broken.",
            )
    if len(choices) > budget:
        raise ValueError(f"{len(choices)} slices were chosen for a budget of {budget}")
    position_of = {slice_id: position for position, slice_id in enumerate(pool.ids)}
    allowance = pool.allowance()
    for choice in choices:
        if choice.slice not in position_of:
            raise ValueError(f"{choice.slice} is not in the pool")
        allowance.take(position_of[choice.slice])
