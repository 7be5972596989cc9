"""Packages import their modules lazily: every name exists, nothing hides it, and an unknown name is an error."""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ActiveSegmentationLib

ROOT = Path(__file__).parents[3]
PACKAGES = [
    name
    for name in (f"ActiveSegmentationLib.{room.name}" for room in pkgutil.iter_modules(ActiveSegmentationLib.__path__))
    if "lazy_names(__name__)" in Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
]


def test_the_rooms_of_the_loop_are_lazy():
    assert {f"ActiveSegmentationLib.{room}" for room in ("cohort", "study", "segmentation", "loop")} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_found_in_its_module(package):
    module = importlib.import_module(package)
    assert module.__all__
    assert set(module.__all__) == set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_hides_a_name(package):
    module = importlib.import_module(package)
    assert not set(module.__all__) & {found.name for found in pkgutil.iter_modules(module.__path__)}


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_error(package):
    with pytest.raises(ImportError, match="nonsense"):
        exec(f"from {package} import nonsense")
    assert not hasattr(importlib.import_module(package), "nonsense")


def test_a_name_costs_its_own_module_only():
    code = "import sys; from ActiveSegmentationLib.segmentation import TRAINING_PRESETS as presets\n"
    code += "assert presets and not {'torch', 'ActiveSegmentationLib.segmentation.network'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
