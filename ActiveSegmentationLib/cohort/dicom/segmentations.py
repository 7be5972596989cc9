"""Which DICOM segmentations are labels of which volumes, and the names of their segments."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft
from ActiveSegmentationLib.cohort.dicom.instances import Instance
from ActiveSegmentationLib.cohort.dicom.segments import FILE_STEP, INSTALL, require_grid
from ActiveSegmentationLib.cohort.dicom.series import Series
from ActiveSegmentationLib.cohort.naming import safe_id
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Source
from ActiveSegmentationLib.common.errors import BadInput

_CONTOURS = (
    "Export the contours as DICOM SEG or as a label map of the image's grid (in Slicer with the extension SlicerRT)."
)


class LabelNames:
    """One label value for each segment name of a cohort."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}

    def value(self, name: str, wanted: int) -> int:
        """The value of a segment name; a new name gets the wanted value if it is free, otherwise the next free one."""
        if name not in self._values:
            taken = set(self._values.values())
            free = (
                wanted if 0 < wanted < 255 and wanted not in taken else next(n for n in range(1, 255) if n not in taken)
            )
            self._values[name] = free
        return self._values[name]

    def table(self) -> dict[int, str]:
        """Names by label value."""
        return {value: name for name, value in sorted(self._values.items(), key=lambda item: item[1])}


def attach_labels(
    root: Path, draft: Draft, objects: Sequence[Instance], series: Sequence[Series], names: LabelNames
) -> None:
    """Give the volumes of a draft the segmentations that refer to them; whatever cannot be used is told in its row."""
    series_of = {instance.uid: one for one in series for instance in one.instances}
    by_uid = {one.uid: one for one in series if one.uid}
    for found in objects:
        if found.kind == "contours":
            target = next((by_uid[uid].name for uid in found.references if uid in by_uid), None)
            where = safe_id(target) if target else _shown(root, found.path)
            message = f"{found.path.name} holds contours (RTSTRUCT), which are not read."
            draft.problems.append(Problem(where, message, _CONTOURS, "warning"))
    users: dict[int, list[Instance]] = {}
    for found in objects:
        if found.kind != "segmentation":
            continue
        numbers = [number for number, one in enumerate(draft.candidates) if _refers(found, one, by_uid, series_of)]
        if not numbers:
            message = "The segmentation refers to a series that is not here, so it is not used."
            advice = found.advice if found.problem else "Add the series that it was drawn on."
            draft.problems.append(Problem(_shown(root, found.path), found.problem or message, advice, "warning"))
        for number in numbers:
            users.setdefault(number, []).append(found)
    for number, files in sorted(users.items()):
        candidate = draft.candidates[number]
        try:
            labels = _labels(files, names)
            if candidate.header is not None:
                require_grid([found.path for found in files], candidate.header.geometry)
            draft.candidates[number] = replace(candidate, mask=labels)
        except BadInput as error:
            draft.problems.append(Problem(safe_id(candidate.name), f"{error.where}: {error.message}", error.advice))


def _refers(found: Instance, candidate: Candidate, by_uid: dict[str, Series], series_of: dict[str, Series]) -> bool:
    """Whether a segmentation was drawn on a volume: on its images, or where it names none, on its series."""
    own = {path for source in candidate.channels for path in source.paths}
    if found.instances:
        named = [
            str(instance.path)
            for uid in found.instances
            if uid in series_of
            for instance in series_of[uid].instances
            if instance.uid == uid
        ]
        if named:
            return bool(own.intersection(named))
    return any(
        str(instance.path) in own for uid in found.references if uid in by_uid for instance in by_uid[uid].instances
    )


def _labels(files: Sequence[Instance], names: LabelNames) -> LabelSource:
    """The labels of one volume from one segmentation, or from several with different segments.

    Raises:
        BadInput: If one cannot be used, or two have segments of the same name.
    """
    seen: dict[str, Instance] = {}
    pairs = []
    for place, found in enumerate(files):
        _require_usable(found)
        for number, name in found.segments:
            if name in seen and seen[name] is not found:
                message = f"{len(files)} segmentations of the series have a segment '{name}', so none of them is used."
                raise BadInput(message, where=found.path.name, advice="Keep one of them in the folder.")
            seen[name] = found
            pairs.append((place * FILE_STEP + number, names.value(name, number)))
    return LabelSource(Source("segmentation", tuple(str(found.path) for found in files)), None, tuple(pairs))


def _require_usable(found: Instance) -> None:
    if found.problem:
        raise BadInput(found.problem, where=found.path.name, advice=found.advice)
    if found.fractional:
        advice = "Export it as a binary segmentation."
        raise BadInput("The segmentation holds probabilities (FRACTIONAL).", where=found.path.name, advice=advice)
    if not found.segments:
        raise BadInput("The segmentation has no segment.", where=found.path.name, advice="Leave it out.")
    if importlib.util.find_spec("highdicom") is None:
        raise BadInput("DICOM segmentations need the package highdicom.", where=found.path.name, advice=INSTALL)


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
