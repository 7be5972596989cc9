"""Creating a study folder, completely or not at all."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort import Cohort
from ActiveSegmentationLib.cohort.segments import UNLABELLED_SEGMENT_NAME
from ActiveSegmentationLib.common.durability import make_folder, move_into_place, sweep, temporary_name
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, read_json, remove_tree, write_bytes, write_json
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.ledger import Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM
from ActiveSegmentationLib.study.study_file import COHORT_FILE, STUDY_FILE, StudyRecord, read_study


def check_empty(folder: Path) -> None:
    """Refuse a folder that is not empty.

    Raises:
        BadInput: Naming what the folder contains.
    """
    with explained(folder):
        if folder.is_file():
            raise BadInput("This is a file.", where=folder, advice="Name a new folder.")
        if (folder / STUDY_FILE).is_file():
            raise BadInput("There is a study already.", where=folder, advice="Open it, or name another folder.")
        if folder.is_dir() and any(folder.iterdir()):
            advice = "Name a new folder; a study does not mix with other files."
            raise BadInput("The folder is not empty.", where=folder, advice=advice)


def is_made(folder: Path, record: StudyRecord, cohort: Cohort) -> bool:
    """Whether the same study is there and nothing was done in it yet, as after a creation that was killed at its end.

    Raises:
        BadInput: If there is a study that is damaged.
    """
    if not (folder / STUDY_FILE).is_file():
        return False
    there = read_study(folder)
    ledger = Ledger(folder, there.id)
    untouched = ledger.stems() == [STUDY_STEM] and len(ledger.chain(STUDY_STEM).records()) == 1
    same = replace(record, id=there.id, created=there.created).to_bytes() == there.to_bytes()
    return untouched and same and read_json(folder / COHORT_FILE) == json.loads(json.dumps(cohort.to_json()))


def check_label_names(labels: LabelSet) -> None:
    """Refuse a label with the name that Slicer shows for unlabelled pixels; studies of older versions may have one.

    Raises:
        BadInput: If there is such a label.
    """
    for label in labels.labels:
        if label.name.strip().casefold() == UNLABELLED_SEGMENT_NAME.casefold():
            advice = f"Choose another name; '{UNLABELLED_SEGMENT_NAME}' is reserved for unlabelled pixels."
            raise BadInput(f"{label.name!r} cannot be a label name.", where=f"label {label.value}", advice=advice)


def write_new(folder: Path, record: StudyRecord, cohort: Cohort) -> None:
    """Write the study to a temporary folder and move it into place, so that it is never incomplete.

    Drafts that a killed command has left next to it are deleted. A folder that existed keeps its permissions.
    """
    with explained(folder):
        sweep(folder.parent, [folder.name])
        draft = folder.parent / temporary_name(folder.name)
    try:
        with explained(folder):
            make_folder(draft)
        write_json(draft / COHORT_FILE, cohort.to_json())
        write_bytes(draft / STUDY_FILE, record.to_bytes())
        with Ledger(draft, record.id).writing(STUDY_STEM) as writer:
            event = {"event": "created", "study": record.id, "annotation": str(record.annotation)}
            writer.append([event], [draft / STUDY_FILE, draft / COHORT_FILE])
        with explained(folder):
            if folder.is_dir():
                draft.chmod(stat.S_IMODE(folder.stat().st_mode))
                folder.rmdir()
            move_into_place(draft, folder)
    finally:
        remove_tree(draft)
