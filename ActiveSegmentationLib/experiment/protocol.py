"""Budgets of an experiment: the number of annotated slices after each round."""

from __future__ import annotations

from ActiveSegmentationLib.common.errors import BadInput

ANY_POOL = 10**9
"""Size of a pool in which every percentage above 0 is at least one slice."""


def parse_rounds(text: str, pool_size: int) -> list[int]:
    """Cumulative numbers of annotated slices after each round.

    Args:
        text: Comma-separated percentages of the pool or counts, cumulative: "2%,3%,4%,5%" or "10,20,30".
        pool_size: Number of slices of the pool.

    Returns:
        Strictly increasing counts, each from 1 to ``pool_size``; a percentage is rounded to the nearest slice.

    Raises:
        BadInput: If a part is not a number, or the numbers do not increase or do not fit the pool.
    """
    counts: list[int] = []
    for part in (piece.strip() for piece in text.split(",")):
        count = _count(part, pool_size)
        if count < 1 or count > pool_size:
            advice = "Use larger percentages, or counts within the pool."
            raise BadInput(f"'{part}' is {count} of {pool_size} slices.", where="rounds", advice=advice)
        if counts and count <= counts[-1]:
            advice = f"Rounds are cumulative: each must exceed the one before ({counts[-1]} slices)."
            raise BadInput(f"'{part}' is {count} slices, no more than before.", where="rounds", advice=advice)
        counts.append(count)
    return counts


def check_rounds(text: str) -> None:
    """Refuse a text that is not a list of rounds for any pool.

    Raises:
        BadInput: If a part is not a number, or not positive.
    """
    for part in (piece.strip() for piece in text.split(",")):
        if _count(part, ANY_POOL) < 1:
            advice = "Write for example 2%,3%,5% or 10,20,30."
            raise BadInput(f"'{part}' asks for no slice.", where="rounds", advice=advice)


def _count(part: str, pool_size: int) -> int:
    number = part.removesuffix("%").strip()
    try:
        return int(number) if number == part else round(pool_size * float(number) / 100)
    except (ValueError, OverflowError) as error:
        advice = "Write for example 2%,3%,5% or 10,20,30."
        raise BadInput(f"'{part}' is neither a percentage nor a count.", where="rounds", advice=advice) from error
