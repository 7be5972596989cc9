"""Shared setup of the reproductions: a cohort, some annotated slices and the model trained on them."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.acquisition import Pool, PoolStatistics, create_strategy
from ActiveSegmentationLib.cohort import (
    IGNORE_LABEL,
    AnnotationKind,
    Role,
    SliceId,
    SliceStack,
    build_stack,
    discover,
    read_split,
    with_roles,
)
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.progress import TqdmProgress
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.experiment import OracleAnnotator
from ActiveSegmentationLib.loop import LoopSettings, TrainingData, resolve_device, train
from ActiveSegmentationLib.segmentation import Ensemble, examples_from_annotations
from ActiveSegmentationLib.study import LabelSet, label_set_for


@dataclass(frozen=True)
class FirstRound:
    """A pool after its first round.

    Attributes:
        stack: The cohort's slices.
        rows: (n,) rows of the pool.
        labels: The label set.
        annotated: The slices of the first round.
        statistics: Their pixels of each class.
        model: The model trained on them.
        compute: Device.
    """

    stack: SliceStack
    rows: np.ndarray
    labels: LabelSet
    annotated: tuple[SliceId, ...]
    statistics: PoolStatistics
    model: Ensemble
    compute: Compute

    def truth(self, rows: np.ndarray) -> np.ndarray:
        """Reference classes of rows on the stack's grid, 255 outside of the image: (n, H, W) uint8."""
        return reference(self.stack, self.stack.slice_ids(np.sort(rows)), self.labels)[np.argsort(np.argsort(rows))]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``prepare``."""
    parser.add_argument("--cohort", type=Path, required=True, metavar="DIR", help="cohort with reference labels")
    parser.add_argument("--split", type=Path, required=True, metavar="FILE", help="split; its pool is used")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--volumes", type=int, default=0, metavar="N", help="volumes of the pool to use, 0 for all")
    parser.add_argument("--annotated", type=int, default=100, metavar="N", help="slices of the first round")
    parser.add_argument("--steps", type=int, default=800, metavar="N", help="training steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")


def prepare(options: argparse.Namespace, keep: str = "") -> FirstRound:
    """Build the stack, annotate balanced random slices by the oracle and train one model.

    Args:
        options: Parsed options of ``add_options``.
        keep: A volume that must be among those used; "" for none.
    """
    settings = LoopSettings()
    settings = replace(settings, training=replace(settings.training, steps=options.steps), seed=options.seed)
    device = resolve_device(options.device)
    with closing(TqdmProgress()) as progress:
        cohort = with_roles(discover(options.cohort), read_split(options.split))
        pool = [volume for volume in cohort.volumes if volume.role == Role.POOL]
        if options.volumes:
            order = generator(options.seed, "volumes").permutation(len(pool))
            pool = sorted((pool[n] for n in order), key=lambda volume: volume.id != keep)[: options.volumes]
        cohort = replace(cohort, volumes=tuple(sorted(pool, key=lambda volume: volume.id)))
        labels = label_set_for(cohort)
        stack = build_stack(cohort, settings.stack, options.out / "cache", progress=progress)
        rows = stack.rows_of([volume.id for volume in cohort.volumes])
        rng = generator(options.seed, "first round")
        first = create_strategy("balanced-random").select(Pool(stack, rows), options.annotated, rng)
        annotations = {a.slice: a for a in OracleAnnotator(stack, AnnotationKind.MASK).annotate(_ids(first), 1)}
        folder = options.out / f"model-{options.volumes}-{options.annotated}-{options.steps}-{options.seed}"
        data = TrainingData(stack, annotations, labels, rows[:0], rows)
        model = train(data, settings, folder=folder, compute=Compute(device, progress=progress))
    masks = reference(stack, _ids(first), labels)
    ordered = stack.slice_ids(np.sort([stack.row(slice_id) for slice_id in _ids(first)]))
    pixels = {
        slice_id: np.bincount(mask[mask != IGNORE_LABEL], minlength=labels.classes)
        for slice_id, mask in zip(ordered, masks, strict=True)
    }
    return FirstRound(stack, rows, labels, tuple(ordered), PoolStatistics(class_pixels=pixels), model, Compute(device))


def reference(stack: SliceStack, slices: list[SliceId], labels: LabelSet) -> np.ndarray:
    """Reference classes (n, H, W) uint8 of slices on the stack's grid, ordered by row."""
    answers = OracleAnnotator(stack, AnnotationKind.MASK).annotate(slices, 1)
    return examples_from_annotations(stack, {answer.slice: answer for answer in answers}, labels).labels


def _ids(choices: list) -> list[SliceId]:
    return [choice.slice for choice in choices]
