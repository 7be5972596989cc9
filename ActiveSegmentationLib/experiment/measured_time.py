"""Costs of annotations as a study measured them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.evaluation import CostModel
from ActiveSegmentationLib.study import Study


def measured_costs(folder: Path) -> CostModel:
    """Mean seconds of the masks and of the scribbles of a study's slices; slices without a time do not count.

    Args:
        folder: The study.

    Raises:
        BadInput: If the folder is not a study, or none of its annotations has a time.
    """
    annotations = Study.open(folder).annotations().values()
    seconds = {
        kind: [each.seconds for each in annotations if each.kind == kind and each.seconds > 0]
        for kind in (AnnotationKind.MASK, AnnotationKind.SCRIBBLE)
    }
    if not any(seconds.values()):
        advice = "Name a study that was annotated in Slicer, or leave --time-from out."
        raise BadInput("No annotation of this study has a time.", where=folder, advice=advice)
    mask, scribble = (float(np.mean(found)) if found else 0.0 for found in seconds.values())
    return CostModel(mask, scribble)
