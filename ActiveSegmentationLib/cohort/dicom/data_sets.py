"""Reading of DICOM data sets from files whose lengths may be wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any


class BoundedFile:
    """A file of which never more is asked for than is left, for parsers that read as much as a length says.

    A damaged length would else have gigabytes allocated before the end of the file is noticed.

    Args:
        file: An open binary file; everything but reading is left to it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def read(self, count: int | None = -1) -> bytes:
        """At most this many bytes, all that are left by default."""
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if count is None or count < 0 else min(count, left))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def read_data_set(path: Path, **options: Any) -> Any:
    """The data set of a file.

    Args:
        path: The file.
        options: Options of ``pydicom.dcmread``.

    Raises:
        OSError: If the file cannot be read.
        Exception: What pydicom raises for damaged files, see ``tags.damaged``.
    """
    import pydicom

    with open(path, "rb") as file:
        return pydicom.dcmread(BoundedFile(file), **options)  # type: ignore[arg-type]
