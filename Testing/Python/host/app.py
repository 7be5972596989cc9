"""The smallest Slicer application: the real scene and module logics behind ``slicer.app`` and ``slicer.modules``.

``start()`` fills the ``slicer`` package of slicer-core with what Slicer itself would add. Any other name asked of
``slicer``, ``slicer.app`` or ``slicer.modules`` is refused.
"""

from __future__ import annotations

import os
import tempfile
import types
from pathlib import Path

import slicer
import vtk

from . import HostRefusal, qtshim

qt = qtshim.build()

MODULE_LOGICS = {
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}


class SlicerApplication(qt.QApplication):
    """``slicer.app``: a QApplication with the part of qSlicerApplication that needs no main window."""

    startupCompleted = qt.Signal()

    def __init__(self) -> None:
        super().__init__(["slicer-test-host"])
        self.applicationName = "Slicer"
        self.organizationName = "SlicerTestHost"
        self.temporaryPath = tempfile.mkdtemp(prefix="slicer-test-host-")
        self.slicerHome = self.temporaryPath
        self.revision = "31053"
        self.majorVersion = 5
        self.minorVersion = 13
        self._logic = slicer.vtkSlicerApplicationLogic()

    def testingEnabled(self) -> bool:
        return True

    def applicationLogic(self) -> slicer.vtkSlicerApplicationLogic:
        return self._logic

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        return slicer.mrmlScene

    def layoutManager(self) -> None:
        """Return None, as Slicer does with ``--no-main-window``."""

    def commandOptions(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(noMainWindow=True, testingEnabled=True, disableSettings=True)

    def userSettings(self) -> qt.QSettings:
        return qt.QSettings()

    def settings(self) -> qt.QSettings:
        return qt.QSettings()

    def startupEnvironment(self) -> dict[str, str]:
        return dict(os.environ)

    def pauseRender(self) -> None:
        """Do nothing: nothing is rendered unless a test asks a SliceView to."""

    def resumeRender(self) -> None:
        """Do nothing, see pauseRender."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise HostRefusal(f"slicer.app.{name}")


class LoadedModule:
    """What ``slicer.modules.<name>`` is: the logic of a C++ module, or the parts of a scripted one."""

    def __init__(self, name: str, logic: object = None, path: str = "") -> None:
        self.name = name
        self.path = path
        self._logic = logic
        self._representation = None

    def logic(self) -> object:
        if self._logic is None:
            raise HostRefusal(
                f"slicer.modules.{self.name.lower()}.logic()", "a scripted module has its own Python logic"
            )
        return self._logic

    def widgetRepresentation(self) -> object:
        if self._representation is None:
            raise HostRefusal(f"slicer.modules.{self.name.lower()}.widgetRepresentation()")
        return self._representation


class Modules(types.ModuleType):
    """``slicer.modules``: the registered modules by their lower-case names."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise HostRefusal(f"slicer.modules.{name}")


def start() -> None:
    """Create the application, the scene and the module logics, and put them into the package ``slicer``."""
    if qt.QApplication.instance() is not None:
        raise RuntimeError("the test host must create the QApplication; another one exists in this process")
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    slicer.app = SlicerApplication()
    slicer.modules = Modules("slicer.modules")
    logic = slicer.app.applicationLogic()
    logic.SetMRMLScene(scene)
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    colors = logic.GetColorLogic()
    colors.SetMRMLScene(scene)
    logic.SetModuleLogic("Colors", colors)
    slicer.modules.colors = LoadedModule("Colors", colors)
    for name, className in MODULE_LOGICS.items():
        setattr(slicer.modules, name.lower(), LoadedModule(name, _moduleLogic(name, className, logic, scene)))
    addDefaultNodes(scene)
    slicer.__getattr__ = _refuse


def _moduleLogic(name: str, className: str, application: object, scene: object) -> object:
    """Create the logic of one C++ module, in the order in which Slicer sets it up."""
    logic = getattr(slicer, className)()
    if name == "Terminologies":  # the wheel has no terminology files: it would report six errors and go on without
        folder = Path(slicer.app.temporaryPath, "Terminologies")
        folder.mkdir(exist_ok=True)
        logic.SetModuleShareDirectory(str(folder))
        logic.SetUserContextsPath(str(folder))
        vtk.vtkObject.GlobalWarningDisplayOff()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    vtk.vtkObject.GlobalWarningDisplayOn()
    application.SetModuleLogic(name, logic)
    return logic


def addDefaultNodes(scene: slicer.vtkMRMLScene) -> None:
    """Add the nodes that every Slicer scene has: colour tables, slice orientations, the crosshair."""
    slicer.app.applicationLogic().GetColorLogic().AddDefaultColorNodes()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    if scene.GetFirstNodeByClass("vtkMRMLCrosshairNode") is None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        crosshair.SetSingletonTag("default")
        scene.AddNode(crosshair)


def _refuse(name: str) -> object:
    """Answer ``slicer.<name>`` for a name that is not there (PEP 562)."""
    if name.startswith("__"):
        raise AttributeError(name)
    raise HostRefusal(f"slicer.{name}")
