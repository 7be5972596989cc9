"""Commands of the loop: new, suggest, annotate, train, predict, evaluate."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import click

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli import settings_options
from ActiveSegmentationLib.cli.command import Options, command, option, say, tell, usage_error
from ActiveSegmentationLib.cli.next_steps import after_suggest, after_train, command_line
from ActiveSegmentationLib.cli.status_text import scores_text
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.text import counted

if TYPE_CHECKING:
    from ActiveSegmentationLib.cohort import Cohort
    from ActiveSegmentationLib.common.progress import TqdmProgress
    from ActiveSegmentationLib.loop import LoopSettings, StudyLoop
    from ActiveSegmentationLib.study import Study


def _complete_strategy(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from ActiveSegmentationLib.acquisition import strategy_names

    return [name for name in strategy_names() if name.startswith(incomplete)]


def _roles() -> Iterable[str]:
    from ActiveSegmentationLib.cohort import Role

    return Role


@contextlib.contextmanager
def opened(options: Options) -> Iterator[StudyLoop]:
    """The study, locked against other processes, with progress on stderr."""
    from ActiveSegmentationLib.loop import StudyLoop
    from ActiveSegmentationLib.study import Study

    study = Study.open(options.study)
    with study.lock(), contextlib.closing(shared.progress_of(options)) as progress:
        loop = StudyLoop(study, device=getattr(options, "device", "cpu"), progress=progress)
        try:
            yield loop
        finally:
            warn_of_damage(study, loop.reported)


def warn_of_damage(study: Study, reported: Collection[str] = ()) -> None:
    """Name the files that were left out on standard error, except those that were named before."""
    for problem in map(str, study.damaged()):
        if problem not in reported:
            tell("Warning", f"Left out: {problem}", "yellow")


@command("new")
@shared.study
@shared.cohort_path
@shared.label_names
@shared.annotation_kind(required=True)
@shared.cohort_reading
@settings_options.settings
@option(
    "--seed",
    type=shared.NATURAL,
    default=0,
    metavar="K",
    help="seed of all training (learned metrics, autoencoders, models); suggest has its own seed",
)
@option(
    "--pseudonymise",
    "key",
    type=shared.PATH,
    metavar="KEY.json",
    help="give patients and volumes pseudonyms; the key file holds the real names, keep it apart",
)
def new(options: Options) -> str:
    """Create a study of a cohort."""
    from ActiveSegmentationLib.cohort import AnnotationKind, pseudonymised
    from ActiveSegmentationLib.loop import require_validation
    from ActiveSegmentationLib.study import Study, label_set_for

    settings = settings_options.settings_of(options, seed=options.seed)
    with contextlib.closing(shared.progress_of(options)) as progress:
        cohort = shared.read_cohort(options, options.cohort, progress)
        labels = label_set_for(cohort, options.labels, progress)
        settings = _with_fitting_learner(options, settings, cohort, progress)
    require_validation(settings.training, cohort)
    if options.key is not None:
        cohort = pseudonymised(cohort, options.key, options.study)
    Study.create(options.study, cohort, labels, AnnotationKind(options.annotation), settings=settings.to_json())
    slices = sum(volume.slice_count for volume in cohort.volumes)
    if options.json:
        named = {str(label.value): label.name for label in labels.labels}
        answer = {"study": str(options.study), "volumes": len(cohort.volumes), "slices": slices, "labels": named}
        shared.print_json(answer)
        return ""
    names = ", ".join(f"{label.value} {label.name}" for label in labels.labels)
    say(f"{options.study}: {counted(len(cohort.volumes), 'volume')}, {counted(slices, 'slice')}, labels {names}.")
    return command_line("suggest", options.study, "--count", "10")


def _with_fitting_learner(
    options: Options, settings: LoopSettings, cohort: Cohort, progress: TqdmProgress
) -> LoopSettings:
    """The settings with the learner that fits the cohort, where none is chosen."""
    from ActiveSegmentationLib.cohort import AnnotationKind
    from ActiveSegmentationLib.study import usual_learner

    if options.training is not None or options.learner is not None or options.learner_option:
        return settings
    options.learner = usual_learner(cohort, AnnotationKind(options.annotation), settings.stack)
    if options.learner == settings.training.learner:
        return settings
    progress.message(
        f"Models are trained by '{options.learner}', which fits scribbles and large slices; --learner chooses."
    )
    return settings_options.settings_of(options, seed=options.seed)


@command("suggest")
@shared.study
@option("--count", type=shared.POSITIVE, required=True, metavar="N", help="slices, or volumes with --unit volume")
@option(
    "--strategy",
    default=DEFAULT_STRATEGY,
    metavar="S",
    shell_complete=_complete_strategy,
    help="strategy; the command strategies lists them",
)
@option("--seed", type=shared.NATURAL, default=0, metavar="K", help="seed of random draws")
@shared.unit
@shared.limits
@shared.device
def suggest(options: Options) -> str:
    """Choose the slices to annotate next."""
    with opened(options) as loop:
        answer = loop.suggest(
            options.count,
            options.strategy,
            seed=options.seed,
            constraints=shared.constraints_of(options),
            unit=options.unit,
        )
    if options.json:
        shared.print_json({key: answer.to_json()[key] for key in ("round", "strategy", "requests")})
        return ""
    say(f"Round {answer.round}, {answer.strategy}: {counted(len(answer.requests), 'slice')} (counted from 1)")
    for number, request in enumerate(answer.requests, start=1):
        say(f"{number:3}. {request.slice.volume}, slice {request.slice.index + 1}: {request.reason}")
    return after_suggest(options.study)


@command("annotate")
@shared.study
@option("--from", "source", type=shared.PATH, metavar="FOLDER", help="label maps named by volume")
@option("--oracle", is_flag=True, help="annotate the open requests with the cohort's reference labels")
@option("--annotator", default="annotator", metavar="NAME", help="who drew them")
@option("--ignore-value", "ignore_label", type=shared.NATURAL, metavar="V", help="stored value of unlabelled pixels")
@option("--all-slices", is_flag=True, help="commit empty slices of the maps as background")
def annotate(options: Options) -> str:
    """Import annotations from label maps or from reference labels."""
    from ActiveSegmentationLib.api import annotate as commit
    from ActiveSegmentationLib.study import Study

    if (options.source is None) != options.oracle:
        usage_error("Give either --from FOLDER or --oracle.")
    reading = {"ignore_label": options.ignore_label, "slices": "all" if options.all_slices else "non-empty"}
    study = Study.open(options.study)
    with contextlib.closing(shared.progress_of(options)) as progress:
        counts = commit(
            study,
            options.source,
            oracle=options.oracle,
            annotator=options.annotator,
            progress=progress,
            **({} if options.oracle else reading),
        )
    total = len(study.annotations())
    new, unchanged = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    volumes = sum(count.new > 0 for count in counts.values())
    if options.json:
        shared.print_json({"committed": new, "unchanged": unchanged, "volumes": volumes, "annotated": total})
        return ""
    before = f", {unchanged} unchanged since they were committed" if unchanged else ""
    say(f"Committed {counted(new, 'new slice')} of {counted(volumes, 'volume')}{before}; annotated slices: {total}.")
    return command_line("train", options.study)


@command("train")
@shared.study
@option(
    "--models",
    type=shared.POSITIVE,
    metavar="N",
    show_default="as the study says",
    help="ensemble members; predictions are their mean",
)
@option(
    "--steps", type=shared.POSITIVE, metavar="N", show_default="as the study says", help="training steps of each model"
)
@option("--seed", type=shared.NATURAL, metavar="K", show_default="as the study says", help="seed of the trained models")
@shared.device
def train(options: Options) -> str:
    """Train on everything annotated so far."""
    with opened(options) as loop:
        number, model = loop.train(ensemble_members=options.models, steps=options.steps, seed=options.seed)
        models, annotated = len(model.members), len(loop.study.annotations())
    if options.json:
        shared.print_json({"round": number, "models": models, "annotated": annotated, "key": model.key})
    else:
        say(f"Round {number}: trained {counted(models, 'model')} on {counted(annotated, 'slice')}.")
    return after_train(options.study)


@command("predict")
@shared.study
@option("--out", type=shared.PATH, required=True, metavar="DIR", help="folder of the label maps")
@option("--volume", multiple=True, metavar="ID", help="only this volume (repeatable)")
@option("--probabilities", is_flag=True, help="also write class probabilities")
@option("--uncertainty", is_flag=True, help="also write the entropy of the probabilities")
@option("--format", type=click.Choice(("nii.gz", "nrrd", "mha")), default="nii.gz", help="file type")
@shared.clean_up
@shared.device
def predict(options: Options) -> str:
    """Write one label map per volume."""
    from ActiveSegmentationLib.loop import predict_study

    with opened(options) as loop:
        files = predict_study(
            loop,
            options.out,
            volumes=options.volume,
            probabilities=options.probabilities,
            uncertainty=options.uncertainty,
            suffix=f".{options.format}",
            clean_up=shared.clean_up_of(options),
        )
    if options.json:
        shared.print_json({"files": [str(file) for file in files]})
    else:
        say(f"Wrote {counted(len(files), 'file')} to {options.out}.")
    scored = command_line("evaluate", options.study)
    return f"look at them in 3D Slicer; {scored} scores them if there are reference masks."


@command("evaluate")
@shared.study
@option("--metrics", default="dice,dice2d,hd95,msd", metavar="A,B", help="any of dice, dice2d, hd95, msd")
@option(
    "--role",
    type=shared.LateChoice(_roles),
    show_default="test volumes if there are any, otherwise the pool",
    help="volumes to score",
)
@shared.absent
@option(
    "--out",
    type=shared.PATH,
    metavar="TABLE.csv",
    help="also write one row per volume, class and metric to this CSV file",
)
@shared.clean_up
@shared.device
def evaluate(options: Options) -> str:
    """Score the latest model against reference masks."""
    from ActiveSegmentationLib.cohort import Role
    from ActiveSegmentationLib.loop import evaluate_study, summarise, write_scores_csv

    role = None if options.role is None else Role(options.role)
    with opened(options) as loop:
        number, _ = loop.require_model()
        metrics = shared.words_of(options.metrics, "metrics")
        clean_up = shared.clean_up_of(options)
        role, scores = evaluate_study(loop, metrics=metrics, role=role, absent=options.absent, clean_up=clean_up)
        if options.out is not None:
            loop.study.cohort.require_apart(options.out.parent, [options.out])
            write_scores_csv(options.out, scores, loop.cohort, role, number)
    rows = summarise(scores)
    if options.json:
        shared.print_json({"scored on": str(role), "round": number, "scores": [row.to_json() for row in rows]})
    else:
        say(scores_text(number, role, len({score.volume for score in scores}), rows))
    return command_line("suggest", options.study, "--count", "10")


@command("export-model")
@shared.study
@option(
    "--format",
    required=True,
    metavar="FORMAT",
    help="monai-bundle (MONAI segments images with it), torchscript (one file for PyTorch), safetensors (our own "
    "files), or nnunet (models of nnU-Net)",
)
@option("--out", type=shared.PATH, required=True, metavar="DIR", help="folder of the model")
def export_model(options: Options) -> str:
    """Export the latest model for use without the study."""
    from ActiveSegmentationLib.loop import export_model as exported

    with opened(options) as loop:
        files = exported(loop, options.out, options.format)
    if options.json:
        shared.print_json({"files": [str(file) for file in files]})
    else:
        say(f"Wrote {counted(len(files), 'file')} to {options.out}.")
    readme = next((file for file in files if file.name == "README.md"), None)
    return f"{readme} says how to use it." if readme is not None else command_line("status", options.study)
