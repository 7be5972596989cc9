"""Small cohorts without images and studies on them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, Geometry, SliceId, Source, Volume
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation, Study

NAMES = {5: "left ventricle", 85: "myocardium", 200: "right ventricle"}


@pytest.fixture(scope="module", autouse=True)
def quick_disk():
    """No flush to the disk: it takes most of the time of a commit, and no test simulates a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def make_cohort(tmp_path_factory) -> Callable[..., Cohort]:
    """make_cohort(volumes=2, size=(6, 5, 4), axis=2, **geometry) in a new folder, with empty files for images."""

    def make(volumes: int = 2, size=(6, 5, 4), axis: int = 2, root: Path | None = None, **geometry) -> Cohort:
        root = root or tmp_path_factory.mktemp("cohort")
        grid = Geometry(size, **{"spacing": (1.5, 1.25, 8.0), **geometry})
        found = []
        for number in range(volumes):
            name = f"v{number:03d}"
            (root / f"{name}.nii.gz").touch()
            source = Source("file", (f"{name}.nii.gz",))
            found.append(Volume(name, f"p{number // 2:03d}", (source,), grid, axis))
        return Cohort(root, "folder", tuple(found))

    return make


@pytest.fixture(scope="session")
def make_study(make_cohort, tmp_path_factory) -> Callable[..., Study]:
    """make_study(kind="mask", names=..., **cohort) in a new folder."""

    def make(kind: str = "mask", names: dict[int, str] | None = None, **cohort) -> Study:
        folder = tmp_path_factory.mktemp("parent") / "study"
        labels = LabelSet.from_names(names or NAMES)
        return Study.create(folder, make_cohort(**cohort), labels, AnnotationKind(kind))

    return make


@pytest.fixture(scope="session")
def annotate() -> Callable[..., SliceAnnotation]:
    """annotate(study, index, seed, ...): a random annotation of one slice; later calls are committed later."""
    ticks = itertools.count()

    def make(
        study: Study,
        index: int = 0,
        seed: int = 0,
        *,
        volume: str = "v000",
        kind: str = "mask",
        annotator: str = "Anna",
        round: int | None = 1,
        seconds: float = 2.5,
        open_pixels: bool = False,
    ) -> SliceAnnotation:
        rng = np.random.default_rng(seed)
        values = [0, *study.labels.values, *([255] if open_pixels or kind == "scribble" else [])]
        labels = rng.choice(np.array(values, np.uint8), study.cohort.volume(volume).plane_shape)
        labels.flat[0] = study.labels.values[0]
        if kind == "scribble":
            labels.flat[-1] = 255  # scribbles label some pixels, never all
        tick = next(ticks)
        at = f"2025-03-{1 + tick // 86400 % 28:02d}T{tick // 3600 % 24:02d}:{tick // 60 % 60:02d}:{tick % 60:02d}+00:00"
        return SliceAnnotation(
            SliceId(volume, index), labels, AnnotationKind(kind), annotator, round, seconds, at, prelabel=None
        )

    return make
