"""Commands on a study: new, suggest, annotate, skip, mark, train, predict, evaluate, status, exclude, ..."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli.next_steps import after_status, after_suggest, after_train, command
from ActiveSegmentationLib.cli.status_text import bytes_text, scores_text, status_text
from ActiveSegmentationLib.cohort import AnnotationKind, Role, SliceId
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.experiment import OracleAnnotator
from ActiveSegmentationLib.loop import (
    EXPORT_FORMATS,
    METRICS,
    StudyLoop,
    evaluate_study,
    export_study,
    predict_study,
    study_overview,
    summarise,
    write_scores_csv,
)
from ActiveSegmentationLib.study import Imported, Study, import_annotations, label_set_for, relocate

Commands = argparse._SubParsersAction


def add_commands(commands: Commands) -> None:
    """Add the commands of this file to the parser."""
    _add_new(commands)
    _add_suggest(commands)
    _add_annotate(commands)
    _add_train(commands)
    _add_predict(commands)
    for name, run, text in (
        ("evaluate", _evaluate, "score the latest model against the cohort's reference masks"),
        ("status", _status, "show what is annotated, open, skipped and trained"),
        (
            "clear-cache",
            _clear_cache,
            "remove what can be computed again (prepared slices, learned metric) from the disk",
        ),
        ("audit", _audit, "check that the record of all commits is complete and unchanged"),
    ):
        parser = _command(commands, name, run, text)
        shared.add_json(parser)
        if name == "evaluate":
            _add_scores(parser)
            shared.add_device(parser)
    parser = _command(commands, "exclude", _exclude, "leave volumes out of everything, or take them back")
    parser.add_argument("volumes", nargs="+", metavar="VOLUME")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--undo", action="store_true", help="take the volumes back")
    shared.add_json(parser)
    parser = _command(commands, "skip", _skip, "say that a slice cannot be judged; it is not asked for again")
    parser.add_argument("volume", metavar="VOLUME")
    parser.add_argument(
        "slice", type=shared.positive, metavar="SLICE", help="number of the slice, counted from 1 as suggest does"
    )
    parser.add_argument("--reason", required=True, help="why, for the record")
    parser.add_argument("--annotator", default="annotator", metavar="NAME", help="who says so")
    shared.add_json(parser)
    parser = _command(commands, "mark", _mark, "say between which slices of a volume the structures lie")
    parser.add_argument("--volume", required=True, metavar="V", help="id of the volume")
    parser.add_argument("--from", dest="first", type=shared.positive, metavar="A", help="first slice, counted from 1")
    parser.add_argument("--to", dest="last", type=shared.positive, metavar="B", help="last slice, counted from 1")
    parser.add_argument("--clear", action="store_true", help="take back what was marked")
    shared.add_json(parser)
    parser = _command(commands, "relocate", _relocate, "tell a study where its images are now")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="where the cohort's folder is now")
    shared.add_json(parser)
    text = "take images whose content changed as they are now"
    parser.add_argument("--accept-changed", action="store_true", help=text)
    parser = _command(commands, "export", _export, "write the annotations for other tools")
    parser.add_argument("--format", choices=EXPORT_FORMATS, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    shared.add_json(parser)


def _add_scores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metrics", default=",".join(METRICS), metavar="A,B", help="any of dice, dice2d, hd95, msd")
    text = "volumes to score; the test volumes where there are some, otherwise the pool"
    parser.add_argument("--role", choices=[str(role) for role in Role], help=text)
    shared.add_absent(parser)
    text = "also write one row a volume, class and metric to this CSV file"
    parser.add_argument("--out", type=Path, metavar="TABLE.csv", help=text)


def _command(commands: Commands, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("study", type=Path, metavar="STUDY", help="folder of the study")
    parser.set_defaults(run=run)
    return parser


def _add_new(commands: Commands) -> None:
    parser = _command(commands, "new", _new, "make a study of a cohort")
    parser.add_argument("--cohort", type=Path, required=True, metavar="C", help="folder, table or file of the cohort")
    parser.add_argument(
        "--labels", metavar="1=NAME,2=NAME", help="label values and names; default: those of the cohort"
    )
    shared.annotation_kind(parser, required=True)
    shared.add_cohort(parser)
    shared.add_split(parser)
    shared.add_settings(parser)
    text = "seed of learned metrics, autoencoders and trainings; that of the choices is an option of suggest"
    parser.add_argument("--seed", type=shared.natural, default=0, metavar="K", help=text)
    shared.add_json(parser)


def _add_suggest(commands: Commands) -> None:
    parser = _command(commands, "suggest", _suggest, "choose the slices to annotate next")
    parser.add_argument(
        "--count", type=shared.positive, required=True, metavar="N", help="slices, or volumes with --unit volume"
    )
    text = f"one that the command strategies lists; default: {DEFAULT_STRATEGY}"
    parser.add_argument("--strategy", default=DEFAULT_STRATEGY, metavar="S", help=text)
    parser.add_argument("--seed", type=shared.natural, default=0, metavar="K", help="seed of random draws")
    shared.add_unit(parser)
    shared.add_constraints(parser)
    shared.add_device(parser)
    shared.add_json(parser)


def _add_annotate(commands: Commands) -> None:
    parser = _command(commands, "annotate", _annotate, "take annotations from label maps or from reference labels")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="label maps named by volume")
    source.add_argument("--oracle", action="store_true", help="answer the open requests from the cohort's labels")
    parser.add_argument("--annotator", default="annotator", metavar="NAME", help="who drew them")
    parser.add_argument("--ignore-value", type=shared.natural, metavar="V", help="stored value of unlabelled pixels")
    parser.add_argument("--all-slices", action="store_true", help="count empty slices of the maps as background")
    shared.add_json(parser)


def _add_train(commands: Commands) -> None:
    parser = _command(commands, "train", _train, "train on everything annotated so far")
    parser.add_argument("--models", type=shared.positive, metavar="N", help="models; predictions are their mean")
    parser.add_argument("--steps", type=shared.positive, metavar="N", help="training steps of each model")
    shared.add_device(parser)
    shared.add_json(parser)


def _add_predict(commands: Commands) -> None:
    parser = _command(commands, "predict", _predict, "write one label map a volume, in the volume's geometry")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--volume", action="append", default=[], metavar="ID", help="only this volume (repeatable)")
    parser.add_argument("--probabilities", action="store_true", help="also write class probabilities")
    parser.add_argument("--uncertainty", action="store_true", help="also write the entropy of the probabilities")
    parser.add_argument("--format", choices=("nii.gz", "nrrd", "mha"), default="nii.gz", help="file type")
    shared.add_device(parser)
    shared.add_json(parser)


@contextlib.contextmanager
def _opened(options: argparse.Namespace) -> Iterator[StudyLoop]:
    """The study, locked against other processes, with progress on stderr."""
    study = Study.open(options.study)
    with study.lock(), contextlib.closing(shared.progress_of(options)) as progress:
        yield StudyLoop(study, device=getattr(options, "device", "cpu"), progress=progress)


def _new(options: argparse.Namespace) -> str:
    with contextlib.closing(shared.progress_of(options)) as progress:
        cohort = shared.read_cohort(options, options.cohort, progress)
        labels = label_set_for(cohort, options.labels, progress)
    settings = shared.settings_of(options, seed=options.seed)
    Study.create(options.study, cohort, labels, AnnotationKind(options.annotation), settings=settings.to_json())
    slices = sum(volume.slice_count for volume in cohort.volumes)
    if options.json:
        named = {str(label.value): label.name for label in labels.labels}
        answer = {"study": str(options.study), "volumes": len(cohort.volumes), "slices": slices, "labels": named}
        shared.print_json(answer)
        return ""
    names = ", ".join(f"{label.value} {label.name}" for label in labels.labels)
    print(f"{options.study}: {counted(len(cohort.volumes), 'volume')}, {counted(slices, 'slice')}, labels {names}.")
    return command("suggest", options.study, "--count", "10")


def _suggest(options: argparse.Namespace) -> str:
    with _opened(options) as loop:
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
    print(f"Round {answer.round}, {answer.strategy}: {counted(len(answer.requests), 'slice')} (counted from 1)")
    for number, request in enumerate(answer.requests, start=1):
        print(f"{number:3}. {request.slice.volume}, slice {request.slice.index + 1}: {request.reason}")
    return after_suggest(options.study)


def _annotate(options: argparse.Namespace) -> str:
    with _opened(options) as loop:
        if options.oracle:
            counts = _answer_from_oracle(loop)
        else:
            counts = import_annotations(
                loop.study,
                options.source,
                annotator=options.annotator,
                kind=loop.study.annotation,
                ignore_label=options.ignore_value,
                slices="all" if options.all_slices else "non-empty",
                progress=loop.progress,
            )
        total = len(loop.study.annotations())
    new, unchanged = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    volumes = sum(count.new > 0 for count in counts.values())
    if options.json:
        shared.print_json({"committed": new, "unchanged": unchanged, "volumes": volumes, "annotated": total})
        return ""
    before = f", {unchanged} unchanged since they were committed" if unchanged else ""
    print(f"Committed {counted(new, 'new slice')} of {counted(volumes, 'volume')}{before}; annotated slices: {total}.")
    return command("train", options.study)


def _answer_from_oracle(loop: StudyLoop) -> dict[str, Imported]:
    rounds = loop.study.requests.rounds()
    wanted = loop.study.open_requests(max(rounds)) if rounds else []
    if not wanted:
        advice = "Ask for slices with the command suggest first."
        raise BadInput("There is no open request to answer.", where=loop.study.folder, advice=advice)
    oracle = OracleAnnotator(loop.stack, loop.study.annotation, seed=loop.settings.seed)
    slices = [request.slice for request in wanted]
    loop.study.commit(oracle.annotate(slices, max(rounds)))
    return {volume: Imported(n, 0) for volume, n in Counter(slice_id.volume for slice_id in slices).items()}


def _train(options: argparse.Namespace) -> str:
    with _opened(options) as loop:
        number, model = loop.train(ensemble_members=options.models, steps=options.steps)
        models, annotated = len(model.members), len(loop.study.annotations())
    if options.json:
        shared.print_json({"round": number, "models": models, "annotated": annotated, "key": model.key})
    else:
        print(f"Round {number}: trained {counted(models, 'model')} on {counted(annotated, 'slice')}.")
    return after_train(options.study)


def _predict(options: argparse.Namespace) -> str:
    with _opened(options) as loop:
        files = predict_study(
            loop,
            options.out,
            volumes=options.volume,
            probabilities=options.probabilities,
            uncertainty=options.uncertainty,
            suffix=f".{options.format}",
        )
    if options.json:
        shared.print_json({"files": [str(file) for file in files]})
    else:
        print(f"Wrote {counted(len(files), 'file')} to {options.out}.")
    return (
        f"look at them in 3D Slicer; {command('evaluate', options.study)} scores them where there are reference masks."
    )


def _evaluate(options: argparse.Namespace) -> str:
    role = None if options.role is None else Role(options.role)
    with _opened(options) as loop:
        number, _ = loop.require_model()
        metrics = shared.words_of(options.metrics, "metrics")
        role, scores = evaluate_study(loop, metrics=metrics, role=role, absent=options.absent)
        if options.out is not None:
            loop.study.cohort.require_apart(options.out.parent, [options.out])
            write_scores_csv(options.out, scores, loop.cohort, role, number)
    rows = summarise(scores)
    if options.json:
        shared.print_json({"scored on": str(role), "round": number, "scores": [row.to_json() for row in rows]})
    else:
        print(scores_text(number, role, len({score.volume for score in scores}), rows))
    return command("suggest", options.study, "--count", "10")


def _status(options: argparse.Namespace) -> str:
    status = study_overview(Study.open(options.study))
    if options.json:
        shared.print_json(status)
    else:
        print(status_text(str(options.study), status))
    return after_status(options.study, status)


def _clear_cache(options: argparse.Namespace) -> str:
    freed = Study.open(options.study).clear_cache()
    if options.json:
        shared.print_json({"freed bytes": freed})
    else:
        print(f"Freed {freed} bytes ({bytes_text(freed)}); what is needed again is made again.")
    return command("status", options.study)


def _exclude(options: argparse.Namespace) -> str:
    with _opened(options) as loop:
        for volume in options.volumes:
            if options.undo:
                loop.study.include(volume)
            else:
                loop.study.exclude(volume, options.reason)
        excluded = loop.study.excluded()
    if options.json:
        shared.print_json({"excluded": dict(sorted(excluded.items()))})
    else:
        print(f"Excluded volumes: {', '.join(sorted(excluded)) or 'none'}.")
    return command("suggest", options.study, "--count", "10")


def _skip(options: argparse.Namespace) -> str:
    with _opened(options) as loop:
        loop.study.skip(SliceId(options.volume, options.slice - 1), options.annotator, options.reason)
    if options.json:
        about = {"annotator": options.annotator, "reason": options.reason}
        shared.print_json({"skipped": {"volume": options.volume, "slice": options.slice - 1, **about}})
    else:
        print(f"Skipped {options.volume}, slice {options.slice}.")
    return command("suggest", options.study, "--count", "10")


def _mark(options: argparse.Namespace) -> str:
    ends = (options.first, options.last)
    if (ends != (None, None)) if options.clear else (None in ends):
        advice = "Name both --from and --to, or --clear alone."
        raise BadInput("What to mark is not clear.", where="mark", advice=advice)
    with _opened(options) as loop:
        if options.clear:
            loop.study.extents.clear(options.volume)
        else:
            loop.study.extents.mark(options.volume, options.first - 1, options.last - 1)
        extents = loop.study.extents.all()
    if options.json:
        shared.print_json({"extents": {volume: list(both) for volume, both in extents.items()}})
    elif options.clear:
        print(f"Nothing is marked in {options.volume}.")
    else:
        print(f"Marked: the structures in {options.volume} reach from slice {options.first} to {options.last}.")
    return command("suggest", options.study, "--count", "10")


def _relocate(options: argparse.Namespace) -> str:
    study = relocate(options.study, options.cohort)
    changed = []
    if options.accept_changed:
        with _opened(options) as loop:
            changed = loop.accept_changed_images()
    if options.json:
        accepted = {"accepted": changed} if options.accept_changed else {}
        shared.print_json({"study": str(options.study), "cohort": str(study.cohort.root), **accepted})
        return ""
    print(f"{options.study}: the images are read from {study.cohort.root}.")
    if options.accept_changed:
        print(f"Accepted the changed images of: {', '.join(changed) or 'no volume'}.")
    return command("status", options.study)


def _export(options: argparse.Namespace) -> str:
    files = export_study(Study.open(options.study), options.out, options.format)
    if options.json:
        shared.print_json({"files": [str(file) for file in files]})
    else:
        print(f"Wrote {counted(len(files), 'file')} to {options.out}.")
    return command("status", options.study)


def _audit(options: argparse.Namespace) -> str:
    problems = Study.open(options.study).audit.verify()
    if options.json:
        shared.print_json({"intact": not problems, "problems": problems})
    else:
        print("\n".join(problems) if problems else "The record is complete and unchanged.")
    if problems:
        raise JobFailed(f"{len(problems)} problem(s) in the record.", where=options.study, advice="See the list above.")
    return command("status", options.study)
