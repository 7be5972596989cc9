"""Tables of measurements in docs/reliability.md."""

from __future__ import annotations

import platform
import time
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
END = "<!-- end of the table -->"


def write_part(name: str, table: str, about: str) -> None:
    """Replace a table between comments in the documentation.

    Args:
        name: What the comment before it says.
        table: The table, in Markdown.
        about: A sentence about how it was made; date and system are added.
    """
    start = f"<!-- {name} -->"
    before, found, rest = DOCUMENT.read_text(encoding="utf-8").partition(start)
    if not found or END not in rest:
        raise ValueError(f"{DOCUMENT} has no place for the {name}")
    system = f"{platform.system()}, Python {platform.python_version()}"
    middle = f"{start}\n\n{table}\n\n{about} {time.strftime('%Y-%m-%d')}, {system}.\n\n{END}"
    DOCUMENT.write_text(before + middle + rest.partition(END)[2], encoding="utf-8")
