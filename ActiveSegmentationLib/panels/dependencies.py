"""Python packages that Slicer does not ship: installed when first needed, after the user agrees."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ActiveSegmentationLib.common.errors import BadInput, JobFailed

TORCH_REQUIREMENT = ">=2.6"

LIGHT = ("filelock", "nibabel")
"""Small packages that are needed to create a study or write to it; see ``Resources/requirements.txt``."""


class Dependencies:
    """Checks and installs what the library needs in Slicer's own Python.

    Args:
        requirements: The file ``requirements.txt`` of the module (everything but torch).
    """

    def __init__(self, requirements: Path) -> None:
        self.requirements = requirements

    def missing(self) -> list[str]:
        """Names of missing distributions, torch first; nothing is imported."""
        names = ["torch", *(_name(line) for line in self._lines())]
        return [name for name in names if not _installed(name)]

    def missingLight(self) -> list[str]:
        """Names of missing small distributions."""
        return [name for name in LIGHT if not _installed(name)]

    def ensureLight(self) -> None:
        """Install what is needed to create a study and write to it.

        Raises:
            BadInput: If the user declined, or the installation failed.
        """
        if self.missingLight():
            self._pip([line for line in self._lines() if _name(line) in LIGHT])
        self._require(self.missingLight())

    def ensure(self) -> None:
        """Install everything; torch through the PyTorch extension, which picks the build for the graphics card.

        Raises:
            BadInput: If the user declined, or the installation failed; it names the missing packages.
            JobFailed: If the PyTorch extension has to be installed first, or Slicer restarted.
        """
        if not _installed("torch"):
            self._installTorch()
        if self.missing():
            self._pip(self._lines())
        self._require(self.missing())

    def _installTorch(self) -> None:
        try:
            import PyTorchUtils
        except ImportError as error:
            advice = _(
                "Install the extension PyTorch (Extensions Manager), restart Slicer and press the button again; or "
                "choose a Python that has torch (Study, Advanced)."
            )
            raise JobFailed(_("Learning needs the extension PyTorch."), advice=advice) from error
        logic = PyTorchUtils.PyTorchUtilsLogic()
        if logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT) is None:
            raise BadInput(_("PyTorch was not installed."), advice=_("Press the button again to install it."))

    def _pip(self, requirements: list[str]) -> None:
        import slicer.packaging  # not imported by Slicer

        try:
            slicer.packaging.pip_ensure(requirements, requester="ActiveSegmentation")
        except (RuntimeError, subprocess.CalledProcessError) as error:  # the user declined, or pip failed
            advice = _("Press the button again to retry; the Python console shows the output of pip.")
            raise BadInput(str(error), where=_("packages"), advice=advice) from error

    def _require(self, missing: list[str]) -> None:
        if missing:
            advice = _("Press Install (Study, Advanced), or choose a Python that has them.")
            raise BadInput(_("Python packages are missing: {names}.").format(names=", ".join(missing)), advice=advice)

    def _lines(self) -> list[str]:
        lines = self.requirements.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def workerCommand(chosen: str) -> list[str]:
    """Program and arguments of the worker's Python.

    Args:
        chosen: The Python that the user chose, "" for Slicer's own.
    """
    return [chosen or shutil.which("PythonSlicer") or sys.executable]


def workerEnvironment(chosen: str) -> dict[str, str] | None:
    """Environment of the worker: another Python must not load Slicer's libraries. None for Slicer's own Python."""
    if not chosen:
        return None
    environment: Any = slicer.util.startupEnvironment()
    return {name: value for name, value in environment.items() if name not in ("PYTHONHOME", "PYTHONPATH")}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _name(requirement: str) -> str:
    name = requirement
    for mark in "<>=!~[; ":
        name = name.partition(mark)[0]
    return name
