"""Initial sets: a table with the slices of the first round for each seed of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.text import read_table

COLUMNS = ("seed", "volume", "slice")
"""Columns of the table, in any format of ``read_table``; slices count from 1. Other columns are ignored."""

ADVICE = "Write a CSV table with the columns seed,volume,slice, one slice per row, slices counted from 1."


def read_initial_sets(
    path: Path, seeds: Sequence[int], pool: Mapping[str, int], count: int
) -> dict[int, tuple[SliceId, ...]]:
    """The slices of the first round by seed.

    Args:
        path: The table, see ``COLUMNS``.
        seeds: Seeds of the experiment; rows of other seeds are ignored.
        pool: Number of slices of each volume of the pool.
        count: Number of slices of the first round.

    Raises:
        BadInput: If the file cannot be read, a cell is not valid, a slice is not in the pool or named twice for a seed,
            or a seed does not have ``count`` slices.
    """
    sets: dict[int, list[SliceId]] = {seed: [] for seed in seeds}
    for line, cells in _rows(path):
        where = f"{path}, line {line}"
        seed, number = _whole(cells["seed"], "seed", where), _whole(cells["slice"], "slice", where)
        if seed in sets:
            sets[seed].append(_slice(cells["volume"], number, pool, where))
            if len(set(sets[seed])) < len(sets[seed]):
                message = f"Slice {number} of {cells['volume']} is named twice for seed {seed}."
                raise BadInput(message, where=where, advice="Name each slice once.")
    for seed, chosen in sets.items():
        if len(chosen) != count:
            message = f"Seed {seed} has {len(chosen)} slices, but the first round has {count}."
            raise BadInput(
                message, where=path, advice="Name as many slices for each seed as the first number of --rounds."
            )
    return {seed: tuple(chosen) for seed, chosen in sets.items()}


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column, blank lines left out."""
    table = read_table(Path(path), COLUMNS)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise BadInput(f"The column {', '.join(missing)} is missing.", where=path, advice=ADVICE)
    return [(line, {name: cells.get(name, "") for name in COLUMNS}) for line, cells in table.rows]


def _whole(text: str, column: str, where: str) -> int:
    if not text.strip().isdecimal():
        raise BadInput(f"'{text}' in the column {column} is not a whole number.", where=where, advice=ADVICE)
    return int(text)


def _slice(volume: str, number: int, pool: Mapping[str, int], where: str) -> SliceId:
    if volume not in pool:
        advice = "Name volumes as the command index does, and only those that are not validation or test."
        raise BadInput(f"The pool has no volume '{volume}'.", where=where, advice=advice)
    if not 1 <= number <= pool[volume]:
        raise BadInput(f"{volume} has slices 1 to {pool[volume]}, not {number}.", where=where, advice=ADVICE)
    return SliceId(volume, number - 1)
