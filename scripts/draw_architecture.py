#!/usr/bin/env python3
"""Draw the parts of the library and their imports into docs/architecture.md, from the code itself."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "ActiveSegmentationLib"
DOCUMENT = ROOT / "docs" / "architecture.md"
MODULE = ROOT / "ActiveSegmentation" / "ActiveSegmentation.py"
START, END = "<!-- drawn by scripts/draw_architecture.py -->", "<!-- end of the drawing -->"

Graph = Mapping[str, frozenset[str]]
"""For each part the parts that it imports."""


def files() -> dict[str, list[Path]]:
    """The files of each part: folders of the library, its public functions, the worker's client and the module."""
    library = ROOT / PACKAGE
    parts = {path.parent.name: sorted(path.parent.rglob("*.py")) for path in library.glob("*/__init__.py")}
    del parts["common"]  # all import it
    client = library / "worker" / "client.py"
    parts["worker"].remove(client)
    others = {"api": library / "api.py", "worker.client": client, "ActiveSegmentation": MODULE}
    return dict(sorted((parts | {name: [path] for name, path in others.items()}).items()))


def imports() -> dict[str, frozenset[str]]:
    """For each part the parts that it imports."""
    parts = files()
    return {
        name: frozenset(part for path in paths for part in _imported(path) if part in parts and part != name)
        for name, paths in parts.items()
    }


def _imported(file: Path) -> set[str]:
    """The parts that a file imports; the worker's messages, which client and server share, are of neither."""
    modules = [node.module for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    names = [module.split(".") for module in modules if module and module.startswith(f"{PACKAGE}.")]
    shared = [["worker", "protocol"], ["worker"]]
    return {
        "worker.client" if name[1:3] == ["worker", "client"] else name[1] for name in names if name[1:] not in shared
    }


def reachable(graph: Graph, part: str) -> set[str]:
    """All parts that a part imports, directly or through others."""
    found: set[str] = set()
    waiting = list(graph[part])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def reduced(graph: Graph) -> dict[str, list[str]]:
    """The graph without arrows that follow from others (transitive reduction)."""
    return {
        part: sorted(
            name for name in used if not any(name in reachable(graph, other) for other in used if other != name)
        )
        for part, used in graph.items()
    }


def drawing() -> str:
    """The picture as Mermaid text, and a table of the parts."""
    graph, parts = imports(), files()
    lines = [START, "", "```mermaid", "flowchart TD"]
    lines += [f"    {_node(part)} --> {_node(used)}" for part, names in reduced(graph).items() for used in names]
    lines += [f"    {_node('worker.client')} -. messages .-> worker"]
    lines += ["```", "", "| part | what it does | imports |", "|---|---|---|"]
    for part, used in graph.items():
        lines.append(f"| `{part}` | {_summary(parts[part])} | {', '.join(sorted(used)) or '-'} |")
    return "\n".join([*lines, "", END])


def _node(part: str) -> str:
    """A part as a Mermaid node; names must not contain dots, labels may."""
    return part if "." not in part else f"{part.replace('.', '_')}[{part}]"


def _summary(paths: list[Path]) -> str:
    """First sentence of the docstring of a part."""
    (file,) = [path for path in paths if path.name == "__init__.py" and path.parent.parent.name == PACKAGE] or paths
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def main() -> int:
    """Put the drawing into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(START)
    DOCUMENT.write_text(before + drawing() + rest.split(END)[1], encoding="utf-8")
    return 0


def drawn() -> str:
    """The current drawing in the document."""
    found = re.search(re.escape(START) + ".*?" + re.escape(END), DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return found.group() if found else ""


if __name__ == "__main__":
    sys.exit(main())
