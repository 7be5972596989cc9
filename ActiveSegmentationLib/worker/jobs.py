"""The jobs of the worker. Each job takes options and returns JSON values.

A volume that cannot be used does not stop the others: jobs over many volumes also return ``left_out``, a list of
volume, message, where and advice.

Libraries are imported by the jobs that need them, so that the worker says hello at once, and indexing a cohort works
before torch is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress

if TYPE_CHECKING:
    from ActiveSegmentationLib.loop import StudyLoop
    from ActiveSegmentationLib.study import Study
    from ActiveSegmentationLib.worker.server import Job

NEEDED = ("torch", "monai", "sklearn", "scipy", "nibabel", "filelock", "safetensors", "SimpleITK")
"""Modules that training and suggesting need."""


def describe(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What this Python provides: ``missing`` modules, ``device`` in words (None without torch) and ``versions``."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    answer: dict[str, Any] = {"missing": missing, "device": None, "versions": {}}
    if not missing:
        from ActiveSegmentationLib.loop import describe_device, resolve_device, versions

        device = resolve_device(options.get("device", "auto"))
        answer |= {"device": describe_device(device), "versions": versions()}
    return answer


def index(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Index the cohort at ``path`` (with ``layout``, ``axis``, ``pattern``, ``split``): its ``root`` and ``cohort``,
    ``labels`` (None if the cohort has none), and ``previews``, pictures of a few slices in the folder
    ``pictures`` (none if no folder is given).
    """
    from ActiveSegmentationLib.cohort import discover, read_split, with_roles, write_previews
    from ActiveSegmentationLib.study import label_set_for

    chosen = {name: options[name] for name in ("layout", "axis", "pattern") if options.get(name) is not None}
    cohort = discover(Path(options["path"]), **chosen, progress=progress)
    if options.get("split"):
        cohort = with_roles(cohort, read_split(Path(options["split"])))
    labels = None
    if cohort.labels or any(volume.mask is not None for volume in cohort.volumes):
        labels = label_set_for(cohort, None, progress).to_json()
    previews = write_previews(cohort, Path(options["pictures"])) if options.get("pictures") else []
    shown = [preview.to_json() for preview in previews]
    return {"root": str(cohort.root), "cohort": cohort.to_json(), "labels": labels, "previews": shown}


