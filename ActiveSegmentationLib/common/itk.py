"""SimpleITK, imported on first use."""

from __future__ import annotations

from typing import Any


def simpleitk() -> Any:
    """The module SimpleITK, with ITK's own warnings switched off.

    ITK writes them to stderr, with source lines and addresses, for files that are read correctly; problems of a file
    are reported as problems or errors.
    """
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK
