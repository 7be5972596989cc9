"""Stand-ins for the ctk and qMRML widgets that a module's .ui file may use, and the loader that creates them.

Each stand-in has the real behaviour of the part it offers: node boxes follow the real scene, collapsible buttons hide
their contents, and so on. The class names, properties and signals are those of Slicer, so the same .ui file works in
both. Any other ctk, qMRML or qSlicer class in a .ui file raises NotImplementedError.
"""

from __future__ import annotations

import re
import sys
import types
import xml.etree.ElementTree as ET

import slicer
import vtk

from . import HostRefusal, qtshim

qt = qtshim.build()

FOREIGN_CLASS = re.compile(r"(ctk|qMRML|qSlicer)[A-Z]\w*")


def _stored(name: str, kind: object, default: object) -> qt.Property:
    """Make a Qt property that only keeps its value."""
    key = f"_{name}"

    def write(self: qt.QObject, value: object) -> None:
        setattr(self, key, value)

    return qt.Property(kind, lambda self: getattr(self, key, default), write)


class qMRMLWidget(qt.QWidget):
    """The root of a module's panel: hands its scene on to the widgets connected in the .ui file."""

    standIn = True
    mrmlSceneChanged = qt.Signal(object)

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class SceneObserver:
    """Calls back when nodes come, go or change their names; outlives neither its scene nor its widget."""

    EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent", "EndBatchProcessEvent")

    def __init__(self, scene: slicer.vtkMRMLScene, callback: object) -> None:
        self.callback = callback
        self.tags = [(scene, scene.AddObserver(getattr(scene, name), self._call)) for name in self.EVENTS]
        self.nodeTags: dict[object, int] = {}

    def _call(self, *_arguments: object) -> None:
        if self.callback is not None:
            self.callback()

    def watch(self, nodes: list[slicer.vtkMRMLNode]) -> None:
        """Follow the names of these nodes, and of no others."""
        for node in [node for node in self.nodeTags if node not in nodes]:
            node.RemoveObserver(self.nodeTags.pop(node))
        for node in nodes:
            if node not in self.nodeTags:
                self.nodeTags[node] = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._call)

    def stop(self) -> None:
        self.callback = None
        self.watch([])
        for scene, tag in self.tags:
            scene.RemoveObserver(tag)
        self.tags = []