def strategies(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The known strategies: ``strategies`` is a list of name, summary, options and ``hindrance``: why the study at
    ``study`` cannot use it now ("" if it can, and where no study is given).
    """
    from ActiveSegmentationLib import acquisition
    from ActiveSegmentationLib.loop import study_situation
    from ActiveSegmentationLib.study import Study

    study = Study.open(Path(options["study"])) if options.get("study") else None
    situation = None if study is None else study_situation(study)
    return {"strategies": [info.to_json() for info in acquisition.strategies(situation)]}


def learners(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The known learners: ``learners`` is a list of name, summary, options, what is missing, how to install it, and why
    the study at ``study`` cannot use it ("" if it can); ``chosen`` is the study's learner (name, options and length of
    the training), ``trained`` the name of that of its latest model; both None where there is none.
    """
    from ActiveSegmentationLib.loop import chosen_learner, study_learners, trained_learner
    from ActiveSegmentationLib.study import Study

    study = Study.open(Path(options["study"])) if options.get("study") else None
    chosen = None if study is None else chosen_learner(study)
    trained = None if study is None else trained_learner(study)
    return {"learners": [info.to_json() for info in study_learners(study)], "chosen": chosen, "trained": trained}


def choose_learner(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train with another ``learner`` from now on, with ``options`` (texts by name): ``chosen``, as it is stored."""
    from ActiveSegmentationLib.loop import choose_learner as choose
    from ActiveSegmentationLib.loop import chosen_learner

    with _study(options) as study:
        choose(study, options["learner"], options.get("options", {}), progress=progress)
        return {"chosen": chosen_learner(study)}


def suggest(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Choose ``count`` slices, or with ``unit`` "volume" whole volumes, by ``strategy`` (with ``seed`` and
    ``constraints``): ``requests`` as they are stored, and ``thumbnails``, a list of files in the same order.
    """
    from ActiveSegmentationLib.acquisition import Constraints
    from ActiveSegmentationLib.loop import write_thumbnails

    with _loop(options, progress) as loop:
        constraints = Constraints(**options.get("constraints", {}))
        found = loop.suggest(
            options["count"],
            options["strategy"],
            seed=options.get("seed", 0),
            constraints=constraints,
            unit=options.get("unit", "slice"),
        )
        slices = [request.slice for request in found.requests]
        pictures = write_thumbnails(loop.stack, slices, _thumbnails(loop))
    thumbnails = [str(pictures[slice_id]) for slice_id in slices]
    return {"requests": found.to_json(), "thumbnails": thumbnails, "left_out": _left_out(loop)}


def thumbnails(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Pictures of ``slices`` (pairs of volume and 0-based index): ``thumbnails`` in the same order."""
    from ActiveSegmentationLib.cohort import SliceId
    from ActiveSegmentationLib.loop import write_thumbnails

    with _loop(options, progress) as loop:
        slices = [SliceId(volume, int(number)) for volume, number in options["slices"]]
        pictures = write_thumbnails(loop.stack, slices, _thumbnails(loop))
    return {"thumbnails": [str(pictures[slice_id]) for slice_id in slices]}


def train(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train on all annotations (``models``, ``steps``): ``round``, ``model``, ``annotated`` and ``curve``.

    Where the cohort has test volumes with reference masks, the model is scored on them as well.
    """
    from ActiveSegmentationLib.cohort import Role
    from ActiveSegmentationLib.loop import evaluate_study

    with _loop(options, progress) as loop:
        number, model = loop.train(ensemble_members=options.get("models"), steps=options.get("steps"))
        if any(volume.role == Role.TEST and volume.mask is not None for volume in loop.cohort.volumes):
            evaluate_study(loop, metrics=("dice",))
        curve = loop.learning_curve()
    answer = {"round": number, "model": model.key, "annotated": curve[-1]["annotated"], "curve": curve}
    return answer | {"left_out": _left_out(loop)}


def curve(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The learning curve so far: ``curve``, see ``StudyLoop.learning_curve``."""
    with _loop(options, progress) as loop:
        return {"curve": loop.learning_curve()}


def predict(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Predict ``volumes`` (default: all) with the latest model (``clean_up``, see ``CleanUp``): ``reviews``, the most
    uncertain volume first."""
    from ActiveSegmentationLib.loop import review_study
    from ActiveSegmentationLib.segmentation import CleanUp

    with _loop(options, progress) as loop:
        clean_up = CleanUp.from_json(options.get("clean_up", {}))
        found = review_study(loop, options.get("volumes", ()), clean_up=clean_up)
        reviews = [review.to_json() for review in found]
        return {"reviews": reviews, "left_out": _left_out(loop)}


def evaluate(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Score the latest model against reference masks: ``role`` and ``scores`` (volume, class, metric, value)."""
    from ActiveSegmentationLib.loop import evaluate_study

    with _loop(options, progress) as loop:
        role, scores = evaluate_study(loop)
    rows = [
        {"volume": s.volume, "class": s.class_name, "metric": s.metric, "value": None if np.isnan(s.value) else s.value}
        for s in scores
    ]
    return {"role": str(role), "scores": rows}


def export(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write to the folder ``out``: annotations in ``format``, or with format "predictions" the label maps of the latest
    model (``volumes``, ``probabilities``, ``uncertainty``, ``suffix``, ``clean_up``), with format "model" that model in
    ``model_format``: ``files``.
    """
    from ActiveSegmentationLib.loop import export_model, export_study, predict_study
    from ActiveSegmentationLib.segmentation import CleanUp
    from ActiveSegmentationLib.study import Study

    out = Path(options["out"])
    if options["format"] == "model":
        with _loop(options, progress) as loop:
            files = export_model(loop, out, options["model_format"])
            return {"files": [str(path) for path in files], "left_out": _left_out(loop)}
    if options["format"] != "predictions":
        return {
            "files": [str(path) for path in export_study(Study.open(Path(options["study"])), out, options["format"])]
        }
    with _loop(options, progress) as loop:
        files = predict_study(
            loop,
            out,
            volumes=options.get("volumes", ()),
            probabilities=options.get("probabilities", False),
            uncertainty=options.get("uncertainty", False),
            suffix=options.get("suffix", ".nii.gz"),
            clean_up=CleanUp.from_json(options.get("clean_up", {})),
        )
        left_out = _left_out(loop)
    return {"files": [str(path) for path in files], "left_out": left_out}


def slice_map(options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Compute the map of slices (``method``, ``embedding``): ``volumes``, ``slices`` and ``places`` with one entry per
    slice, and ``embedding``.
    """
    from ActiveSegmentationLib import loop as library

    with _loop(options, progress) as loop:
        chosen = {name: options[name] for name in ("method", "embedding") if options.get(name)}
        found = library.slice_map(loop, **chosen)
    places = [[round(float(x), 4), round(float(y), 4)] for x, y in found.places]
    return {
        "volumes": list(found.volumes),
        "slices": list(found.indices),
        "places": places,
        "embedding": found.embedding,
        "left_out": _left_out(loop),
    }


JOBS: dict[str, Job] = {
    job.__name__: job
    for job in (
        describe,
        index,
        strategies,
        learners,
        choose_learner,
        suggest,
        thumbnails,
        train,
        curve,
        predict,
        evaluate,
        export,
        slice_map,
    )
}
"""Every job by name."""


@contextlib.contextmanager
def _study(options: Mapping[str, Any]) -> Iterator[Study]:
    """The study at ``study``, locked against other jobs on it."""
    from ActiveSegmentationLib.study import Study

    if not options.get("study"):
        raise BadInput("No study is open.", where="study", advice="Open or create a study first.")
    study = Study.open(Path(options["study"]))
    with study.lock():
        yield study


@contextlib.contextmanager
def _loop(options: Mapping[str, Any], progress: Progress) -> Iterator[StudyLoop]:
    """The loop of the study at ``study`` on ``device``, locked against other jobs on the study."""
    from ActiveSegmentationLib.loop import StudyLoop

    with _study(options) as study:
        yield StudyLoop(study, device=options.get("device", "auto"), progress=progress, leave_out=True)


def _left_out(loop: StudyLoop) -> list[dict[str, str]]:
    """Volumes that the job could not use, and why."""
    return [
        {"volume": name, "message": found.message, "where": found.where or "", "advice": found.advice}
        for name, found in sorted(loop.left_out.items())
    ]


def _thumbnails(loop: StudyLoop) -> Path:
    return loop.study.cache_folder / "thumbnails"
