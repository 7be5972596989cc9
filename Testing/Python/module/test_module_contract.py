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
@pytest.mark.parametrize("window", [False, True], ids=["without window", "with window"])
@pytest.mark.skipif(not SLICER, reason="SLICER_EXECUTABLE is not set; it names a Slicer to run the same checks in")
def test_in_slicer(window):
    if window and sys.platform == "linux" and not os.environ.get("DISPLAY"):
        pytest.skip("DISPLAY is not set; Slicer's window needs a screen (xvfb-run gives one)")
    script = Path(contract.__file__)
    options = ["--testing", "--no-splash", *([] if window else ["--no-main-window"])]
    command = [SLICER, *options, "--additional-module-paths", str(MODULE.parent), "--python-script", str(script)]
    platform = {} if window else {"QT_QPA_PLATFORM": "offscreen"}
    kept = {name: value for name, value in os.environ.items() if name not in ("QT_QPA_PLATFORM", "PYTHONPATH")}
    environment = {**kept, **platform}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500, env=environment)
    sys.stdout.write(done.stdout[-5000:] + done.stderr[-5000:])
    assert done.returncode == 0
    assert done.stdout.count("passed: ") == len(contract.CHECKS) + len(contract.WINDOW_CHECKS) * window
