"""The interface to the slice views; a headless run has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class View:
    """One slice view.

    Attributes:
        sliceNode: Its vtkMRMLSliceNode.
        sliceLogic: Its vtkMRMLSliceLogic.
        renderer: The first renderer of its window, or None if it does not render.
        render: Requests a redraw; takes no arguments.
    """

    sliceNode: Any
    sliceLogic: Any
    renderer: Any
    render: Any


class Views(Protocol):
    """The slice views in which volumes are shown."""

    @property
    def headless(self) -> bool:
        """Whether there is no screen (no main window); then every open slice counts as being in view."""

    def annotationView(self) -> View | None:
        """The view to annotate in, or None if there is none (no main window, a layout without slice views)."""

    def others(self) -> list[View]:
        """The other slice views that are shown."""


class NoViews:
    """No views, for runs without a main window."""

    @property
    def headless(self) -> bool:
        """True."""
        return True

    def annotationView(self) -> View | None:
        """None."""
        return None

    def others(self) -> list[View]:
        """None."""
        return []
