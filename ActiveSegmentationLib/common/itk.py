"""SimpleITK, brought in on first use."""

from __future__ import annotations

from typing import Any


def simpleitk() -> Any:
    """The module SimpleITK, with ITK's own warnings switched off.

    ITK writes them to stderr with lines of its source and addresses, for files that are read rightly; what is wrong
    with a file is told as a problem or an error.
    """
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK
