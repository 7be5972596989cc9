"""Sets where a study's images are after they have moved."""

from __future__ import annotations

import os
from pathlib import Path

from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM
from ActiveSegmentationLib.study.study import Study
from ActiveSegmentationLib.study.study_file import STUDY_FILE, read_study, relocated


def relocate(folder: Path, cohort_root: Path) -> Study:
    """Set the new location of a study's images, and open the study.

    Args:
        folder: Folder of the study.
        cohort_root: The new root folder of the cohort.

    Raises:
        BadInput: If there is no study, or images of the cohort are missing there.
    """
    folder = Path(os.path.abspath(folder))
    with Ledger(folder, read_study(folder).id).writing(STUDY_STEM) as writer:
        moved = relocated(folder, read_study(folder), Path(cohort_root))
        writer.apply(Change(folder / STUDY_FILE, moved.to_bytes(), [{"event": "relocate"}]))
    return Study.open(folder)
