"""The Python packages that Slicer does not ship: asked for when first needed, installed with consent."""

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

TORCH_REQUIREMENT = ">=2.4"

LIGHT = ("filelock", "nibabel")
"""Small packages without which a study can neither be made nor written to; see ``Resources/requirements.txt``."""


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
        """Have what making and writing a study needs.

        Raises:
            BadInput: If the person declined, or nothing can be installed here.
        """
        if self.missingLight():
            self._pip([line for line in self._lines() if _name(line) in LIGHT])
        self._require(self.missingLight())

    def ensure(self) -> None:
        """Have everything, torch through the PyTorch extension, which picks the build for the graphics card.

        Raises:
            BadInput: If the person declined, or nothing can be installed here; names what is missing.
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
            raise BadInput(_("PyTorch was not installed."), advice=_("Press the button again when it suits you."))

    def _pip(self, requirements: list[str]) -> None:
        import slicer.packaging  # Slicer does not import it by itself

        try:
            slicer.packaging.pip_ensure(requirements, requester="ActiveSegmentation")
        except (RuntimeError, subprocess.CalledProcessError) as error:  # the person declined, or pip failed
            advice = _("Press the button again when it suits you, or see the Python console for what pip said.")
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
        chosen: What the person chose, "" for Slicer's own.
    """
    return [chosen or shutil.which("PythonSlicer") or sys.executable]


def workerEnvironment(chosen: str) -> dict[str, str] | None:
    """Environment of the worker: a Python that is not Slicer's must not meet Slicer's libraries. None for ours."""
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
