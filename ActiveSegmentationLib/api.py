"""The public functions of the library: one call for each step of the loop over a study folder.

A study is given as an open ``Study`` or as the path of its folder. Functions that compute or write lock the study, so
only one of them runs at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, Pseudonyms, Role, SliceId, pseudonymised, require_apart
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.study import (
    Imported,
    Request,
    Study,
    commit_arrays,
    import_annotations,
    label_set_for,
    with_usual_learner,
)

if TYPE_CHECKING:
    import numpy as np

    from ActiveSegmentationLib.acquisition import Strategy
    from ActiveSegmentationLib.experiment import Outcome
    from ActiveSegmentationLib.loop import LoopSettings, ScoreSummary, StudyLoop
    from ActiveSegmentationLib.segmentation import CleanUp, Ensemble


def create_study(
    folder: str | Path,
    cohort: Cohort,
    *,
    annotation: str = "mask",
    labels: str | None = None,
    settings: LoopSettings | None = None,
    learner: str | None = None,
    learner_options: Mapping[str, Any] | None = None,
    pseudonyms: str | Path | None = None,
) -> Study:
    """Create a study: a folder of plain files that refers to a cohort's images.

    Args:
        folder: Folder of the study; empty, or it does not exist yet.
        cohort: The cohort, from ``discover``.
        annotation: "mask" (every pixel of a slice is labelled) or "scribble" (only the drawn ones).
        labels: "1=NAME,2=NAME". Default: the labels of the cohort.
        settings: How slices are prepared and models trained.
        learner: What trains on the annotations; ``activesegmentation learners`` lists them. Default: that of the
            settings, with its options; without settings the one that fits the cohort.
        learner_options: Settings that only this learner has, by name.
        pseudonyms: Give patients and volumes pseudonyms; the file that tells whose they are, which is made or extended.
            Keep it apart: it must be outside of the study and the cohort. Default: the cohort's ids.

    Raises:
        BadInput: If the folder is not empty, no label is known, or the learner or the key file cannot be used.

    Example:
        >>> study = create_study("study", discover("phantom"), labels="1=RV,2=MYO,3=LV")
        >>> study.labels.names
        {1: 'RV', 2: 'MYO', 3: 'LV'}
    """
    from ActiveSegmentationLib.loop import LoopSettings, require_validation
    from ActiveSegmentationLib.segmentation import check_learner, with_learner

    if learner is not None or learner_options is not None:
        settings = settings or LoopSettings()
        training = with_learner(settings.training, learner or settings.training.learner, learner_options)
        settings = replace(settings, training=training)
    if settings is not None:
        check_learner(settings.training, annotation)
        require_validation(settings.training, cohort)
    stored = with_usual_learner({} if settings is None else settings.to_json(), cohort, annotation)
    names = label_set_for(cohort, labels)
    if pseudonyms is not None:
        cohort = pseudonymised(cohort, pseudonyms, folder)
    return Study.create(Path(folder), cohort, names, AnnotationKind(annotation), settings=stored)


def choose_learner(study: Study | str | Path, learner: str, options: Mapping[str, Any] | None = None) -> None:
    """Change what trains on a study's annotations from now on; earlier models and all annotations stay.

    Args:
        study: The study.
        learner: Name of the learner; ``activesegmentation learners`` lists them.
        options: Settings that only this learner has, by name. Default: its usual ones.

    Raises:
        BadInput: If there is no such learner, a package is missing, an option cannot be used, or it cannot learn from
            the study's annotations.

    Example:
        >>> choose_learner("study", "unet")
    """
    from ActiveSegmentationLib.loop import change_training, study_settings
    from ActiveSegmentationLib.segmentation import with_learner

    opened = _study(study)
    with opened.lock():
        change_training(opened, with_learner(study_settings(opened).training, learner, options))


def suggest(
    study: Study | str | Path,
    count: int,
    strategy: str | Strategy = DEFAULT_STRATEGY,
    *,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
    **limits: Any,
) -> tuple[Request, ...]:
    """Choose the slices to annotate next and store the requests as a new round of the study.

    Args:
        study: The study.
        count: Number of slices.
        strategy: The strategy or its name; ``activesegmentation strategies`` lists them.
        seed: Seed of its random draws.
        device: "auto" (a GPU where there is one), or a PyTorch device.
        progress: Progress reporter. Default: reports nothing.
        limits: ``max_per_volume``, ``max_per_patient``, ``min_gap`` and ``include_blank``, see ``Constraints``.

    Returns:
        The requests, the most urgent first: ``request.slice.volume``, ``request.slice.index`` (from 0),
        ``request.reason``.

    Raises:
        BadInput: If no slice is left to request, or the strategy cannot be used.

    Example:
        >>> requests = suggest("study", 4, max_per_volume=1, device="cpu")
        >>> len({request.slice.volume for request in requests})
        4
    """
    from ActiveSegmentationLib.acquisition import Constraints

    with _opened(study, device, progress) as loop:
        return loop.suggest(count, str(strategy), seed=seed, constraints=Constraints(**limits)).requests


def annotate(
    study: Study | str | Path,
    labels: str | Path | Mapping[SliceId, np.ndarray] | None = None,
    *,
    oracle: bool = False,
    annotator: str = "annotator",
    progress: Progress | None = None,
    **reading: Any,
) -> dict[str, Imported]:
    """Commit annotations: label maps from a folder, arrays, or the cohort's reference labels.

    Args:
        study: The study.
        labels: A folder of label maps named by volume, 255 = unlabelled; or an array (rows, columns) for each slice.
        oracle: Answer the open requests from the cohort's reference labels instead, as a benchmark does.
        annotator: Who drew them.
        progress: Progress reporter. Default: reports nothing.
        reading: For a folder: ``ignore_label`` and ``slices``, see ``import_annotations``.

    Returns:
        For each volume the numbers of new slices and of slices already committed with the same pixels.

    Raises:
        BadInput: If neither or both are given, or an annotation cannot be used.

    Example:
        >>> sum(count.new for count in annotate("study", oracle=True).values())
        4
    """
    if (labels is None) != oracle:
        raise BadInput("It is not clear where the annotations come from.", advice="Give labels, or oracle=True.")
    if oracle:
        from ActiveSegmentationLib.experiment import answer_requests

        with _opened(study, "cpu", progress) as loop:
            return answer_requests(loop)
    opened = _study(study)  # not locked: people commit while a model trains
    if isinstance(labels, Mapping):
        return commit_arrays(opened, labels, annotator)
    asked = {"annotator": annotator, "kind": opened.annotation, "progress": progress, **reading}
    return import_annotations(opened, Path(str(labels)), **asked)


def train(
    study: Study | str | Path,
    *,
    ensemble_members: int | None = None,
    steps: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Ensemble:
    """Train on everything annotated so far; the model belongs to the latest round.

    Args:
        study: The study.
        ensemble_members: Number of models whose predictions are averaged. Default: the study's setting.
        steps: Optimisation steps of each. Default: the study's setting.
        seed: Seed of the training. Default: the study's.
        device: "auto" (a GPU where there is one), or a PyTorch device.
        progress: Progress reporter. Default: reports nothing.

    Raises:
        BadInput: If nothing is annotated.

    Example:
        >>> model = train("study", steps=20, device="cpu")
        >>> model.classes
        4
    """
    with _opened(study, device, progress) as loop:
        return loop.train(ensemble_members=ensemble_members, steps=steps, seed=seed)[1]


def predict(
    study: Study | str | Path,
    out: str | Path,
    *,
    volumes: Sequence[str] = (),
    probabilities: bool = False,
    uncertainty: bool = False,
    largest_part: bool = False,
    fill_holes: str = "no",
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Path]:
    """Write the latest model's label map of every volume, in the volume's own geometry.

    Args:
        study: The study.
        out: Folder of the label maps.
        volumes: Ids of the volumes. Default: all.
        probabilities: Whether to write class probabilities too.
        uncertainty: Whether to write the entropy of the probabilities too.
        largest_part: Whether to keep only the largest connected part of each structure.
        fill_holes: "no", or "2d" or "3d" to make enclosed background part of its structure, see ``CleanUp``.
        device: "auto" (a GPU where there is one), or a PyTorch device.
        progress: Progress reporter. Default: reports nothing.

    Returns:
        The files.

    Raises:
        BadInput: If no model is trained, or the folder holds other files.

    Example:
        >>> [path.name for path in predict("study", "labels", volumes=["patient001_frame01"], device="cpu")]
        ['patient001_frame01.nii.gz']
    """
    from ActiveSegmentationLib.loop import predict_study

    with _opened(study, device, progress) as loop:
        return predict_study(
            loop,
            Path(out),
            volumes=volumes,
            probabilities=probabilities,
            uncertainty=uncertainty,
            clean_up=_clean_up(largest_part, fill_holes),
        )


def evaluate(
    study: Study | str | Path,
    *,
    metrics: Sequence[str] = ("dice", "hd95"),
    role: str | None = None,
    largest_part: bool = False,
    fill_holes: str = "no",
    device: str = "auto",
    progress: Progress | None = None,
) -> list[ScoreSummary]:
    """Score the latest model against the cohort's reference masks.

    Args:
        study: The study.
        metrics: Any of "dice", "dice2d", "hd95", "msd".
        role: "pool", "validation" or "test". Default: the test volumes if there are any, otherwise the pool.
        largest_part: As for ``predict``.
        fill_holes: As for ``predict``.
        device: "auto" (a GPU where there is one), or a PyTorch device.
        progress: Progress reporter. Default: reports nothing.

    Returns:
        Mean and standard deviation over volumes for each class and metric, then for the means over classes.

    Raises:
        BadInput: If no model is trained, or no volume has reference masks.

    Example:
        >>> for score in evaluate("study", metrics=["dice"], device="cpu"):
        ...     print(score.class_name, score.metric, score.volumes)
        RV dice 8
        MYO dice 8
        LV dice 8
        all classes dice 8
    """
    from ActiveSegmentationLib.loop import evaluate_study, summarise

    with _opened(study, device, progress) as loop:
        clean_up = _clean_up(largest_part, fill_holes)
        _, scores = evaluate_study(loop, metrics=metrics, role=None if role is None else Role(role), clean_up=clean_up)
    return summarise(scores)


def export(
    study: Study | str | Path, out: str | Path, format: str, *, deidentify: str | Path | None = None
) -> list[Path]:
    """Export the annotations to formats of other tools.

    Args:
        study: The study.
        out: Folder of the files.
        format: "nnunet" (a raw data set), "nifti", "nrrd" or "csv".
        deidentify: Name volumes and patients by pseudonyms, number the annotators, leave times out; the file that tells
            whose pseudonyms they are, as for ``create_study``; it must be outside of the export too.

    Returns:
        The files.

    Raises:
        BadInput: If nothing is annotated, the folder holds other files, or the key file cannot be used.

    Example:
        >>> [path.name for path in export("study", "table", "csv")]
        ['annotations.csv']
    """
    from ActiveSegmentationLib.loop import export_study

    opened, key = _study(study), None
    if deidentify is not None:
        require_apart(Path(deidentify), opened.folder, opened.cohort.root, Path(out))
        key = Pseudonyms.from_key(Path(deidentify), opened.cohort.volumes)
    return export_study(opened, Path(out), format, key)


def export_model(
    study: Study | str | Path, out: str | Path, format: str = "monai-bundle", *, progress: Progress | None = None
) -> list[Path]:
    """Export the latest model for use without the study.

    Args:
        study: The study.
        out: Folder of the model.
        format: "monai-bundle" (MONAI segments images with it), "torchscript" (one file for PyTorch), "safetensors" (our
            own files), or "nnunet" (models of nnU-Net).
        progress: Progress reporter. Default: reports nothing.

    Returns:
        The files.

    Raises:
        BadInput: If no model is trained, its learner has no such format, or the folder holds other files.

    Example:
        >>> sorted(path.name for path in export_model("study", "model", "torchscript"))
        ['model.json', 'model.ts']
    """
    from ActiveSegmentationLib.loop import export_model as exported

    with _opened(study, "cpu", progress) as loop:
        return exported(loop, Path(out), format)


def benchmark(
    cohort: Cohort,
    strategies: Sequence[str | Strategy],
    rounds: str,
    out: str | Path,
    *,
    seeds: Sequence[int] = (0,),
    progress: Progress | None = None,
    **options: Any,
) -> Outcome:
    """Compare strategies by simulated annotation of a cohort with reference labels, and write tables and a report.

    Args:
        cohort: The cohort, from ``discover``.
        strategies: The strategies or their names.
        rounds: Cumulative budgets, "2%,3%" or "10,20".
        out: Folder of the results; finished runs in it are not computed again.
        seeds: Seeds of the runs.
        progress: Progress reporter. Default: reports nothing.
        options: Other fields of ``BenchmarkOptions``, such as ``settings``, ``workers`` and ``device``.

    Raises:
        BadInput: If the cohort or an option cannot be used.

    Example:
        >>> from ActiveSegmentationLib.loop import LoopSettings
        >>> quick = LoopSettings.from_json({"stack": {"size": [32, 32]}, "training": {"steps": 5}})
        >>> cohort = discover("phantom")
        >>> outcome = benchmark(cohort, ["random", "strided"], "2,4", "results", settings=quick, device="cpu")
        >>> outcome.report.name
        'report.html'
    """
    from ActiveSegmentationLib.experiment import BenchmarkOptions, check_request, run_benchmark

    design = {"strategies": tuple(map(str, strategies)), "rounds": rounds, "seeds": tuple(seeds), **options}
    asked = BenchmarkOptions(cohort=cohort, name=cohort.root.name, out=Path(out), **design)
    check_request(asked.strategies, asked.initial, asked.metrics, asked.rounds)
    return run_benchmark(asked, progress)


def _clean_up(largest_part: bool, fill_holes: str) -> CleanUp:
    from ActiveSegmentationLib.segmentation import CleanUp

    return CleanUp.from_json({"largest": largest_part, "holes": fill_holes})


def _study(study: Study | str | Path) -> Study:
    return study if isinstance(study, Study) else Study.open(Path(study))


@contextlib.contextmanager
def _opened(study: Study | str | Path, device: str, progress: Progress | None) -> Iterator[StudyLoop]:
    from ActiveSegmentationLib.loop import StudyLoop

    opened = _study(study)
    with opened.lock():
        yield StudyLoop(opened, device=device, progress=or_silent(progress))
