"""Checks of a module's source for mistakes that only show in Slicer, or only when the line in question runs.

Each function returns its findings as texts; an empty list means that all is well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import slicer

from . import qtshim

qt = qtshim.build()

HEAVY_PACKAGES = frozenset({"torch", "sklearn", "monai"})


def lint(folder: str | Path, uiFile: str | Path) -> list[str]:
    """Run all checks on the Python files of a folder (with its subfolders) and on the .ui file that they use."""
    return [*checkWidgetProperties(folder, uiFile), *checkConnections(folder), *checkImports(folder)]


def checkWidgetProperties(folder: str | Path, uiFile: str | Path) -> list[str]:
    """Find ``self.ui.<widget>.<attribute> = value`` where the widget or the property does not exist.

    A property that is called, as in ``self.ui.<widget>.text()``, is found too: in Slicer it is a value.
    """
    root = slicer.util.loadUI(str(uiFile))
    named = {widget.name: widget for widget in slicer.util.findChildren(root) if widget.name}
    findings = []
    for path, node in _nodes(folder):
        parts = _uiParts(node.func if isinstance(node, ast.Call) else node)
        if parts is None:
            continue
        widgetName, attribute = parts
        if widgetName not in named:
            findings.append(f"{path}:{node.lineno}: the .ui file has no widget {widgetName}")
            continue
        isProperty = _hasProperty(named[widgetName], attribute)
        kind = type(named[widgetName]).__name__
        if isinstance(node, ast.Call) and isProperty:
            findings.append(f"{path}:{node.lineno}: {widgetName}.{attribute} of {kind} is a property, not a function")
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and not isProperty:
            findings.append(f"{path}:{node.lineno}: {kind} {widgetName} has no property {attribute}")
    root.deleteLater()
    return findings


def checkConnections(folder: str | Path) -> list[str]:
    """Find ``object.connect("signal()", slot)``: a wrong name there is only printed; use ``object.signal.connect``."""
    return [
        f"{path}:{node.lineno}: connect by signal, not by text"
        for path, node in _nodes(folder)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("connect", "disconnect")
        and node.args
        and _isText(node.args[0])
    ]


def checkImports(folder: str | Path) -> list[str]:
    """Find imports of heavy packages that run when the file is imported, and not inside a function."""
    findings = []
    for path, tree in _trees(folder):
        for node in _fileScope(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            heavy = sorted({name.split(".")[0] for name in names} & HEAVY_PACKAGES)
            findings += [f"{path}:{node.lineno}: {name} is imported at file scope" for name in heavy]
    return findings


def _trees(folder: str | Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(Path(folder).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def _nodes(folder: str | Path) -> Iterator[tuple[Path, ast.AST]]:
    for path, tree in _trees(folder):
        for node in ast.walk(tree):
            yield path, node


def _uiParts(node: ast.AST) -> tuple[str, str] | None:
    """Take ``self.ui.<widget>.<attribute>`` apart; None for anything else."""
    match node:
        case ast.Attribute(
            value=ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr="ui"), attr=widget), attr=attribute
        ):
            return widget, attribute
    return None


def _isText(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _hasProperty(widget: object, name: str) -> bool:
    return name == "name" or widget.metaObject().indexOfProperty(name) >= 0


def _fileScope(tree: ast.Module) -> Iterator[ast.stmt]:
    """Walk over what runs on import: everything but the bodies of functions and of ``if TYPE_CHECKING``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
