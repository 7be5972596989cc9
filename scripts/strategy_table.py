"""Write the table of all strategies in docs/strategies.md from the strategies themselves.

Run it after adding or changing a strategy; a test compares the page with its output.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "strategies.md"
BEGIN, END = "<!-- table of strategies: scripts/strategy_table.py writes it -->", "<!-- end of the table -->"


def table() -> str:
    """One table per family, one row per strategy."""
    from ActiveSegmentationLib.acquisition import strategy_class
    from ActiveSegmentationLib.acquisition.registry import FAMILIES

    lines: list[str] = []
    for family, names in FAMILIES.items():
        lines += ["", f"**{family[0].upper()}{family[1:]}**", ""]
        lines += ["| name | asks for | from | needs | options |", "| --- | --- | --- | --- | --- |"]
        for name in names:
            cls = strategy_class(name)
            lines.append(f"| `{name}` | {cls.summary} | {cls.source} | {cls.requires} | {_options(cls)} |")
    return "\n".join([*lines, ""])


def _options(cls: type) -> str:
    """Names of the options, the argument after the colon first."""
    from ActiveSegmentationLib.acquisition.options import settings_of

    found = sorted(settings_of(cls).values(), key=lambda setting: not setting.option.argument)
    return ", ".join(f"`:{s.name}`" if s.option.argument else f"`{s.name}`" for s in found)


def page(text: str) -> str:
    """The page with the current table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
