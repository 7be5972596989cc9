"""Write the table of all learners in docs/learners.md from the learners themselves.

Run it after adding or changing a learner; a test compares the page with its output.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "learners.md"
BEGIN, END = "<!-- table of learners: scripts/learner_table.py writes it -->", "<!-- end of the table -->"


def table() -> str:
    """One row per learner of this library."""
    from ActiveSegmentationLib.segmentation import CAPABILITIES, LEARNERS, lacking, training_for

    lines = ["", "| name | what it is | from | cannot | exports | packages |", "| --- | --- | --- | --- | --- | --- |"]
    for name, entry in LEARNERS.items():
        missing = lacking(training_for(learner=name))
        lacks = [capability for capability in CAPABILITIES if capability in missing]
        lacks += ["scribbles"] if entry.needs_masks else []
        packages = ", ".join(f"`{each}`" for each in entry.packages.values())
        exports = ", ".join(entry.exports)
        lines.append(f"| `{name}` | {entry.summary} | {entry.source} | {', '.join(lacks)} | {exports} | {packages} |")
    return "\n".join([*lines, ""])


def page(text: str) -> str:
    """The page with the current table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
