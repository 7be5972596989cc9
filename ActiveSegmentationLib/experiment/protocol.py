"""Budgets of an experiment: how many slices are annotated after each round."""

from __future__ import annotations

from ActiveSegmentationLib.common.errors import BadInput


def parse_rounds(text: str, pool_size: int) -> list[int]:
    """Cumulative numbers of annotated slices after each round.

    Args:
        text: Comma-separated percentages of the pool or counts, cumulative: "2%,3%,4%,5%" or "10,20,30".
        pool_size: Number of slices of the pool.

    Returns:
        Strictly increasing counts, each from 1 to ``pool_size``; a percentage is rounded to the nearest slice.

    Raises:
        BadInput: If a part is no number, or the numbers do not increase or fit the pool.
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


def _count(part: str, pool_size: int) -> int:
    number = part.removesuffix("%").strip()
    try:
        return int(number) if number == part else round(pool_size * float(number) / 100)
    except (ValueError, OverflowError) as error:
        advice = "Write for example 2%,3%,5% or 10,20,30."
        raise BadInput(f"'{part}' is neither a percentage nor a count.", where="rounds", advice=advice) from error
