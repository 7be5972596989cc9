"""Names of annotators and volumes as parts of file names, unique and safe."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ActiveSegmentationLib.common.errors import BadInput

DEFAULT_ANNOTATOR = "annotator"
"""Default name of the annotator."""

STUDY_STEM = "_study"
"""File stem of the audit chain of the study itself; no annotator can have it."""

RESTORE = "Restore the file from a backup, or let the command repair say what can be done without one."
"""Advice on a damaged file of a study."""

_RESERVED = {"con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(10))}
_LONGEST_STEM = 120
_RECORD = re.compile(r"[a-z][a-z0-9_-]{0,40}")


def clean_annotator(name: str) -> str:
    """The name as it is shown: composed Unicode, single spaces, none at the ends.

    Raises:
        BadInput: If nothing is left, or the name holds control characters.
    """
    cleaned = " ".join(unicodedata.normalize("NFC", name).split())
    if not cleaned or any(unicodedata.category(character).startswith("C") for character in cleaned):
        raise BadInput(f"{name!r} cannot be an annotator's name.", where="annotator", advice="Use letters and digits.")
    return cleaned


def annotator_stem(name: str) -> str:
    """The file stem of an annotator: the same for names that differ in case only, different for all others.

    Case does not count because two files that differ in case only are one file on Windows and macOS. Letters of every
    script and digits stay, a space becomes "+", everything else is written as %XX of its UTF-8 bytes; so a stem holds
    no dot and no path separator, and is not a device name of Windows.

    Raises:
        BadInput: If the name is empty, holds control characters, or is too long for a file name.
    """
    key = unicodedata.normalize("NFC", clean_annotator(name).casefold())
    stem = "".join(_encoded(character) for character in key)
    if stem.startswith("_") or stem in _RESERVED:
        stem = _percent(stem[0]) + stem[1:]
    if len(stem.encode("utf-8")) > _LONGEST_STEM:
        raise BadInput("The annotator's name is too long.", where="annotator", advice="Use at most 30 characters.")
    return stem


def _encoded(character: str) -> str:
    if character == " ":
        return "+"
    return character if character.isalnum() or character in "_-" else _percent(character)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8"))


def check_volume_ids(ids: Iterable[str]) -> None:
    """Refuse ids that are not plain folder names.

    Raises:
        BadInput: Naming the first such id.
    """
    for name in ids:
        if not name or name.startswith(".") or re.search(r'[/\\:*?"<>|\x00-\x1f]', name):
            advice = "Index the cohort again; its readers make ids that are safe as folder names."
            raise BadInput(f"The volume id {name!r} cannot be a folder name.", where="cohort", advice=advice)


def check_record_name(name: str) -> str:
    """The name of a round's record, if it is a plain word of lower-case letters, digits, "-" and "_".

    Raises:
        BadInput: If it is not, or would overwrite the requests.
    """
    if not _RECORD.fullmatch(name) or name == "request":
        raise BadInput(f"A record cannot be called {name!r}.", where="rounds", advice="Use a word such as 'metrics'.")
    return name
