"""Bytes flipped, files cut and lines swapped in every file of a study: the audit must notice."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from outcome import Outcome
from small_study import annotation, create_study, requests, write_cohort

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.common.files import hash_file
from ActiveSegmentationLib.study import Anchor, Study

Change = tuple[str, str, bytes]
"""File, what was done to it, and its content afterwards."""

FLIPS = 3
"""How many bits of each byte are flipped, one at a time."""


def lived_study(work: Path) -> tuple[Path, Anchor]:
    """A study with every kind of record and file, and its anchor."""
    study = create_study(work / "study", write_cohort(work / "cohort"))
    study.requests.write(requests(study, 1, [("v000", 0), ("v001", 1)]))
    study.commit([annotation(study, "v000", 0, 1, round=1), annotation(study, "v000", 1, 2)])
    study.commit([annotation(study, "v000", 0, 3, round=1)])
    study.commit([annotation(study, "v001", 1, 4, "Zoë")])
    study.skip(SliceId("v001", 2), "Zoë", "blurred")
    study.flag(SliceId("v000", 0), "Zoë", "look again")
    study.extents.mark("v001", 1, 2)
    study.exclude("v002", "no consent")
    return study.folder, study.audit.anchor()


def files_of(folder: Path) -> list[str]:
    """Every file of a study that the audit covers, and its chains."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in found if not path.name.startswith("."))


def changes(folder: Path, rng: random.Random) -> Iterator[Change]:
    """Each byte of each file flipped (three times, a bit chosen at random), each file cut at each byte, neighbouring
    lines swapped.
    """
    for name in files_of(folder):
        content = (folder / name).read_bytes()
        for place in range(len(content)):
            for bit in rng.sample(range(8), FLIPS):
                flipped = bytearray(content)
                flipped[place] ^= 1 << bit
                yield name, f"byte {place} flipped", bytes(flipped)
            yield name, f"cut at byte {place}", content[:place]
        lines = content.splitlines(keepends=True)
        for number in range(len(lines) - 1):
            if lines[number] != lines[number + 1]:
                swapped = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
                yield name, f"lines {number + 1} and {number + 2} swapped", b"".join(swapped)
        yield name, "removed", b""


def attack(work: Path, most: int | None = None, seed: int = 0) -> list[Outcome]:
    """Change one file of a study at a time and audit it.

    Args:
        work: A new folder, best in memory.
        most: Number of changes, drawn at random. Default: all.
        seed: Seed of the draw.

    Returns:
        The counts: changes that were not noticed count as damage.
    """
    flips = Outcome("each byte of each study file flipped, then audited")
    cuts = Outcome("each study file cut at each byte, then audited")
    lines = Outcome("neighbouring lines of study files swapped, files removed, then audited")
    with mock.patch.object(os, "fsync", return_value=None):
        folder, _ = lived_study(work)
        rng = random.Random(seed)
        planned = list(changes(folder, rng))
        if most is not None:
            planned = rng.sample(planned, min(most, len(planned)))
        whole = work / "whole"
        shutil.copytree(folder, whole)
        for name, what, content in planned:
            outcome = flips if "flipped" in what else cuts if "cut" in what else lines
            _try(folder, name, what, content, outcome)
            _restore(folder, whole)
    return [flips, cuts, lines]


def _try(folder: Path, name: str, what: str, content: bytes, outcome: Outcome) -> None:
    outcome.tried += 1
    before = _hash_of(folder / name)
    if what == "removed":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    try:
        study = Study.open(folder)
        if not study.audit.verify() and _hash_of(folder / name) != before:
            outcome.fault("damaged", f"{name}, {what}: not noticed")
    except ActiveSegmentationError:
        pass  # noticed
    except Exception as error:  # noqa: BLE001 - counted
        outcome.fault("unexpected", f"{name}, {what}: {type(error).__name__}: {error}")


def _hash_of(path: Path) -> str:
    """The content afterwards: opening puts back a line end that was cut off a chain, and nothing else."""
    return hash_file(path) if path.is_file() else ""


def _restore(folder: Path, whole: Path) -> None:
    wanted = set(files_of(whole))
    for name in files_of(folder):
        if name not in wanted:
            (folder / name).unlink()
    for name in wanted:
        content = (whole / name).read_bytes()
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
