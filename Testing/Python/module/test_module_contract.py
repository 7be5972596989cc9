"""The contract of ``contract.py``: in the test host always, in a real Slicer where SLICER_EXECUTABLE names one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import contract
from .module_helpers import MODULE

SLICER = os.environ.get("SLICER_EXECUTABLE")


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_in_host(module, tmp_path, check):
    check(module.loaded.python, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not SLICER, reason="SLICER_EXECUTABLE is not set; it names a Slicer to run the same checks in")
def test_in_slicer():
    script = Path(contract.__file__)
    paths = ["--additional-module-paths", str(MODULE.parent)]
    command = [SLICER, "--testing", "--no-splash", "--no-main-window", *paths, "--python-script", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    sys.stdout.write(done.stdout[-5000:] + done.stderr[-5000:])
    assert done.returncode == 0
    assert done.stdout.count("passed: ") == len(contract.CHECKS)
