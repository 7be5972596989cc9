"""``python -m ActiveSegmentationLib.worker``: started by the Slicer module, not by users."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from ActiveSegmentationLib.worker.jobs import JOBS
from ActiveSegmentationLib.worker.server import Server


def main() -> None:
    """Serve on the standard streams; output of libraries is redirected to standard error."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for Slicer
    Server(JOBS, sys.stdin.buffer, sink).serve()


def _die_with_parent() -> None:
    """On Linux, let the kernel end this process with its parent, even if it hangs."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


main()
