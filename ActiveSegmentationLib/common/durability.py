"""What must be true on disk after a power cut or a kill: folder entries that last, temporary files that do not."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import os
import re
import shutil
import socket
import stat
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

_PREFIX = ".tmp-"
_NAME = re.compile(r"\.tmp-(?P<host>[0-9a-f]{6})(?P<process>[0-9a-f]{6})[0-9a-f]{4}-(?P<of>.+)", re.DOTALL)
_OLD_NAME = re.compile(r"\.tmp-(?:removed-(?P<removed>.+)-\d+|[0-9a-f]{12}-(?P<of>.+))", re.DOTALL)
_ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a temporary file of another computer counts as left behind."""
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""Errors of file systems that cannot sync folders, such as some network shares."""

_counter = itertools.count()


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk: which names it has, and what they point to.

    Raises:
        OSError: If the disk fails. File systems that cannot sync folders, and Windows, do nothing.
    """
    if os.name == "nt":  # a folder cannot be opened for fsync on Windows
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and the folders above it so that they outlast a power cut.

    The entry of every new folder is synced, up to the first folder that existed. Group and others get no right in the
    new folders if they have none in that folder.

    Raises:
        OSError: If it cannot be created, or a file has the name.
    """
    folder = Path(os.path.abspath(folder))
    missing = list(itertools.takewhile(lambda path: not path.is_dir(), (folder, *folder.parents)))
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        keep_private(path)
        sync_folder(path.parent)


def sync_above(folder: Path, root: Path) -> None:
    """Sync the entries of a folder and of the folders above it, up to and including ``root``.

    Another process may have created one of them a moment ago and may not have synced it yet.
    """
    folder, root = Path(os.path.abspath(folder)), Path(os.path.abspath(root))
    for path in folder.parents:
        if path.is_relative_to(root):
            sync_folder(path)


def move_into_place(source: Path, target: Path) -> None:
    """Rename a file or folder within a folder, and sync the folder.

    Raises:
        OSError: If it cannot be renamed.
    """
    os.replace(source, target)
    sync_folder(target.parent)


def keep_private(path: Path) -> None:
    """Take all rights of group or others from a new file or folder if they have none in the folder that it is in."""
    if os.name == "nt":
        return
    mode, allowed = path.stat().st_mode, path.parent.stat().st_mode
    shut = sum(group for group in (stat.S_IRWXG, stat.S_IRWXO) if not allowed & group)
    if mode & shut:
        path.chmod(stat.S_IMODE(mode) & ~shut)


def temporary_name(name: str) -> str:
    """A new name for a temporary file that is to become ``name``; it names the process that made it."""
    return f"{_PREFIX}{_this_host()}{os.getpid() & 0xFFFFFF:06x}{next(_counter) & 0xFFFF:04x}-{name}"


@functools.cache
def _this_host() -> str:
    """Six digits for this computer, and for the container if there is one: within it, process ids are unique."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:6]


def sweep(folder: Path, names: Collection[str] | None = None) -> None:
    """Delete temporary files and folders in one folder that a killed process has left there.

    A file whose process still runs is kept. If that is unknown (another computer, an older version of this
    program), it is kept for a day.

    Args:
        folder: The folder; it need not exist. Links are not followed.
        names: Delete only temporary files that were to become one of these. Default: all.
    """
    for path in abandoned(folder, names):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def abandoned(folder: Path, names: Collection[str] | None = None) -> Iterator[Path]:
    """The temporary files and folders that ``sweep`` would delete."""
    return filter(_is_abandoned, temporaries(folder, names))


def sweep_tree(root: Path) -> None:
    """``sweep`` in a folder and all folders below it.

    Args:
        root: The folder; it need not exist. Links are not followed.
    """
    for place, folders, files in os.walk(root):
        if any(name.startswith(_PREFIX) for name in (*folders, *files)):
            sweep(Path(place))
        folders[:] = [name for name in folders if not name.startswith(_PREFIX)]


def temporaries(folder: Path, names: Collection[str] | None = None) -> Iterator[Path]:
    """The temporary files and folders in one folder, of running processes too; arguments as for ``sweep``."""
    for name in os.listdir(folder) if folder.is_dir() else ():
        found = _NAME.fullmatch(name) or _OLD_NAME.fullmatch(name)
        if found is not None and (names is None or {*found.groupdict().values()} & {*names}):
            yield folder / name


def _is_abandoned(path: Path) -> bool:
    found = _NAME.fullmatch(path.name)
    if found is None or found["host"] != _this_host() or sys.platform == "win32":
        return _is_old(path)
    return not _runs(int(found["process"], 16))


def _runs(process: int) -> bool:
    """Whether a process of this computer runs; not for Windows, where the question would end it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_AFTER
    except FileNotFoundError:
        return False
