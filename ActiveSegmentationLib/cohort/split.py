"""Which volumes are for learning, for validation and for testing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort.types import Cohort, Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json

_NAMES = {
    "train": Role.POOL,
    "pool": Role.POOL,
    "val": Role.VALIDATION,
    "validation": Role.VALIDATION,
    "test": Role.TEST,
}


def read_split(path: Path) -> dict[Role, tuple[str, ...]]:
    """Read a split file: a JSON object with the lists "train" (or "pool"), "val" (or "validation") and "test".

    Returns:
        Names of patients or volumes by role, only roles that the file names.

    Raises:
        BadInput: If the file is missing or has another form.
    """
    value = read_json(path)
    advice = 'Write {"train": [...], "val": [...], "test": [...]} with names of patients or volumes.'
    if not isinstance(value, dict) or not set(value) & set(_NAMES):
        raise BadInput("The split has none of the lists train, val, test.", where=path, advice=advice)
    split: dict[Role, tuple[str, ...]] = {}
    for key, names in value.items():
        if key not in _NAMES:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadInput(f"'{key}' is no list of names.", where=path, advice=advice)
        split[_NAMES[key]] = split.get(_NAMES[key], ()) + tuple(names)
    return split


def with_roles(cohort: Cohort, split: Mapping[Role, Sequence[str]]) -> Cohort:
    """Give every volume the role that the split names for it or for its patient.

    Volumes that the split does not name belong to the pool if the split names no pool; otherwise they are left out.

    Raises:
        BadInput: If a name is neither a patient nor a volume, or a patient would have two roles.
    """
    patients = {volume.patient for volume in cohort.volumes}
    known = patients | {volume.id for volume in cohort.volumes}
    unknown = sorted({name for names in split.values() for name in names} - known)
    if unknown:
        named = ", ".join(unknown[:5]) + (" ..." if len(unknown) > 5 else "")
        advice = "Correct the split, or look at the names with the command index."
        raise BadInput(f"The split names what the cohort does not have: {named}.", where="split", advice=advice)
    volumes = []
    role_of: dict[str, Role] = {}
    for volume in cohort.volumes:
        roles = [role for role, names in split.items() if volume.id in names or volume.patient in names]
        if not roles and Role.POOL not in split:
            roles = [Role.POOL]
        if not roles:
            continue
        if len(set(roles)) > 1 or role_of.setdefault(volume.patient, roles[0]) != roles[0]:
            advice = "Put all volumes of a patient into one part, or scores are too good."
            raise BadInput(f"Patient '{volume.patient}' is in two parts.", where="split", advice=advice)
        volumes.append(replace(volume, role=roles[0]))
    return cohort.with_volumes(tuple(volumes))
