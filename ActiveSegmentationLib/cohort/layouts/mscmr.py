"""MS-CMR (Zhuang 2019): subjectN_LGE.nii.gz with _manual masks, or CycleMix's folders with scribbles (Zhang 2022)."""

from __future__ import annotations

import re
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft, file_source
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.naming import stem, volume_files
from ActiveSegmentationLib.cohort.types import LabelSource, Role

LABELS = {1: "LV", 2: "MYO", 3: "RV"}
STORED = ((500, 1), (200, 2), (600, 3))
"""Values of the official release (500 left ventricle, 200 myocardium, 600 right ventricle) and of this library."""

NOT_ANNOTATED = 4
"""Value of pixels that no scribble touches."""

_SUBJECT = re.compile(r"(subject_?\d+)_(DE|LGE|C0|T2)", re.IGNORECASE)
_ROLES = {"val": Role.VALIDATION, "validation": Role.VALIDATION, "test": Role.TEST, "testing": Role.TEST}


def _recognises(path: Path) -> bool:
    return path.is_dir() and any(_SUBJECT.fullmatch(stem(file)) for file in path.rglob("subject*.nii*"))


def _read(path: Path) -> Draft:
    """Images named subjectN_SEQUENCE; labels of the same name with _manual, in any folder.

    A label file below a folder whose name holds "scribble", or that ends in _scribble, is a scribble. A folder called
    val or test gives the role.
    """
    files = volume_files(path)
    images = [file for file in files if _SUBJECT.fullmatch(stem(file))]
    labels = {file for file in files if re.search(r"_(manual|gt|label|scribble)$", stem(file), re.IGNORECASE)}
    candidates = []
    for file in images:
        own = sorted(label for label in labels if stem(label).lower().startswith(f"{stem(file).lower()}_"))
        scribbles = [label for label in own if "scribble" in label.relative_to(path).as_posix().lower()]
        masks = [label for label in own if label not in scribbles]
        folders = [part.lower() for part in file.relative_to(path).parts[:-1]]
        role = next((_ROLES[part] for part in folders if part in _ROLES), Role.POOL)
        subject = _SUBJECT.fullmatch(stem(file))
        assert subject is not None
        candidates.append(
            Candidate(
                patient=subject[1],
                name=stem(file),
                channels=(file_source(file),),
                mask=LabelSource(file_source(masks[0]), None, STORED) if masks else None,
                scribble=LabelSource(file_source(scribbles[0]), NOT_ANNOTATED, STORED) if scribbles else None,
                role=role,
            )
        )
    return Draft(candidates, dict(LABELS))


LAYOUT = Layout("mscmr", "MS-CMR: subjectN_LGE with _manual masks or scribbles.", _recognises, _read)