class qMRMLNodeComboBox(qt.QWidget):
    """A box to choose one node of the scene."""

    standIn = True
    currentNodeChanged = qt.Signal(object)
    currentNodeIDChanged = qt.Signal(str)
    nodeAdded = qt.Signal(object)
    nodeAddedByUser = qt.Signal(object)

    baseName = _stored("baseName", str, "")
    editEnabled = _stored("editEnabled", bool, False)
    removeEnabled = _stored("removeEnabled", bool, True)
    renameEnabled = _stored("renameEnabled", bool, False)
    addEnabled = _stored("addEnabled", bool, True)
    selectNodeUponCreation = _stored("selectNodeUponCreation", bool, True)

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None
        self._observer = None
        self._current = None
        self._settings = {
            "nodeTypes": [],
            "hideChildNodeTypes": [],
            "noneEnabled": False,
            "noneDisplay": "None",
            "showHidden": False,
            "showChildNodeTypes": True,
        }
        self._attributes: list[tuple[str, str, str | None]] = []
        self._box = qt.QComboBox(self)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(self._onActivated)

    def _setting(name: str, kind: object) -> qt.Property:
        def write(self: qMRMLNodeComboBox, value: object) -> None:
            self._settings[name] = value
            self._refresh()

        return qt.Property(kind, lambda self: self._settings[name], write)

    nodeTypes = _setting("nodeTypes", "QStringList")
    hideChildNodeTypes = _setting("hideChildNodeTypes", "QStringList")
    noneEnabled = _setting("noneEnabled", bool)
    noneDisplay = _setting("noneDisplay", str)
    showHidden = _setting("showHidden", bool)
    showChildNodeTypes = _setting("showChildNodeTypes", bool)
    del _setting

    @qt.Property(str)
    def currentNodeID(self) -> str:
        return self._current.GetID() if self._current is not None else ""

    @currentNodeID.setter
    def currentNodeID(self, nodeID: str) -> None:
        self.setCurrentNodeID(nodeID)

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        return self._scene

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        if scene is self._scene:
            return
        if self._observer is not None:
            self._observer.stop()
            self._observer = None
        self._scene = scene
        if scene is not None:
            self._observer = SceneObserver(scene, self._refresh)
            self.destroyed.connect(self._observer.stop)
        self._refresh()

    def nodes(self) -> list[slicer.vtkMRMLNode]:
        """Return the nodes on offer, in the order of the scene."""
        if self._scene is None:
            return []
        everything = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        return [node for node in everything if self._offers(node)]

    def _offers(self, node: slicer.vtkMRMLNode) -> bool:
        settings = self._settings
        if node.GetHideFromEditors() and not settings["showHidden"]:
            return False
        if any(node.IsA(kind) for kind in settings["hideChildNodeTypes"]):
            return False
        for kind, name, value in self._attributes:
            if node.IsA(kind) and (node.GetAttribute(name) is None or value not in (None, node.GetAttribute(name))):
                return False
        if settings["showChildNodeTypes"]:
            return any(node.IsA(kind) for kind in settings["nodeTypes"])
        return node.GetClassName() in settings["nodeTypes"]

    def addAttribute(self, nodeType: str, name: str, value: str | None = None) -> None:
        """Offer only nodes of the type that have this attribute."""
        self._attributes.append((nodeType, name, value))
        self._refresh()

    def nodeCount(self) -> int:
        return len(self.nodes())

    def nodeFromIndex(self, index: int) -> slicer.vtkMRMLNode | None:
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self._current

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        """Choose a node; one that is not on offer counts as None, as in Slicer."""
        self._choose(node if node in self.nodes() else None)

    def setCurrentNodeID(self, nodeID: str | None) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(nodeID) if self._scene is not None and nodeID else None)

    def addNode(self, nodeType: str = "") -> slicer.vtkMRMLNode:
        """Add a node as the person does with the box's own entry for it."""
        kind = nodeType or self._settings["nodeTypes"][0]
        name = self._scene.GenerateUniqueName(self.baseName or kind.removeprefix("vtkMRML").removesuffix("Node"))
        node = self._scene.AddNewNodeByClass(kind, name)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAdded.emit(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _onActivated(self, index: int) -> None:
        self._choose(self.nodeFromIndex(index - int(self._settings["noneEnabled"])))

    def _refresh(self) -> None:
        """Take over what changed in the scene; a box that may not show "None" falls back to its first node."""
        nodes = self.nodes()
        if self._observer is not None:
            self._observer.watch(nodes)
        node = self._current if self._current in nodes else None
        if node is None and nodes and not self._settings["noneEnabled"]:
            node = nodes[0]
        self._choose(node)

    def _choose(self, node: slicer.vtkMRMLNode | None) -> None:
        changed = node is not self._current
        self._current = node
        nodes = [None, *self.nodes()] if self._settings["noneEnabled"] else self.nodes()
        blocker = qt.QSignalBlocker(self._box)
        self._box.clear()
        self._box.addItems([self._settings["noneDisplay"] if item is None else item.GetName() for item in nodes])
        self._box.setCurrentIndex(nodes.index(node) if node in nodes else -1)
        blocker.unblock()
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(self.currentNodeID)


class ctkCollapsibleButton(qt.QAbstractButton):
    """A section with a heading; a click on the heading hides or shows what is below."""

    standIn = True
    HEADING = 24
    collapsedHeight = _stored("collapsedHeight", int, 10)
    contentsCollapsed = qt.Signal(bool)

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self.HEADING, 0, 0)
        self.toggled.connect(self._onToggled)

    @qt.Property(bool)
    def collapsed(self) -> bool:
        return not self.isChecked()

    @collapsed.setter
    def collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    def _onToggled(self, shown: bool) -> None:
        for child in self.findChildren(qt.QWidget, options=qt.Qt.FindDirectChildrenOnly):
            child.setVisible(shown)
        self.setMaximumHeight(16777215 if shown else self.HEADING)
        self.contentsCollapsed.emit(not shown)

    def hitButton(self, position: qt.QPoint) -> bool:
        return position.y() < self.HEADING

    def paintEvent(self, _event: qt.QPaintEvent) -> None:
        painter = qt.QPainter(self)
        painter.fillRect(0, 0, self.width, self.HEADING, self.palette.color(qt.QPalette.Button))
        arrow = "\N{BLACK RIGHT-POINTING TRIANGLE}" if self.collapsed else "\N{BLACK DOWN-POINTING TRIANGLE}"
        painter.drawText(8, 17, f"{arrow} {self.text}")
        painter.end()


