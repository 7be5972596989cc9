"""The split of a cohort into pool, validation and test volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort.naming import composed
from ActiveSegmentationLib.cohort.roles import role_of_word
from ActiveSegmentationLib.cohort.types import Cohort, Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.text import counted, read_any_json

_PURPOSE = {
    Role.POOL: "to choose slices from (pool)",
    Role.VALIDATION: "for validation",
    Role.TEST: "for testing",
}


def read_split(path: Path) -> dict[Role, tuple[str, ...]]:
    """Read a split file: a JSON object with the lists "train" (or "pool"), "val" (or "validation") and "test".

    Returns:
        Names of patients or volumes by role, for the roles in the file.

    Raises:
        BadInput: If the file is missing or has another form, or has a list of names under another word.
    """
    value = read_any_json(path)
    advice = 'Write {"train": [...], "val": [...], "test": [...]} with names of patients or volumes.'
    if isinstance(value, list) and value and isinstance(value[0], dict):
        raise BadInput("The file holds several splits (folds).", where=path, advice=f"Save one of them. {advice}")
    if not isinstance(value, dict) or not any(role_of_word(key) for key in value):
        raise BadInput("The split has none of the lists train, val, test.", where=path, advice=advice)
    split: dict[Role, tuple[str, ...]] = {}
    for key, names in value.items():
        role = role_of_word(key)
        is_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if role is None and is_names and names:
            raise BadInput(f"'{key}' is not a part of a split.", where=path, advice=advice)
        if role is None:
            continue
        if not is_names:
            raise BadInput(f"'{key}' is not a list of names.", where=path, advice=advice)
        split[role] = split.get(role, ()) + tuple(names)
    return split


def with_roles(cohort: Cohort, split: Mapping[Role, Sequence[str]]) -> Cohort:
    """Set the role of every volume from the split, by volume or by patient.

    Volumes that are not in the split keep the role of their layout if the split has no pool; otherwise they are left
    out.

    Raises:
        BadInput: If a name is neither a patient nor a volume, or a patient would have two roles.
    """
    split = {role: [composed(name) for name in names] for role, names in split.items()}
    known = {composed(name) for volume in cohort.volumes for name in (volume.patient, volume.id)}
    unknown = sorted({name for names in split.values() for name in names} - known)
    if unknown:
        named = ", ".join(unknown[:5]) + (" ..." if len(unknown) > 5 else "")
        advice = "Correct the split, or look at the names with the command index."
        raise BadInput(f"The split has names that are not in the cohort: {named}.", where="split", advice=advice)
    volumes = []
    role_of: dict[str, Role] = {}
    for volume in cohort.volumes:
        roles = [role for role, names in split.items() if {composed(volume.id), composed(volume.patient)} & set(names)]
        if not roles and Role.POOL not in split:
            roles = [volume.role]
        if not roles:
            continue
        if len(set(roles)) > 1 or role_of.setdefault(volume.patient, roles[0]) != roles[0]:
            advice = "Put all volumes of a patient into one part; otherwise scores are too good."
            raise BadInput(f"Patient '{volume.patient}' is in two parts.", where="split", advice=advice)
        volumes.append(replace(volume, role=roles[0]))
    return cohort.with_volumes(tuple(volumes))


def split_text(cohort: Cohort, source: Path | None = None) -> str:
    """One line on the roles of the volumes.

    Args:
        cohort: The cohort with its roles.
        source: The split file, or None if the roles are from the layout.
    """
    parts = []
    for role in Role:
        volumes = [volume for volume in cohort.volumes if volume.role == role]
        if volumes:
            patients = counted(len({volume.patient for volume in volumes}), "patient")
            parts.append(f"{counted(len(volumes), 'volume')} of {patients} {_PURPOSE[role]}")
    origin = f"as {source} says" if source is not None else f"as the layout {cohort.layout} says"
    if source is None and all(volume.role == Role.POOL for volume in cohort.volumes):
        origin = "nothing says which are for validation or test"
    return f"Split: {', '.join(parts)} ({origin})."
