"""Pseudonyms for patients and volumes, and the key file with the real names."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort.naming import natural_key
from ActiveSegmentationLib.cohort.types import Cohort, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_json
from ActiveSegmentationLib.common.parsing import parsing

_FORMAT = 1


class Pseudonyms:
    """Pseudonyms of volumes: "P007" for a patient, "P007_1" for a volume of this patient.

    Numbers are drawn at random, so that they do not show the order of the real names. A key file that exists is used
    again and extended: a patient has the same pseudonym wherever the same key is used.

    Args:
        volumes: For each (patient, volume id) its (pseudonym of the patient, pseudonym of the volume).
    """

    def __init__(self, volumes: dict[tuple[str, str], tuple[str, str]]) -> None:
        self._volumes = volumes

    @classmethod
    def from_key(cls, key: Path, volumes: Iterable[Volume]) -> Pseudonyms:
        """The pseudonyms of volumes; those that the key file lacks are drawn, and the file is written.

        Only the owner may read the file.

        Args:
            key: The key file, JSON; it need not exist.
            volumes: The volumes that need a pseudonym.

        Raises:
            BadInput: If the file is damaged, or cannot be written.
            JobFailed: If the disk is full.
        """
        known = _read(key) if key.exists() else {}
        pseudonyms = cls(dict(known))
        wanted = list(volumes)
        random.Random(secrets.randbits(128)).shuffle(wanted)
        for volume in wanted:
            pseudonyms._draw(volume)
        if pseudonyms._volumes != known:
            _write(key, pseudonyms._volumes)
        return pseudonyms

    def _draw(self, volume: Volume) -> None:
        if (volume.patient, volume.id) in self._volumes:
            return
        patients = {patient: pseudonym for (patient, _), (pseudonym, _) in self._volumes.items()}
        used = {int(pseudonym[1:]) for pseudonym in patients.values()}
        patient = patients.get(volume.patient) or f"P{max(used, default=0) + 1:03d}"
        number = 1 + sum(pseudonym == patient for pseudonym, _ in self._volumes.values())
        self._volumes[volume.patient, volume.id] = patient, f"{patient}_{number}"

    def patient(self, volume: Volume) -> str:
        """Pseudonym of the patient of a volume."""
        return self._volumes[volume.patient, volume.id][0]

    def volume(self, volume: Volume) -> str:
        """Pseudonym of a volume, safe as a file name."""
        return self._volumes[volume.patient, volume.id][1]

    def cohort(self, cohort: Cohort) -> Cohort:
        """The cohort with pseudonyms for its patients and volumes, in their order; problems name files and are dropped.

        Paths of images stay: without them the images could not be read.
        """
        volumes = [replace(v, id=self.volume(v), patient=self.patient(v)) for v in cohort.volumes]
        return replace(cohort, volumes=tuple(sorted(volumes, key=lambda v: natural_key(v.id))), problems=())


def pseudonymised(cohort: Cohort, key: str | Path, study: str | Path) -> Cohort:
    """The cohort with pseudonyms for patients and volumes, for a new study.

    Args:
        cohort: The cohort.
        key: The key file; see ``Pseudonyms.from_key``.
        study: Folder of the study.

    Raises:
        BadInput: If the key file is in the study or the cohort, damaged, or cannot be written.
        JobFailed: If the disk is full.
    """
    require_apart(Path(key), Path(study), cohort.root)
    return Pseudonyms.from_key(Path(key), cohort.volumes).cohort(cohort)


def require_apart(key: Path, *folders: Path) -> None:
    """Refuse a key file within folders that are passed on.

    Raises:
        BadInput: If it is in one of them.
    """
    for folder in folders:
        if key.resolve().is_relative_to(Path(os.path.abspath(folder)).resolve()):
            advice = "Keep it where those who get the study cannot read it."
            raise BadInput("The key file would be passed on together with the pseudonyms.", where=key, advice=advice)


def _read(key: Path) -> dict[tuple[str, str], tuple[str, str]]:
    value = read_json(key)
    advice = "Name a key file that this program has written, or a new file."
    with parsing(key, "The file is not a key of pseudonyms.", advice, reason=False):
        if value["format"] != _FORMAT:
            raise ValueError
        rows = [(str(row["patient"]), str(row["volume"]), *map(str, row["pseudonyms"])) for row in value["volumes"]]
        found = {(patient, volume): (of_patient, of_volume) for patient, volume, of_patient, of_volume in rows}
        if len(set(found.values())) != len(rows) or not all(int(pseudonym[1:]) for pseudonym, _ in found.values()):
            raise ValueError
    return found


def _write(key: Path, volumes: dict[tuple[str, str], tuple[str, str]]) -> None:
    rows = [
        {"patient": patient, "volume": volume, "pseudonyms": list(pseudonyms)}
        for (patient, volume), pseudonyms in sorted(volumes.items(), key=lambda item: natural_key(item[1][1]))
    ]
    write_json(key, {"format": _FORMAT, "volumes": rows}, private=True)
