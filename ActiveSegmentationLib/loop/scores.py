"""Scores of several volumes: means, standard deviations, and a CSV table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import Cohort, Role
from ActiveSegmentationLib.common.durability import sweep
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, write_text
from ActiveSegmentationLib.common.text import spreadsheet_safe
from ActiveSegmentationLib.loop.training import VolumeScore

HEADER = ("patient", "volume", "role", "round", "class", "metric", "value")
"""Columns of the table of all scores."""

ALL_CLASSES = "all classes"
"""Name of the rows that are means over the classes."""


@dataclass(frozen=True)
class ScoreSummary:
    """One evaluation metric over the volumes.

    Attributes:
        class_name: Name of the class, or ``ALL_CLASSES`` for the mean over the classes of each volume.
        metric: Name of the metric.
        mean: Mean over the volumes where it is defined, in its unit (Dice 0..1, distances mm); NaN if it never is.
        sd: Standard deviation (n - 1) over these volumes; NaN with fewer than two.
        volumes: Number of these volumes.
        undefined: Number of volumes where it is not defined.
    """

    class_name: str
    metric: str
    mean: float
    sd: float
    volumes: int
    undefined: int

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON values; null where a number is not defined."""
        mean, sd = (None if math.isnan(value) else value for value in (self.mean, self.sd))
        counts = {"volumes": self.volumes, "undefined": self.undefined}
        return {"class": self.class_name, "metric": self.metric, "mean": mean, "sd": sd, **counts}


def summarise(scores: Sequence[VolumeScore]) -> list[ScoreSummary]:
    """Mean and standard deviation over volumes, for every class and metric, then for the means over classes."""
    groups: dict[tuple[str, str], list[float]] = {}
    of_volumes: dict[tuple[str, str], list[float]] = {}
    for score in scores:
        groups.setdefault((score.class_name, score.metric), []).append(score.value)
        of_volumes.setdefault((score.metric, score.volume), []).append(score.value)
    if len({score.class_name for score in scores}) > 1:
        for (metric, _), values in of_volumes.items():
            known = [value for value in values if not math.isnan(value)]
            mean = float(np.mean(known)) if known else math.nan
            groups.setdefault((ALL_CLASSES, metric), []).append(mean)
    return [_summary(class_name, metric, values) for (class_name, metric), values in groups.items()]


def _summary(class_name: str, metric: str, values: Sequence[float]) -> ScoreSummary:
    known = np.array([value for value in values if not math.isnan(value)])
    mean = float(known.mean()) if len(known) else math.nan
    sd = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    return ScoreSummary(class_name, metric, mean, sd, len(known), len(values) - len(known))


def write_scores_csv(path: Path, scores: Sequence[VolumeScore], cohort: Cohort, role: Role, round_number: int) -> None:
    """Write one row for each volume, class and metric, in one atomic step; NaN is an empty cell.

    The header is ``patient,volume,role,round,class,metric,value``. A table of an earlier evaluation is replaced.

    Raises:
        BadInput: If the path is a file that is not a table of scores, or the folder cannot be written.
        JobFailed: If the disk is full.
    """
    if path.exists() and not _is_table(path):
        advice = "Name a new file, or remove this one if it is not needed."
        raise BadInput("This file is not a table of scores and is not overwritten.", where=path, advice=advice)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for score in scores:
        about = [cohort.volume(score.volume).patient, score.volume, str(role), round_number]
        value = "" if math.isnan(score.value) else repr(score.value)
        writer.writerow([*map(spreadsheet_safe, [*about, score.class_name]), score.metric, value])
    with explained(path):
        sweep(path.parent, [path.name])
    write_text(path, text.getvalue())


def _is_table(path: Path) -> bool:
    start = ",".join(HEADER).encode()
    with explained(path):
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(len(start)) == start