class ctkPathLineEdit(qt.QWidget):
    """A line for the path of a file or folder."""

    standIn = True
    Dirs, Files, Drives, NoSymLinks = 1, 2, 4, 8
    Readable, Writable, Executable, Hidden = 16, 32, 64, 256
    currentPathChanged = qt.Signal(str)
    filters = _stored("filters", int, 0)
    nameFilters = _stored("nameFilters", "QStringList", [])
    settingKey = _stored("settingKey", str, "")
    showBrowseButton = _stored("showBrowseButton", bool, True)
    showHistoryButton = _stored("showHistoryButton", bool, True)

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = qt.QLineEdit(self)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        self._line.textChanged.connect(self.currentPathChanged)

    @qt.Property(str)
    def currentPath(self) -> str:
        return self._line.text

    @currentPath.setter
    def currentPath(self, path: str) -> None:
        self._line.setText(path)

    def setCurrentPath(self, path: str) -> None:
        self._line.setText(path)

    def addCurrentPathToHistory(self) -> None:
        """Do nothing: the host keeps no history."""

    def browse(self) -> None:
        raise HostRefusal("ctkPathLineEdit.browse", "it waits for a person; set currentPath")


class ctkDoubleSpinBox(qt.QDoubleSpinBox):
    """A number box."""

    standIn = True


class ctkComboBox(qt.QComboBox):
    """A box to choose from a list."""

    standIn = True
    defaultText = _stored("defaultText", str, "")
    scrollWheelEffect = _stored("scrollWheelEffect", int, 0)


class ctkSliderWidget(qt.QWidget):
    """A slider and a number box for the same value."""

    standIn = True
    STEPS = 1000
    valueChanged = qt.Signal(float)
    valueIsChanging = qt.Signal(float)
    tracking = _stored("tracking", bool, True)
    pageStep = _stored("pageStep", float, 10.0)
    tickInterval = _stored("tickInterval", float, 0.0)

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = qt.QSlider(qt.Qt.Horizontal, self)
        self._slider.setRange(0, self.STEPS)
        self._spin = qt.QDoubleSpinBox(self)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._spin.valueChanged.connect(self._onSpin)
        self._slider.valueChanged.connect(self._onSlider)

    def _ofSpin(name: str, kind: type) -> qt.Property:
        def write(self: ctkSliderWidget, value: object) -> None:
            setattr(self._spin, name, value)
            self._placeSlider()

        return qt.Property(kind, lambda self: getattr(self._spin, name), write)

    value = _ofSpin("value", float)
    minimum = _ofSpin("minimum", float)
    maximum = _ofSpin("maximum", float)
    singleStep = _ofSpin("singleStep", float)
    decimals = _ofSpin("decimals", int)
    prefix = _ofSpin("prefix", str)
    suffix = _ofSpin("suffix", str)
    del _ofSpin

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._spin.setRange(minimum, maximum)
        self._placeSlider()

    def _onSpin(self, value: float) -> None:
        self._placeSlider()
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def _onSlider(self, step: int) -> None:
        self._spin.setValue(self.minimum + (self.maximum - self.minimum) * step / self.STEPS)

    def _placeSlider(self) -> None:
        blocker = qt.QSignalBlocker(self._slider)
        span = self.maximum - self.minimum
        self._slider.setValue(round((self.value - self.minimum) / span * self.STEPS) if span else 0)
        blocker.unblock()


class qMRMLSegmentEditorWidget(qt.QLabel):
    """An empty place where Slicer shows the segment editor; the module's controller of it must be replaced in tests."""

    standIn = True
    _ofQWidget = frozenset(dir(qt.QWidget))

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__("(segment editor: in Slicer only)", parent)

    def __getattribute__(self, name: str) -> object:
        own = object.__getattribute__(self, "_ofQWidget")
        if name in own or name in ("name", "standIn") or name.startswith("_"):
            return super().__getattribute__(name)
        raise HostRefusal(f"qMRMLSegmentEditorWidget.{name}", "replace the module's editor controller in the test")

    def __setattr__(self, name: str, value: object) -> None:
        if name not in type(self)._ofQWidget:
            raise HostRefusal(f"qMRMLSegmentEditorWidget.{name}", "replace the module's editor controller in the test")
        super().__setattr__(name, value)


