"""Fixtures for all tests: the real cohorts, and a small generated one."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # for pytest started elsewhere than in the repository, where nothing is installed
    sys.path.insert(0, str(ROOT))

REAL_DATA = "ACTIVESEGMENTATION_TEST_DATA"


def pytest_configure(config: pytest.Config) -> None:
    """One thread a process where tests run in several, torch's own included; read by torch when it is imported."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("MKL_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that asks for the real cohorts bears the marker, so that ``-m "not real_data"`` leaves them out."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need a CUDA GPU are skipped where PyTorch has none."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("PyTorch has no CUDA GPU here")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real cohorts (``hippocampus``, ``acdc``); the test is skipped where there is none."""
    name = os.environ.get(REAL_DATA)
    if not name:
        pytest.skip(f"{REAL_DATA} is not set; it names the folder of the real cohorts")
    folder = (ROOT / name).resolve()
    if not folder.is_dir():
        pytest.skip(f"{REAL_DATA} names {folder}, which is not a folder")
    return folder


@pytest.fixture(scope="session")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated cohort in the ACDC layout with masks and scribbles: 4 patients, ED and ES, 5 slices of 48 x 48.

    Shared by all tests of a process: read it, do not change it.
    """
    from ActiveSegmentationLib.cohort.phantom import write_phantom

    return write_phantom(tmp_path_factory.mktemp("phantom") / "acdc", patients=4, slices=5, size=(48, 48))


@pytest.fixture(scope="module", autouse=True)
def _qt_objects_are_deleted_here():
    """Delete left Qt objects in the thread that made them; a collection of garbage in another thread aborts Qt."""
    yield
    if "PySide6" in sys.modules:
        gc.collect()
