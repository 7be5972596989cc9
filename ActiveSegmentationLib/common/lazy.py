"""Lazy packages, which import one of their modules only when one of its names is first used.

Without this, ``from ActiveSegmentationLib.cohort import Role`` would import every module of the package, and ``--help``
would wait for torch. A package lists its public names once, in a form that type checkers and editors read too::

    if TYPE_CHECKING:
        from ActiveSegmentationLib.cohort.types import Role
    else:
        __getattr__, __dir__, __all__ = lazy_names(__name__)

A name must not be that of a module of the package: importing the module would hide it.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The functions ``__getattr__`` and ``__dir__`` (PEP 562) and the list ``__all__`` for a package.

    Args:
        package: The package's ``__name__``; its source is read for the imports under ``if TYPE_CHECKING``.
    """
    origins = dict(_listed(package))

    def get(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = origins[name]
        value = getattr(importlib.import_module(module), original)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(origins), sorted(origins)


def _listed(package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each public name of the package, with its module and its name there."""
    spec: Any = sys.modules[package].__spec__
    for block in ast.parse(spec.loader.get_source(package)).body:
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            for statement in block.body:
                if isinstance(statement, ast.ImportFrom) and statement.module:
                    for alias in statement.names:
                        yield alias.asname or alias.name, (statement.module, alias.name)