STAND_INS = {
    cls.__name__: cls
    for cls in (
        qMRMLWidget,
        qMRMLNodeComboBox,
        qMRMLSegmentEditorWidget,
        ctkCollapsibleButton,
        ctkComboBox,
        ctkDoubleSpinBox,
        ctkPathLineEdit,
        ctkSliderWidget,
    )
}


class UiLoader(qt.QUiLoader):
    """The QUiLoader that knows the stand-ins."""

    def createWidget(self, className: str, parent: qt.QWidget | None = None, name: str = "") -> qt.QWidget:
        if className not in STAND_INS:
            return super().createWidget(className, parent, name)
        widget = STAND_INS[className](parent)
        widget.setObjectName(name)
        return widget

    def load(self, device: qt.QIODevice, parent: qt.QWidget | None = None) -> qt.QWidget:
        tree = ET.fromstring(bytes(device.readAll().data()))
        _refuseUnknownClasses(tree)
        _resolveForeignEnums(tree)
        sceneConnections = _takeSceneConnections(tree)
        buffer = qt.QBuffer()
        buffer.setData(ET.tostring(tree))
        buffer.open(qt.QIODevice.ReadOnly)
        root = super().load(buffer, parent)
        if root is None:
            raise RuntimeError(f"the .ui file cannot be loaded: {self.errorString()}")
        for section in root.findChildren(ctkCollapsibleButton):  # what came into a folded section is hidden as well
            section._onToggled(not section.collapsed)
        named = {widget.name: widget for widget in [root, *root.findChildren(qt.QWidget)] if widget.name}
        for sender, receiver in sceneConnections:
            if not isinstance(named[receiver], qMRMLSegmentEditorWidget):
                named[sender].mrmlSceneChanged.connect(named[receiver].setMRMLScene)
        return root


def _refuseUnknownClasses(tree: ET.Element) -> None:
    for element in tree.iter("widget"):
        className = element.get("class", "")
        if FOREIGN_CLASS.fullmatch(className) and className not in STAND_INS:
            raise HostRefusal(f"the widget class {className}", f"widget {element.get('name')} of the .ui file")


def _resolveForeignEnums(tree: ET.Element) -> None:
    """Replace values such as ``ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable`` by their numbers."""
    for element in tree.iter("property"):
        for value in element:
            if value.tag not in ("enum", "set") or not FOREIGN_CLASS.match(value.text or ""):
                continue
            keys = [key.strip().split("::") for key in value.text.split("|")]
            numbers = [getattr(STAND_INS.get(key[0]), key[-1], None) for key in keys]
            if None in numbers:
                raise HostRefusal(f"the value {value.text} of the .ui property {element.get('name')}")
            value.tag, value.text = "number", str(sum(numbers))


def _takeSceneConnections(tree: ET.Element) -> list[tuple[str, str]]:
    """Remove the connections that pass a scene, which plain Qt does not know, and return (sender, receiver) names."""
    taken = []
    for connections in tree.iter("connections"):
        for connection in list(connections):
            text = {part.tag: part.text for part in connection}
            if "vtkMRML" not in f"{text['signal']}{text['slot']}":
                continue
            if text["signal"] != "mrmlSceneChanged(vtkMRMLScene*)" or text["slot"] != "setMRMLScene(vtkMRMLScene*)":
                raise HostRefusal(f"the .ui connection {text['signal']} to {text['slot']}")
            taken.append((text["sender"], text["receiver"]))
            connections.remove(connection)
    return taken


def install() -> None:
    """Put the stand-ins where Slicer has them: ``ctk``, ``slicer`` and ``qt.QUiLoader``."""
    qt.QUiLoader = UiLoader
    ctk = types.ModuleType("ctk", "The ctk widgets of the test host")
    for name, cls in STAND_INS.items():
        setattr(ctk if name.startswith("ctk") else slicer, name, cls)

    def refuse(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise HostRefusal(f"ctk.{name}")

    ctk.__getattr__ = refuse
    sys.modules["ctk"] = ctk
