"""The test host itself: ``start()`` puts all parts together once a process and returns the ``Host``."""

from __future__ import annotations

import functools
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import slicer

from . import app, base, qtshim, widgets

qt = qtshim.build()


@dataclass
class ScriptedModule:
    """A module that runs in the host."""

    name: str
    path: Path
    python: object
    module: base.ScriptedLoadableModule
    widget: base.ScriptedLoadableModuleWidget

    def enter(self) -> None:
        """Show the panel, as choosing the module in Slicer does."""
        self.widget.parent.show()
        self.widget.parent.enter()

    def exit(self) -> None:
        """Leave the panel, as choosing another module in Slicer does."""
        self.widget.parent.exit()
        self.widget.parent.hide()

    def screenshot(self, path: str | Path) -> None:
        """Write a picture of the panel."""
        slicer.app.processEvents()
        if not self.widget.parent.grab().save(str(path)):
            raise OSError(f"the picture {path} cannot be written")

    def close(self) -> None:
        """Leave the panel and destroy it, as the end of Slicer does."""
        self.exit()
        self.widget.cleanup()
        self.forget()

    def forget(self) -> None:
        """Take the module out of the host without another word to it."""
        self.widget.parent.deleteLater()
        sys.modules.pop(self.name, None)
        sys.path.remove(str(self.path.parent))
        for name in (self.name.lower(), f"{self.name}Widget", f"{self.name}Instance"):
            vars(slicer.modules).pop(name, None)


class Host:
    """The running environment; get it with ``start()``."""

    def __init__(self) -> None:
        self.errors = qtshim.slotErrors
        self._loaded: list[ScriptedModule] = []
        self._firstNodes = {node.GetID() for node in self._nodes()}

    def _nodes(self) -> list[slicer.vtkMRMLNode]:
        return [self.scene.GetNthNode(index) for index in range(self.scene.GetNumberOfNodes())]

    @property
    def app(self) -> app.SlicerApplication:
        return slicer.app

    @property
    def scene(self) -> slicer.vtkMRMLScene:
        return slicer.mrmlScene

    def loadModule(self, path: str | Path, prepare: Callable[[object], object] | None = None) -> ScriptedModule:
        """Import the module file as Slicer does, and build its module object and its panel (``setup`` is called).

        ``prepare`` receives the imported file before anything of it is built: the place to replace what only Slicer
        has, such as the controller of the segment editor.
        """
        path = Path(path).resolve()
        name = path.stem
        sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        python = importlib.util.module_from_spec(spec)
        sys.modules[name] = python
        spec.loader.exec_module(python)
        if prepare is not None:
            prepare(python)
        registered = app.LoadedModule(name, path=str(path))
        setattr(slicer.modules, name.lower(), registered)
        module = getattr(python, name)(base.ModuleParent(name, str(path)))
        setattr(slicer.modules, f"{name}Instance", module)
        registered._representation = base.ModuleWidgetParent()
        widget = getattr(python, f"{name}Widget")(registered._representation)
        setattr(slicer.modules, f"{name}Widget", widget)
        loaded = ScriptedModule(name, path, python, module, widget)
        try:
            widget.setup()
        except BaseException:
            loaded.forget()
            raise
        self._loaded.append(loaded)
        return loaded

    def settle(self, seconds: float = 0) -> None:
        """Run the event loop for this long, and until nothing is waiting."""
        end = time.monotonic() + seconds
        while True:
            slicer.app.sendPostedEvents(None, qt.QEvent.DeferredDelete)
            slicer.app.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.002)

    def waitFor(self, condition: Callable[[], object], seconds: float = 5) -> bool:
        """Run the event loop until the condition holds; returns whether it did in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end:
                return False
            self.settle(0.005)
        return True

    def reset(self) -> None:
        """Make everything as new: no modules, an empty scene, no settings. The errors stay."""
        while self._loaded:
            self._loaded.pop().close()
        self.settle()
        slicer.mrmlScene.Clear(0)
        for node in self._nodes():
            if node.GetID() not in self._firstNodes:  # a singleton that a test added, such as a parameter node
                slicer.mrmlScene.RemoveNode(node)
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)  # makes it anew
        self.settle()
        qt.QSettings().clear()

    def close(self) -> None:
        """Close all modules and empty the scene; the application itself lasts as long as the process."""
        self.reset()


@functools.cache
def start() -> Host:
    """Start the host; later calls in the same process return the same one."""
    widgets.install()
    base.install()
    app.start()
    return Host()
