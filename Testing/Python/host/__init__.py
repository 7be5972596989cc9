"""The test host: runs a scripted Slicer module offscreen on slicer-core and PySide6, without Slicer.

Slicer's own C++ scene, logics and displayable managers are real here; Qt is real too. Only the thin layers that Slicer
adds on top (``slicer.app``, module base classes, a few ctk and qMRML widgets) are written anew in this package. What is
not there is refused with an exception that says "test host does not provide", never answered by a mock.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys

NEEDED = {"slicer_core": "slicer-core==5.13.31053.0", "PySide6": "PySide6-Essentials==6.8.3"}


LIBRARIES = ("libEGL.so.1", "libGL.so.1", "libxkbcommon.so.0", "libfontconfig.so.1", "libdbus-1.so.3")


class HostRefusal(NotImplementedError, AttributeError):
    """Asked for something that only Slicer itself has.

    It is an AttributeError as well, so that ``hasattr`` answers False instead of raising.
    """

    def __init__(self, what: str, instead: str = "") -> None:
        super().__init__(f"test host does not provide {what}" + (f": {instead}" if instead else ""))


def missingPackages() -> str:
    """Return why the test host cannot run here, or an empty text when it can."""
    missing = [wheel for package, wheel in NEEDED.items() if importlib.util.find_spec(package) is None]
    if missing:
        return f"the test host needs {' and '.join(missing)}"
    if sys.platform == "linux":
        absent = [name for name in LIBRARIES if not _loads(name)]
        if absent:
            return f"the test host needs the system libraries {' and '.join(absent)} (scripts/test.py says how)"
    return ""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
