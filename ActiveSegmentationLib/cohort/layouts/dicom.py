"""Folders of DICOM files, in any arrangement: patients and series from the tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft
from ActiveSegmentationLib.cohort.dicom.directory import missing_files
from ActiveSegmentationLib.cohort.dicom.instances import Instance, read_instance
from ActiveSegmentationLib.cohort.dicom.segmentations import LabelNames, attach_labels
from ActiveSegmentationLib.cohort.dicom.series import Series, mark_of, picture_candidates, series_candidates, shown_path
from ActiveSegmentationLib.cohort.dicom.walk import candidates, holds_dicom, is_dicom_cohort
from ActiveSegmentationLib.cohort.layouts.base import Layout
from ActiveSegmentationLib.cohort.naming import natural_key, safe_id
from ActiveSegmentationLib.cohort.types import Problem
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.progress import Progress, or_silent

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_SKIPPED = {
    "localizer": ("localizer(s)", "No action is needed: localizers and scouts are not annotated."),
    "screenshot": (
        "secondary capture(s) (screenshots)",
        "No action is needed; if they are a converted volume, provide it as NIfTI or NRRD.",
    ),
}


def _recognises(path: Path) -> bool:
    return is_dicom_cohort(path)


def _read(path: Path, progress: Progress) -> Draft:
    """Every series of every patient; objects without images, excluded and damaged ones are reported."""
    draft = Draft([])
    instances = _instances(path, draft, progress)
    path = path if path.is_dir() else path.parent
    patients = _patients(path, instances)
    series = _series(path, instances, patients)
    made = [(one, series_candidates(path, one)) for one in series]
    for _, (found, problems) in made:
        draft.candidates += found
        draft.problems += problems
    pictures, problems = picture_candidates(path, series)
    draft.candidates += pictures
    draft.problems += problems
    names = LabelNames()
    attach_labels(path, draft, [one for one in instances if one.kind in ("segmentation", "contours")], series, names)
    draft.labels = names.table()
    draft.problems += [*_one_id_for_several(instances), *_lost_series(series), *_others(path, instances)]
    directories = [one.path for one in instances if one.kind == "directory"]
    draft.problems += [problem for file in directories for problem in missing_files(path, file)]
    return draft


def named_volume(path: Path) -> Candidate | None:
    """The volume of a DICOM file or folder; None if there is no DICOM.

    Raises:
        BadInput: If it holds no usable volume, or several.
    """
    with explained(path):
        if not holds_dicom(path):
            return None
        draft = _read(path, or_silent(None))
    if len(draft.candidates) == 1:
        return draft.candidates[0]
    advice = "Choose the folder of one series, or index the folder with --layout dicom."
    if draft.candidates:
        raise BadInput(f"{path.name} holds {len(draft.candidates)} volumes.", where=path, advice=advice)
    message, advice = next(((p.message, p.advice) for p in draft.problems if p.severity == "error"), ("", advice))
    raise BadInput(f"{path.name} holds no volume. {message}".strip(), where=path, advice=advice)


def _instances(path: Path, draft: Draft, progress: Progress) -> list[Instance]:
    found = []
    files = list(candidates(path))
    path = path if path.is_dir() else path.parent
    for number, file in enumerate(files):
        progress.update("Reading DICOM headers", number + 1, len(files))
        try:
            instance = read_instance(file)
        except BadInput as error:
            draft.problems.append(Problem(shown_path(path, file), error.message, error.advice))
            continue
        if instance is not None:
            found.append(instance)
        elif file.name.lower().endswith(_DICOM_SUFFIXES):
            advice = "Copy or export it again, or remove it."
            draft.problems.append(Problem(shown_path(path, file), "This is not a readable DICOM file.", advice))
    return found


def _patients(root: Path, instances: Sequence[Instance]) -> dict[str, str]:
    """Name of the patient of each file: the patient ID; without one the folder that holds the whole study."""
    folders: dict[str, Path] = {}
    for instance in instances:
        if not instance.patient:
            folder, key = instance.path.parent, _study_key(instance)
            known = folders.get(key, folder)
            folders[key] = next(one for one in (known, *known.parents) if folder.is_relative_to(one))
    names = {}
    for instance in instances:
        key = _study_key(instance)
        name = instance.patient
        if not name:
            below = folders[key].relative_to(root).as_posix()
            name = below if below != "." else f"study-{mark_of(key)}"
        names[str(instance.path)] = name
    return names


def _study_key(instance: Instance) -> str:
    return instance.study or str(instance.path.parent)


def _series(root: Path, instances: Sequence[Instance], patients: dict[str, str]) -> list[Series]:
    """Images grouped by patient and series, across folders; without a series UID by folder."""
    series: dict[tuple[str, str], Series] = {}
    for instance in instances:
        if instance.kind not in ("image", *_SKIPPED):
            continue
        patient = patients[str(instance.path)]
        uid = instance.series or instance.path.parent.relative_to(root).as_posix()
        if (patient, uid) not in series:
            description = instance.description or f"series{instance.number}"
            name = f"{_shortened(patient)}_{_shortened(description)}_{mark_of(instance.series or str(instance.path))}"
            series[patient, uid] = Series(patient, name, instance.series)
        series[patient, uid].instances.append(instance)
    return sorted(series.values(), key=lambda one: (natural_key(one.patient), natural_key(one.name)))


def _shortened(text: str) -> str:
    """A text shortened so that it can be part of a file name on every system."""
    return text.encode("utf-8")[:48].decode("utf-8", errors="ignore")


def _one_id_for_several(instances: Sequence[Instance]) -> list[Problem]:
    """Patient IDs that are used with several names or dates of birth; the names themselves are not reported."""
    people: dict[str, tuple[set[str], set[str]]] = {}
    for instance in instances:
        if instance.patient:
            for known, fact in zip(people.setdefault(instance.patient, (set(), set())), instance.person, strict=True):
                known.update([fact] if fact else [])
    advice = "If these are different patients, give each its own ID; otherwise no action is needed."
    return [
        Problem(
            safe_id(patient),
            f"The patient ID is used with {max(map(len, found))} different names or dates of birth; they count as one "
            "patient.",
            advice,
            "warning",
        )
        for patient, found in people.items()
        if max(map(len, found)) > 1
    ]


def _lost_series(series: Sequence[Series]) -> list[Problem]:
    """Folders in which every image has its own series, as after some anonymisation."""
    alone: dict[Path, list[Series]] = {}
    for one in series:
        images = [instance for instance in one.instances if instance.kind == "image"]
        if len(images) == 1 and len(images[0].planes) == 1 and images[0].planes[0].position:
            alone.setdefault(images[0].path.parent, []).append(one)
    advice = "Repair the series instance UID if the images are one stack: slices of a series must share it."
    return [
        Problem(
            found[0].name,
            f"{len(found)} images of the folder {folder.name} have a separate series each.",
            advice,
            "warning",
        )
        for folder, found in alone.items()
        if len(found) > 4
    ]


def _others(root: Path, instances: Sequence[Instance]) -> list[Problem]:
    """One problem for all objects without images, and one for each kind of image that is never annotated."""
    problems = []
    for kind, (name, advice) in _SKIPPED.items():
        files = [instance.path for instance in instances if instance.kind == kind]
        if files:
            message = f"{len(files)} {name} left out (for example {shown_path(root, files[0])})."
            problems.append(Problem(f"{root.name} (folder)", message, advice, "warning"))
    others = Counter(instance.name for instance in instances if instance.kind == "other")
    if others:
        named = ", ".join(f"{count} {name}" for name, count in sorted(others.items()))
        message = f"DICOM objects without images to annotate are left out: {named}."
        problems.append(Problem(f"{root.name} (folder)", message, "No action is needed.", "warning"))
    return problems


LAYOUT = Layout(
    "dicom",
    "Folders of DICOM files; patients and series from the tags.",
    _recognises,
    lambda path: _read(path, or_silent(None)),
    _read,
)
