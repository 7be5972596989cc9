"""Base classes of scripted modules, ``slicer.i18n`` and ``slicer.packaging``, as far as a module needs them in tests.

``install()`` puts them where Slicer has them: ``slicer.ScriptedLoadableModule``, ``slicer.i18n``, ``slicer.packaging``
and ``slicer.parameterNodeWrapper``.
"""

from __future__ import annotations

import importlib.metadata
import sys
import types
import unittest
from pathlib import Path

import slicer
from packaging.requirements import Requirement

from . import HostRefusal, parameters, qtshim

qt = qtshim.build()


class ModuleParent:
    """The C++ object behind a scripted module: it has these attributes and takes no others."""

    __slots__ = (
        "acknowledgementText",
        "associatedNodeTypes",
        "categories",
        "contributors",
        "dependencies",
        "helpText",
        "hidden",
        "icon",
        "index",
        "moduleName",
        "path",
        "title",
        "widgetRepresentationCreationEnabled",
    )

    def __init__(self, moduleName: str = "", path: str = "") -> None:
        for name in self.__slots__:
            setattr(self, name, "")
        for name in ("associatedNodeTypes", "categories", "contributors", "dependencies"):
            setattr(self, name, [])
        self.moduleName = moduleName
        self.path = path
        self.hidden = False
        self.index = -1
        self.widgetRepresentationCreationEnabled = True


class ModuleWidgetParent(qt.QWidget):
    """The module panel that holds a scripted module's widget and tells it when it is shown and left."""

    standIn = True

    def __init__(self) -> None:
        super().__init__()
        self.setLayout(qt.QVBoxLayout())
        self._entered = False
        self._widget = None

    @qt.Property(bool)
    def isEntered(self) -> bool:
        return self._entered

    def self(self) -> ScriptedLoadableModuleWidget:
        return self._widget

    def enter(self) -> None:
        if not self._entered:
            self._entered = True
            self._widget.enter()

    def exit(self) -> None:
        if self._entered:
            self._entered = False
            self._widget.exit()


class ScriptedLoadableModule:
    """The description of a module."""

    def __init__(self, parent: ModuleParent) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = self.moduleName

    def resourcePath(self, filename: str) -> str:
        return _resourcePath(self.moduleName, filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        return f'<p>For more information see the <a href="{docPage or self.moduleName}">online documentation</a>.</p>'

    def runTest(self, **_keywords: object) -> None:
        test = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test")
        test().runTest()


class ScriptedLoadableModuleWidget:
    """The panel of a module."""

    def __init__(self, parent: ModuleWidgetParent | None = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent or ModuleWidgetParent()
        self.parent._widget = self
        self.layout = self.parent.layout()

    def resourcePath(self, filename: str) -> str:
        return _resourcePath(self.moduleName, filename)

    def setup(self) -> None:
        """Build the panel."""

    def enter(self) -> None:
        """Is called when the panel is shown."""

    def exit(self) -> None:
        """Is called when another panel is shown instead."""

    def cleanup(self) -> None:
        """Is called before the panel is destroyed."""


class ScriptedLoadableModuleLogic:
    """The part of a module that works without its panel."""

    def __init__(self, parent: object = None) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """Return the module's parameter node of the scene, making one when there is none."""
        nodes = self.getAllParameterNodes()
        return nodes[0] if nodes else self.createParameterNode()

    def getAllParameterNodes(self) -> list[slicer.vtkMRMLScriptedModuleNode]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetModuleName() == self.moduleName]

    def createParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetModuleName(self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return slicer.mrmlScene.AddNode(node)


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A self test: every method with "test" in its name, each after ``setUp``."""

    def __init__(self, methodName: str = "runTest") -> None:
        super().__init__(methodName)

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        for name in sorted(dir(self)):
            if name.startswith("test") and callable(getattr(self, name)):
                self.setUp()
                getattr(self, name)()

    def delayDisplay(self, message: str, *_arguments: object, **_keywords: object) -> None:
        slicer.util.delayDisplay(message, autoCloseMsec=0)


def _resourcePath(moduleName: str, filename: str) -> str:
    return str(Path(slicer.util.modulePath(moduleName)).parent / "Resources" / filename)


def tr(text: str) -> str:
    """Translate a text of the calling file: the host shows the source language."""
    return text


def translate(_context: str, text: str, _disambiguation: str | None = None, _n: int = -1) -> str:
    """Translate a text of the given context: the host shows the source language."""
    return text


Requirements = str | Requirement | list[str | Requirement]


def _asRequirements(requirements: Requirements) -> list[Requirement]:
    given = requirements if isinstance(requirements, list) else [requirements]
    return [Requirement(str(item)) for item in given]


def load_requirements(path: str | Path) -> list[Requirement]:
    """Read a requirements file."""
    lines = (line.split(" #")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def pip_check(requirements: Requirements) -> bool:
    """Are all requirements installed, in versions that satisfy them?"""
    for requirement in _asRequirements(requirements):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(version, prereleases=True):
            return False
    return True


def pip_ensure(requirements: Requirements, requester: str | None = None, **_keywords: object) -> None:
    """Install nothing and return None, as Slicer does under ``--testing``; malformed requirements still raise."""
    _asRequirements(requirements)


def pip_install(*_arguments: object, **_keywords: object) -> None:
    """Refuse: tests install nothing."""
    raise HostRefusal("slicer.packaging.pip_install", "tests install nothing")


def install() -> None:
    """Put the base classes and helper modules where Slicer has them."""
    classes = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    _addModule("ScriptedLoadableModule", {cls.__name__: cls for cls in classes})
    _addModule("i18n", {"tr": tr, "translate": translate})
    functions = (load_requirements, pip_check, pip_ensure, pip_install)
    _addModule("packaging", {function.__name__: function for function in functions})
    _addModule("parameterNodeWrapper", {name: getattr(parameters, name) for name in parameters.__all__})


def _addModule(name: str, contents: dict[str, object]) -> None:
    module = types.ModuleType(f"slicer.{name}")
    vars(module).update(contents)
    module.__all__ = list(contents)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)
