"""Atomic writing of files, and hashes of their content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.durability import keep_private, make_folder, sync_folder, temporary_name
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, BadInput, JobFailed

ONE_ARRAY = threading.Lock()
"""Lock for opening a NumPy file in one of several threads: Python up to 3.11.7 sometimes raises SystemError when two
threads read a header at once (CPython issue 106905)."""

_MISTAKES: dict[type[OSError], tuple[str, str]] = {
    PermissionError: ("No permission.", "Choose files that you may read and folders that you may write to."),
    FileNotFoundError: ("There is no such file or folder.", "Check the path."),
    FileExistsError: ("A file or folder of this name exists already.", "Choose another name, or move it."),
    NotADirectoryError: ("A file is used as a folder here.", "Check the path, or choose another folder."),
    IsADirectoryError: ("This is a folder, and a file is needed.", "Check the path."),
}
"""Message and advice for each kind of error."""


def explain_os_error(error: OSError, path: Path) -> ActiveSegmentationError:
    """Convert an operating-system error to one with advice."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JobFailed("The disk is full.", where=path, advice="Free some space and run the same command again.")
    if error.errno == errno.EROFS:
        return BadInput("No permission to write here.", where=path, advice="Choose a folder that you may write to.")
    for kind, (message, advice) in _MISTAKES.items():
        if isinstance(error, kind):
            return BadInput(message, where=path, advice=advice)
    return JobFailed(f"{error.strerror or error}.", where=path, advice="Check the disk and the path, then run again.")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Within this block an ``OSError`` becomes a ``BadInput`` or ``JobFailed`` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise explain_os_error(error, path) from error


@contextlib.contextmanager
def atomic_path(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; it replaces ``path`` if the block succeeds and is deleted otherwise.

    The temporary name keeps the suffixes of ``path``, so libraries that look at them work. The content is flushed to
    disk before it replaces the old one, and so are the entries of new folders: after a kill or power cut there is the
    old file or the new one, never a part. Group and others
    get no right to the file if they have none in the folder, or if it is private.

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full.
    """
    path = Path(path)
    with explained(path):
        make_folder(path.parent)
        temporary = path.parent / temporary_name(path.name)
        try:
            yield temporary
            keep_private(temporary)
            if private:
                temporary.chmod(stat.S_IRUSR | stat.S_IWUSR)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write ``content`` to ``path`` atomically; only the owner may read a private file."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write ``value`` to ``path`` atomically, as indented JSON; NaN is refused because JSON has none.

    Only the owner may read a private file.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8"), private=private)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        BadInput: If the file is missing, unreadable or not JSON.
    """
    path = Path(path)
    require_regular(path)
    with explained(path):
        text = path.read_bytes()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        advice = "Restore the file from a backup, or delete it if it can be created again."
        raise BadInput(f"The file is not valid JSON ({error}).", where=path, advice=advice) from error


def read_fields(path: Path, *names: str) -> dict[str, Any]:
    """Read a JSON file that holds named fields.

    Args:
        path: The file.
        names: Fields that it must have.

    Raises:
        BadInput: As ``read_json``; also if it holds something else, or one of the fields is missing.
    """
    value = read_json(path)
    advice = "Restore the file from a backup, or delete it if it can be created again."
    if not isinstance(value, dict):
        raise BadInput("The file does not hold fields with names.", where=path, advice=advice)
    missing = [name for name in names if name not in value]
    if missing:
        raise BadInput(f"The file lacks the field '{missing[0]}'.", where=path, advice=advice)
    return value


def require_regular(path: Path) -> None:
    """Refuse what is neither a file nor a folder: reading a pipe would wait for ever, a device never ends.

    Raises:
        BadInput: Naming it; also if it does not exist or may not be looked at.
    """
    with explained(path):
        mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BadInput("This is a pipe, socket or device and not a file.", where=path, advice="Name a regular file.")


def remove_tree(path: Path) -> None:
    """Delete a folder; it is renamed first, so that no other process finds it half-deleted."""
    if not path.exists():
        return
    doomed = path.with_name(temporary_name(path.name))
    os.replace(path, doomed)
    shutil.rmtree(doomed)


def tree_size(path: Path) -> int:
    """Bytes of all files in a folder, 0 if it does not exist; unreadable files do not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def hash_bytes(*parts: bytes | str) -> str:
    """SHA-256 of the parts, as 64 hexadecimal digits; it depends on how the parts are divided."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    return hash_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False))


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    require_regular(path)
    with explained(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
