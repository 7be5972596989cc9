"""Calls of the package nnunetv2 that read environment variables or print."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_LOCK = threading.RLock()


@contextlib.contextmanager
def nnunet_folders(folder: Path) -> Iterator[None]:
    """Within the block nnU-Net's folders are in ``folder``, and it prints nothing; afterwards all is as before.

    nnU-Net takes its folders from environment variables. One thread at a time is in such a block.

    Args:
        folder: An existing folder of ours.
    """
    wanted = {
        "nnUNet_raw": str(folder / "raw"),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results"),
        "nnUNet_wandb_enabled": "0",
    }
    with _LOCK:
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
