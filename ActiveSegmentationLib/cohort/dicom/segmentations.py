"""Assigns DICOM segmentations to volumes, and collects the names of their segments."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft
from ActiveSegmentationLib.cohort.dicom.instances import Instance
from ActiveSegmentationLib.cohort.dicom.segments import FILE_STEP, INSTALL, require_grid
from ActiveSegmentationLib.cohort.dicom.series import Series, shown_path
from ActiveSegmentationLib.cohort.naming import safe_id
from ActiveSegmentationLib.cohort.segments import ONE_NAME, TOO_MANY_NAMES
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Source
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.labels import IGNORE_LABEL

_CONTOURS = (
    "Export the contours as DICOM SEG or as a label map on the image's grid (in Slicer with the extension SlicerRT)."
)


class LabelNames:
    """One label value for each segment name of a cohort."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}

    def value(self, name: str, wanted: int) -> int:
        """The value of a segment name; a new name gets the wanted value if it is free, otherwise the next free one.

        Raises:
            BadInput: If no value is free.
        """
        if name not in self._values:
            taken = set(self._values.values())
            free = next((n for n in (wanted, *range(1, IGNORE_LABEL)) if 0 < n < IGNORE_LABEL and n not in taken), None)
            if free is None:
                raise BadInput(TOO_MANY_NAMES, advice=ONE_NAME)
            self._values[name] = free
        return self._values[name]

    def table(self) -> dict[int, str]:
        """Names by label value."""
        return {value: name for name, value in sorted(self._values.items(), key=lambda item: item[1])}


def attach_labels(
    root: Path, draft: Draft, objects: Sequence[Instance], series: Sequence[Series], names: LabelNames
) -> None:
    """Assign to the volumes of a draft the segmentations that refer to them; unusable ones are reported."""
    images = _Images(series)
    for found in objects:
        if found.kind == "contours":
            target = next((images.names[uid] for uid in found.references if uid in images.names), None)
            where = safe_id(target) if target else shown_path(root, found.path)
            message = f"{found.path.name} holds contours (RTSTRUCT), which are not read."
            draft.problems.append(Problem(where, message, _CONTOURS, "warning"))
    users: dict[int, list[Instance]] = {}
    for found in _without_copies(objects):
        numbers = _targets(found, draft.candidates, images)
        for number in numbers:
            users.setdefault(number, []).append(found)
        if not numbers:
            message = "The segmentation refers to a series that is missing, so it is not used."
            if not found.references:
                message = "The segmentation names no series and does not fit exactly one volume, so it is not used."
            advice = found.advice if found.problem else "Add the series that it was drawn on."
            draft.problems.append(Problem(shown_path(root, found.path), found.problem or message, advice, "warning"))
    for number, files in sorted(users.items()):
        candidate = draft.candidates[number]
        try:
            draft.candidates[number] = replace(candidate, mask=_labels(files, candidate, names))
        except BadInput as error:
            where = shown_path(root, Path(error.where)) if error.where else root.name
            draft.problems.append(Problem(safe_id(candidate.name), f"{where}: {error.message}", error.advice))


class _Images:
    """Files of the images, by image, by series and by study."""

    def __init__(self, series: Sequence[Series]) -> None:
        self.names = {one.uid: one.name for one in series if one.uid}
        self.of_image: dict[str, set[str]] = {}
        self.of_series: dict[str, set[str]] = {}
        self.of_study: dict[str, set[str]] = {}
        for one in series:
            for instance in one.instances:
                path = str(instance.path)
                self.of_image.setdefault(instance.uid, set()).add(path)
                self.of_series.setdefault(instance.series, set()).add(path)
                self.of_study.setdefault(instance.study, set()).add(path)


def _without_copies(objects: Sequence[Instance]) -> list[Instance]:
    """The segmentations, each SOP instance UID once."""
    once: dict[str, Instance] = {}
    for found in objects:
        if found.kind == "segmentation":
            once.setdefault(found.uid or str(found.path), found)
    return list(once.values())


def _targets(found: Instance, candidates: Sequence[Candidate], images: _Images) -> list[int]:
    """Places of the volumes that a segmentation was drawn on.

    By its images; without these by its series; without a series, the only volume of its study with the same grid.
    """
    named = set().union(*(images.of_image.get(uid, set()) for uid in found.instances))
    named = named or set().union(*(images.of_series.get(uid, set()) for uid in found.references))
    anywhere = not named and not found.references and not found.problem
    if anywhere:
        named = images.of_study.get(found.study, set())
    numbers = [
        number
        for number, candidate in enumerate(candidates)
        if any(path in named for source in candidate.channels for path in source.paths)
    ]
    if anywhere:
        numbers = [number for number in numbers if _has_grid(found, candidates[number])]
        return numbers if len(numbers) == 1 else []
    return numbers


def _has_grid(found: Instance, candidate: Candidate) -> bool:
    try:
        _require_grid([found], candidate)
    except BadInput:
        return False
    return True


def _require_grid(files: Sequence[Instance], candidate: Candidate) -> None:
    header = candidate.headers[0]
    if header is not None:
        require_grid([found.path for found in files], header.geometry)


def _labels(files: Sequence[Instance], candidate: Candidate, names: LabelNames) -> LabelSource:
    """The labels of one volume from one segmentation, or from several with different segments.

    Raises:
        BadInput: If one cannot be used, or two have segments of the same name.
    """
    for found in files:
        _require_usable(found)
    counts = Counter(name for found in files for name in {name for _, name in found.segments})
    common = next((name for name, count in counts.items() if count > 1), None)
    if common is not None:
        message = f"{len(files)} segmentations of the series have a segment '{common}', so none of them is used."
        raise BadInput(message, where=files[0].path, advice="Keep one of them in the folder.")
    _require_grid(files, candidate)
    pairs = [
        (place * FILE_STEP + number, names.value(name, number))
        for place, found in enumerate(files)
        for number, name in found.segments
    ]
    return LabelSource(Source("segmentation", tuple(str(found.path) for found in files)), None, tuple(pairs))


def _require_usable(found: Instance) -> None:
    if found.problem:
        raise BadInput(found.problem, where=found.path, advice=found.advice)
    if found.fractional:
        advice = "Export it as a binary segmentation."
        raise BadInput("The segmentation holds probabilities (FRACTIONAL).", where=found.path, advice=advice)
    if not found.segments:
        raise BadInput("The segmentation has no segment.", where=found.path, advice="Leave it out.")
    if importlib.util.find_spec("highdicom") is None:
        raise BadInput("DICOM segmentations need the package highdicom.", where=found.path, advice=INSTALL)
