"""Parts of an experiment: cohorts cut anew for every repetition, and copies of a volume."""

from __future__ import annotations

import math
from dataclasses import replace

from ActiveSegmentationLib.cohort import Cohort, Role, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.experiment.protocol_settings import Splits

COPY = " copy "
"""What the ids of copied volumes have between the volume's id and a number."""


def split_cohorts(cohort: Cohort, splits: Splits) -> dict[str, Cohort]:
    """The cohort with the roles of every repetition, by name ("holdout-1", "fold-1", ...).

    Only patients with masks for all their volumes take part; roles of the cohort's own split are replaced. Every volume
    of a patient has the same role.

    Args:
        cohort: The cohort.
        splits: How it is cut.

    Raises:
        BadInput: If there are too few patients.
    """
    patients = sorted({v.patient for v in cohort.volumes} - {v.patient for v in cohort.volumes if v.mask is None})
    used = splits.used or splits.count
    if splits.kind == "fold":
        return {f"fold-{n + 1}": _with_parts(cohort, *_fold(patients, splits, n)) for n in range(used)}
    return {f"holdout-{n + 1}": _with_parts(cohort, *_holdout(patients, splits, n)) for n in range(used)}


def _holdout(patients: list[str], splits: Splits, number: int) -> tuple[list[str], list[str], list[str]]:
    """Patients of pool, validation and test; shares are rounded, but every part that is wanted has a patient."""
    order = generator(splits.seed, "holdout", number).permutation(len(patients))
    validation, test = (
        max(1, round(share * len(patients))) if share else 0 for share in (splits.validation, splits.test)
    )
    if validation + test >= len(patients):
        raise _too_few(len(patients))
    shuffled = [patients[place] for place in order]
    return shuffled[validation + test :], shuffled[:validation], shuffled[validation : validation + test]


def _fold(patients: list[str], splits: Splits, number: int) -> tuple[list[str], list[str], list[str]]:
    """Patients of pool, validation and test; validation patients are the first of the other folds."""
    if len(patients) < splits.count:
        raise _too_few(len(patients))
    order = [patients[place] for place in generator(splits.seed, "folds").permutation(len(patients))]
    test = order[number :: splits.count]
    rest = [patient for patient in order if patient not in set(test)]
    validation = math.ceil(splits.validation * len(patients))
    if validation >= len(rest):
        raise _too_few(len(patients))
    return rest[validation:], rest[:validation], test


def _too_few(count: int) -> BadInput:
    advice = "Use a larger cohort, or other 'splits'."
    return BadInput(f"{count} patients with masks are too few for these parts.", where="splits", advice=advice)


def _with_parts(cohort: Cohort, pool: list[str], validation: list[str], test: list[str]) -> Cohort:
    roles = {name: Role.POOL for name in pool} | {name: Role.VALIDATION for name in validation}
    roles |= {name: Role.TEST for name in test}
    volumes = [replace(volume, role=roles[volume.patient]) for volume in cohort.volumes if volume.patient in roles]
    return cohort.with_volumes(tuple(volumes))


def with_copies(cohort: Cohort, count: int) -> Cohort:
    """The cohort with copies of the first volume of its pool, as volumes of the same patient (Foellmer 2024, App. E).

    Args:
        cohort: The cohort.
        count: Number of copies.
    """
    first = next(volume for volume in cohort.volumes if volume.role == Role.POOL)
    copies = [replace(first, id=f"{first.id}{COPY}{number:03d}") for number in range(1, count + 1)]
    return cohort.with_volumes((*cohort.volumes, *copies))


def sets_without_copies(cohort: Cohort, seeds: tuple[int, ...], count: int) -> dict[int, tuple[SliceId, ...]]:
    """Random slices for the first round of every seed, none of a copied volume.

    Args:
        cohort: A cohort of ``with_copies``.
        seeds: Seeds of the runs.
        count: Number of slices.

    Raises:
        BadInput: If the pool has fewer slices without its copies.
    """
    slices = [
        SliceId(volume.id, index)
        for volume in cohort.volumes
        if volume.role == Role.POOL and COPY not in volume.id
        for index in range(volume.slice_count)
    ]
    if count > len(slices):
        advice = "Use smaller 'rounds'."
        raise BadInput(f"The first round has {count} slices, the pool {len(slices)}.", where="rounds", advice=advice)
    drawn = {seed: generator(seed, "slices without copies").permutation(len(slices))[:count] for seed in seeds}
    return {seed: tuple(slices[place] for place in sorted(places)) for seed, places in drawn.items()}
