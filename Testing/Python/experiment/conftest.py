"""Comparisons that take a second: three patients of a phantom, a network of a few steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_progress import RecordedProgress

from ActiveSegmentationLib.cohort import Role, StackSettings, discover, with_roles
from ActiveSegmentationLib.experiment import BenchmarkOptions
from ActiveSegmentationLib.loop import LoopSettings


@pytest.fixture
def listener() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def make_options(tmp_path, phantom_cohort) -> Callable[..., BenchmarkOptions]:
    """make_options(unlabelled=(), **options): tests on the last patient, of whose masks some are removed."""

    def make(unlabelled: tuple[int, ...] = (), **options) -> BenchmarkOptions:
        root: Path = tmp_path / "cohort"
        if not root.exists():
            shutil.copytree(phantom_cohort, root)
        masks = sorted(root.glob("patient004/*_gt.nii.gz"))
        for number in unlabelled:
            masks[number].unlink()
        settings = LoopSettings(stack=StackSettings(spacing=4.5, size=(32, 32)))
        training = replace(settings.training, steps=2, batch_size=2, features=(8, 8, 8, 8, 8))
        defaults = {
            "cohort": with_roles(discover(root), {Role.TEST: ("patient004",)}),
            "name": "phantom",
            "strategies": ("random",),
            "rounds": "2,4",
            "seeds": (0,),
            "out": tmp_path / "out",
            "metrics": ("dice",),
            "settings": replace(settings, training=training),
            "device": "cpu",
        }
        return BenchmarkOptions(**(defaults | options))

    return make
