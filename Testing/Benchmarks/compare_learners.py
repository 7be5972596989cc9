"""Compare learners at the same annotated slices: 3D Dice, HD95, seconds and memory of each training.

The slices are chosen once by the strategy "recommended" with short trainings of the default learner, round by round,
and kept in ``slices.json``; every learner trains on the same ones. Each run is a process of its own, so that its memory
can be measured, and its row is added to ``runs.csv`` when it ends. Runs that have a row are not repeated.

A learner is a preset or a learner by name, with settings after it: ``default/steps=400/features=[8,16,32]`` or
``auto/options.minutes=2``. The folder must be the same for runs that share slices.

``--spacing`` prepares slices with larger pixels for shorter trainings; volumes are scored at their own. ``--slices-of``
takes the slices that were chosen for the other kind of annotation, so that masks and scribbles can be compared.

With ``--part development``, every fourth patient of the pool is taken out of it and scored, and the test part is never
read; so settings are chosen. With ``--part test``, the whole pool is used and the test part is scored.

Example:
    python Testing/Benchmarks/compare_learners.py --cohort DATA/acdc --annotation scribble --learners default,auto \\
        --part test --out acdc-scribbles
    python Testing/Benchmarks/compare_learners.py --table acdc-scribbles/runs.csv
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from learner_rows import IDENTITY, add_row, read_rows, table

from ActiveSegmentationLib.cohort import (
    AnnotationKind,
    Cohort,
    Role,
    SliceId,
    SliceStack,
    build_stack,
    discover,
    read_split,
    with_roles,
)
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.files import remove_tree, write_json
from ActiveSegmentationLib.common.progress import TqdmProgress
from ActiveSegmentationLib.experiment import OracleAnnotator
from ActiveSegmentationLib.loop import (
    LoopSettings,
    SelectionRequest,
    SelectionState,
    TrainingData,
    describe_device,
    evaluate_volumes,
    pool_statistics,
    resolve_device,
    suggest,
    summarise,
    train,
)
from ActiveSegmentationLib.loop.scores import ALL_CLASSES
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS, TrainingSettings
from ActiveSegmentationLib.segmentation.learners import learner_names
from ActiveSegmentationLib.study import LabelSet, label_set_for

STRATEGY = "recommended"
HELD_OUT = 4
"""One patient of this many is scored instead of annotated in the development part."""


@dataclass(frozen=True)
class World:
    """A cohort that is ready for runs.

    Attributes:
        name: Name of the cohort.
        part: "development" or "test", what is scored.
        stack: The cohort's slices.
        labels: The label set.
        rows: Rows of the pool, of the validation volumes and of the scored volumes ("test").
        kind: Masks or scribbles.
    """

    name: str
    part: str
    stack: SliceStack
    labels: LabelSet
    rows: dict[Role, np.ndarray]
    kind: AnnotationKind

    def annotations(self, slices: Sequence[SliceId]) -> dict:
        """Reference annotations of slices."""
        return {answer.slice: answer for answer in OracleAnnotator(self.stack, self.kind).annotate(slices, 1)}

    def data(self, slices: Sequence[SliceId]) -> TrainingData:
        """What a model learns from."""
        answers = self.annotations(slices)
        return TrainingData(self.stack, answers, self.labels, self.rows[Role.VALIDATION], self.rows[Role.POOL])


def open_world(options: argparse.Namespace) -> World:
    """Read the cohort, give its patients their parts, and prepare its slices."""
    split = options.split or options.cohort / "split.json"
    cohort = with_roles(discover(options.cohort), read_split(split))
    if options.part == "development":
        cohort = development(cohort)
    with closing(TqdmProgress()) as progress:
        stack = build_stack(cohort, loop_settings(options).stack, options.out / "cache", progress=progress)
    rows = {role: stack.rows_of([v.id for v in cohort.volumes if v.role == role]) for role in Role}
    kind = AnnotationKind(options.annotation)
    return World(options.cohort.name, options.part, stack, label_set_for(cohort), rows, kind)


def loop_settings(options: argparse.Namespace, **changes: Any) -> LoopSettings:
    """Settings of the loop with the pixel size that was asked for, if any."""
    settings = LoopSettings(**changes)
    return replace(settings, stack=replace(settings.stack, spacing=options.spacing)) if options.spacing else settings


def development(cohort: Cohort) -> Cohort:
    """The cohort without its test part, in which every fourth patient of the pool is tested."""
    volumes = [volume for volume in cohort.volumes if volume.role != Role.TEST]
    patients = sorted({volume.patient for volume in volumes if volume.role == Role.POOL})
    held = set(patients[::HELD_OUT])
    moved = [replace(volume, role=Role.TEST) if volume.patient in held else volume for volume in volumes]
    return cohort.with_volumes(tuple(moved))


def training_settings(name: str) -> TrainingSettings:
    """Settings of a preset or learner by name, with values after slashes."""
    base, *changes = name.split("/")
    if base in TRAINING_PRESETS:
        settings = TRAINING_PRESETS[base]
    elif base in learner_names():
        settings = TrainingSettings(learner=base)
    else:
        known = ", ".join(dict.fromkeys([*TRAINING_PRESETS, *learner_names()]))
        raise SystemExit(f"There is no preset or learner '{base}'. Choose one of: {known}.")
    value = settings.to_json()
    for change in changes:
        path, _, text = change.partition("=")
        *sections, field = path.split(".")
        place = value
        for section in sections:
            place = place.setdefault(section, {})
        place[field] = _value(text)
    return TrainingSettings.from_json(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def chosen_slices(world: World, options: argparse.Namespace) -> dict[tuple[float, int], list[SliceId]]:
    """Annotated slices by share (percent) and seed: those of the file, and newly chosen ones where it has none."""
    path = options.slices or options.out / "slices.json"
    with FileLock(f"{path}.lock"):
        known = json.loads(path.read_text()) if path.is_file() else {}
        name = f"{world.name} {options.slices_of} {world.part}"
        for seed in options.seeds:
            own = known.setdefault(name, {}).setdefault(str(seed), {})
            if not all(f"{share:g}" in own for share in options.shares):
                own |= choose(world, options, seed)
                write_json(path, known)
    return {
        (share, seed): [SliceId(*pair) for pair in known[name][str(seed)][f"{share:g}"]]
        for share in options.shares
        for seed in options.seeds
    }


def choose(world: World, options: argparse.Namespace, seed: int) -> dict[str, list[list]]:
    """Choose slices round by round, each round trained on those before; volume and index by share."""
    settings = loop_settings(options, training=TrainingSettings(steps=options.selection_steps), seed=seed)
    pool, folder = world.rows[Role.POOL], options.out / f"selection-{world.kind}-{world.part}-{seed}"
    slices: list[SliceId] = []
    found: dict[str, list[list]] = {}
    model = None
    with closing(TqdmProgress()) as progress:
        compute = Compute(resolve_device(options.device), progress=progress)
        for number, share in enumerate(sorted(options.shares), start=1):
            if slices:
                model = train(world.data(slices), settings, folder=folder, compute=compute)
            annotations = world.annotations(slices)
            statistics = pool_statistics(annotations, world.labels)
            state = SelectionState(world.stack, pool, annotated=annotations, model=model, statistics=statistics)
            budget = max(1, round(share * len(pool) / 100)) - len(slices)
            request = SelectionRequest(STRATEGY, budget, seed=seed, round=number, rounds=len(options.shares))
            result = suggest(request, state, settings, cache=options.out / "cache", compute=compute)
            slices = slices + [choice.slice for choice in result.choices]
            found[f"{share:g}"] = [[s.volume, s.index] for s in slices]
    if folder.is_dir():
        remove_tree(folder)
    return found


def run(options: argparse.Namespace, learner: str, share: float, seed: int, slices: list[SliceId]) -> None:
    """One training in this process: add its row to the table."""
    world, settings = open_world(options), training_settings(learner)
    about = {
        "cohort": world.name,
        "annotation": str(world.kind),
        "part": world.part,
        "share": f"{share:g}",
        "slices": len(slices),
        "learner": learner,
        "seed": seed,
        **identity_of(options),
    }
    device = resolve_device(options.device)
    folder = options.out / "models" / re.sub(r"[^A-Za-z0-9._=,-]", "+", "-".join(str(about[key]) for key in IDENTITY))
    with closing(TqdmProgress()) as progress:
        compute = Compute(device, progress=progress)
        begun, cpu = time.perf_counter(), cpu_seconds()
        model = train(
            world.data(slices), loop_settings(options, training=settings, seed=seed), folder=folder, compute=compute
        )
        trained, cpu = time.perf_counter(), cpu_seconds() - cpu
        about |= {"peak_mb": peak_mb(), "gpu_mb": gpu_mb(device)}
        scores = evaluate_volumes(
            model, world.stack, world.rows[Role.TEST], world.labels, metrics=("dice", "hd95"), compute=compute
        )
    predicted = time.perf_counter()
    for metric in ("dice", "hd95"):
        means = {s.class_name: s.mean for s in summarise(scores) if s.metric == metric}
        about[metric] = f"{means.pop(ALL_CLASSES, np.mean(list(means.values()))):.4f}"
        about[f"{metric}_classes"] = "; ".join(f"{name}={mean:.4f}" for name, mean in means.items())
    member = model.members[0]
    about |= {
        "seconds": f"{trained - begun:.1f}",
        "cpu_seconds": f"{cpu:.1f}",
        "predict_seconds": f"{predicted - trained:.1f}",
        "steps": member.record.get("steps", member.settings.steps),
        "device": describe_device(device),
        "commit": commit(),
    }
    add_row(options.out / "runs.csv", about)
    remove_tree(folder)


def identity_of(options: argparse.Namespace) -> dict[str, str]:
    """What a row says of slices and pixel size; empty where they are the usual ones."""
    other = options.slices_of if options.slices_of != options.annotation else ""
    return {"slices_of": other, "spacing": f"{options.spacing:g}" if options.spacing else ""}


def cpu_seconds() -> float:
    """CPU seconds of this process and of the ones it started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mb() -> int:
    """Largest memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def gpu_mb(device: str) -> int | str:
    """Largest memory of this process on the GPU so far, in MB; "" on a CPU."""
    if not device.startswith("cuda"):
        return ""
    import torch

    return round(torch.cuda.max_memory_allocated(device) / 2**20)


def commit() -> str:
    """The commit of this program, with a plus sign if files were changed since."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", nargs="+", type=Path, metavar="FILE", help="print the Markdown table of runs.csv")
    parser.add_argument("--cohort", type=Path, metavar="DIR", help="cohort with reference labels")
    parser.add_argument("--split", type=Path, metavar="FILE", help="split; default: split.json of the cohort")
    parser.add_argument("--annotation", choices=("mask", "scribble"), default="mask")
    parser.add_argument("--part", choices=("development", "test"), default="development", help="what is scored")
    parser.add_argument("--learners", type=_words, default=["default"], metavar="A,B", help="presets or learners")
    parser.add_argument("--shares", type=_numbers, default=[1.0, 2.0, 5.0], metavar="A,B", help="percent of the pool")
    parser.add_argument("--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--slices", type=Path, metavar="FILE", help="chosen slices; default: slices.json in --out")
    parser.add_argument("--slices-of", choices=("mask", "scribble"), help="annotation the slices are chosen for")
    parser.add_argument("--spacing", type=float, metavar="MM", help="pixel size of slices; default: the cohort's")
    parser.add_argument("--selection-steps", type=int, default=200, metavar="N", help="steps of trainings that choose")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results")
    options = parser.parse_args(words)
    if not options.table and (options.cohort is None or options.out is None):
        parser.error("--cohort and --out are needed")
    options.slices_of = options.slices_of or options.annotation
    return options


def _words(text: str) -> list[str]:
    """Names at commas that are not within brackets."""
    return re.split(r",(?![^\[]*\])", text)


def _numbers(text: str) -> list[float]:
    return sorted(float(word) for word in text.split(","))


def main() -> None:
    """Do the runs that have no row yet, or print the table."""
    options = parse()
    if options.table:
        print(table(options.table))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for learner in options.learners:
        training_settings(learner)  # a mistake shows before the first run
    world = open_world(options)
    slices = chosen_slices(world, options)
    context = multiprocessing.get_context("spawn")
    for share in options.shares:
        for seed in options.seeds:
            for learner in options.learners:
                about = (world.name, str(world.kind), world.part, f"{share:g}", learner, str(seed))
                about += tuple(identity_of(options).values())
                if about in {tuple(row[name] for name in IDENTITY) for row in read_rows(options.out / "runs.csv")}:
                    continue
                process = context.Process(target=run, args=(options, learner, share, seed, slices[share, seed]))
                process.start()
                process.join()
                if process.exitcode:
                    print(f"{' '.join(about)} failed, see above.", file=sys.stderr)


if __name__ == "__main__":
    main()
