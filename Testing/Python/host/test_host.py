"""The test host itself, with a small module written for it."""

from __future__ import annotations

import enum
import pathlib
import sys
from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import pytest
import slicer
import vtk

from . import HostRefusal, lint, qtshim
from .host import start

MODULE = '''
"""A module as Slicer's template has it, in small."""

import enum
import pathlib
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Mode(enum.Enum):
    FAST = 1
    EXACT = 2

    def label(self):
        return self.name.lower()


@parameterNodeWrapper
class TinyParameters:
    inputVolume: vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(-100, 200)] = 100
    rounds: Annotated[int, WithinRange(1, 9)] = 2
    folder: pathlib.Path
    mode: Mode = Mode.EXACT
    color: Annotated[str, Choice(["red", "green"])] = "green"
    invert: bool = False
    person: str = "nobody"


class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Tiny")
        self.parent.categories = ["Examples"]


class TinyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = None
        self.entered = 0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.root = slicer.util.loadUI(self.resourcePath("UI/Tiny.ui"))
        self.layout.addWidget(self.root)
        self.ui = slicer.util.childWidgetVariables(self.root)
        self.root.setMRMLScene(slicer.mrmlScene)
        self.logic = TinyLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onEndClose)
        self.ui.applyButton.clicked.connect(self.onApply)
        self.bind()

    def cleanup(self):
        self.unbind()
        self.removeObservers()
        self.root.setMRMLScene(None)

    def enter(self):
        self.entered += 1

    def bind(self):
        self.parameters = TinyParameters(self.logic.getParameterNode())
        self.tag = self.parameters.connectGui(self.ui)
        self.addObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.onModified)
        self.onModified()

    def unbind(self):
        if self.parameters is not None:
            self.parameters.disconnectGui(self.tag)
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.onModified)
        self.parameters = None

    def onModified(self, caller=None, event=None):
        self.ui.applyButton.enabled = self.parameters.inputVolume is not None

    def onStartClose(self, caller, event):
        self.unbind()

    def onEndClose(self, caller, event):
        if self.parent.isEntered:
            self.bind()

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("It failed."), waitCursor=True):
            self.ui.resultLabel.text = str(self.logic.largest(self.parameters.inputVolume))


class TinyLogic(ScriptedLoadableModuleLogic):
    def largest(self, volume):
        largest = int(slicer.util.arrayFromVolume(volume).max())
        if largest < 0:
            raise ValueError("there is nothing but negative values")
        return largest
'''

WIDGETS = """
<widget class="ctkCollapsibleButton" name="inputs"><property name="text"><string>Inputs</string></property>
 <layout class="QVBoxLayout" name="inputsLayout">
  <item><widget class="qMRMLNodeComboBox" name="inputSelector">
   <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
   <property name="noneEnabled"><bool>true</bool></property>
   <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property></widget></item>
  <item><widget class="ctkSliderWidget" name="thresholdSlider">
   <property name="SlicerParameterName" stdset="0"><string>threshold</string></property></widget></item>
  <item><widget class="QSpinBox" name="roundsBox">
   <property name="SlicerParameterName" stdset="0"><string>rounds</string></property></widget></item>
  <item><widget class="ctkPathLineEdit" name="folderEdit">
   <property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable</set></property>
   <property name="SlicerParameterName" stdset="0"><string>folder</string></property></widget></item>
  <item><widget class="ctkComboBox" name="modeBox">
   <property name="SlicerParameterName" stdset="0"><string>mode</string></property></widget></item>
  <item><widget class="QComboBox" name="colorBox">
   <property name="SlicerParameterName" stdset="0"><string>color</string></property></widget></item>
  <item><widget class="QCheckBox" name="invertBox">
   <property name="SlicerParameterName" stdset="0"><string>invert</string></property></widget></item>
  <item><widget class="QLineEdit" name="personEdit">
   <property name="SlicerParameterName" stdset="0"><string>person</string></property></widget></item>
 </layout></widget>
"""
BELOW = """
<item><widget class="QPushButton" name="applyButton">
 <property name="text"><string>Apply</string></property></widget></item>
<item><widget class="QLabel" name="resultLabel"/></item>
<item><widget class="qMRMLSegmentEditorWidget" name="editor"/></item>
"""
CONNECTION = (
    "<connection><sender>Tiny</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
    "<receiver>{}</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
)


def uiText(content: str, receivers: tuple[str, ...] = ()) -> str:
    """Wrap items into a .ui file whose root is the qMRMLWidget "Tiny"."""
    connections = "".join(CONNECTION.format(name) for name in receivers)
    return (
        f'<ui version="4.0"><class>Tiny</class><widget class="qMRMLWidget" name="Tiny">'
        f'<layout class="QVBoxLayout" name="rootLayout">{content}</layout></widget>'
        f"<connections>{connections}</connections></ui>"
    )


@pytest.fixture
def moduleFile(tmp_path):
    """The tiny module, written to a folder of its own."""
    folder = tmp_path / "Tiny"
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Tiny.py").write_text(MODULE, encoding="utf-8")
    text = uiText(f"<item>{WIDGETS}</item>{BELOW}", ("inputSelector", "editor"))
    (folder / "Resources" / "UI" / "Tiny.ui").write_text(text, encoding="utf-8")
    return folder / "Tiny.py"


@pytest.fixture
def tiny(host, moduleFile):
    loaded = host.loadModule(moduleFile)
    loaded.enter()
    return loaded


def addVolume(values=None, name="volume"):
    array = np.arange(24).reshape(2, 3, 4) if values is None else values
    return slicer.util.addVolumeFromArray(np.asarray(array, dtype=np.int16), name=name)


def takeErrors(host):
    """Return the collected errors as one text, and let the test pass in spite of them."""
    text = "\n".join(host.errors)
    host.errors.clear()
    return text


# The module's life


def testStartGivesTheSameHost(host):
    assert start() is host


def testSetupEnterExitAndCleanup(host, moduleFile):
    loaded = host.loadModule(moduleFile)
    assert loaded.module.parent.title == "Tiny"
    assert not loaded.widget.parent.isEntered
    loaded.enter()
    assert loaded.widget.parent.isEntered
    assert loaded.widget.entered == 1
    assert slicer.modules.TinyWidget is loaded.widget
    assert slicer.modules.tiny.widgetRepresentation().self() is loaded.widget
    host.reset()
    assert loaded.widget.parameters is None
    assert not hasattr(slicer.modules, "tiny")
    assert "Tiny" not in sys.modules


def testAModuleWhoseSetupFailsLeavesNothing(host, moduleFile):
    (moduleFile.parent / "Resources" / "UI" / "Tiny.ui").unlink()
    with pytest.raises(RuntimeError, match="file not found"):
        host.loadModule(moduleFile)
    assert not hasattr(slicer.modules, "tiny")
    assert "Tiny" not in sys.modules


def testPrepareReplacesPartsBeforeSetup(host, moduleFile):
    class OtherLogic(slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic):
        moduleName = "Tiny"

    loaded = host.loadModule(moduleFile, prepare=lambda python: setattr(python, "TinyLogic", OtherLogic))
    assert isinstance(loaded.widget.logic, OtherLogic)


def testApplyRunsTheLogic(tiny):
    ui = tiny.widget.ui
    volume = addVolume()
    assert not ui.applyButton.enabled
    ui.inputSelector.setCurrentNode(volume)
    assert ui.applyButton.enabled
    ui.applyButton.click()
    assert ui.resultLabel.text == "23"


def testSceneClear(host, tiny):
    ui = tiny.widget.ui
    ui.inputSelector.setCurrentNode(addVolume())
    ui.thresholdSlider.value = 42
    host.scene.Clear(0)
    assert ui.inputSelector.currentNode() is None
    assert ui.inputSelector.nodeCount() == 0
    assert not ui.applyButton.enabled
    assert tiny.widget.parameters.threshold == 100
    assert ui.thresholdSlider.value == 100


def testPanelPicture(host, tiny, tmp_path):
    tiny.screenshot(tmp_path / "panel.png")
    image = qtshim.build().QImage(str(tmp_path / "panel.png"))
    assert image.width() > 100
    assert len({image.pixel(x, y) for x in range(0, image.width(), 3) for y in range(0, image.height(), 3)}) > 10


# Parameters


def testNodeBoxesFollowTheScene(tiny):
    box = tiny.widget.ui.inputSelector
    chosen = []
    box.currentNodeChanged.connect(chosen.append)
    first, second = addVolume(name="first"), addVolume(name="second")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert [node.GetName() for node in box.nodes()] == ["first", "second", "labels"]  # a label map is a scalar volume
    assert box.currentNode() is None
    box.currentNodeID = second.GetID()
    assert box.currentNode() is second
    second.SetName("renamed")
    assert box._box.currentText == "renamed"
    slicer.mrmlScene.RemoveNode(second)
    assert box.currentNode() is None
    box.noneEnabled = False
    assert box.currentNode() is first
    assert chosen == [second, None, first]


def testWidgetsWriteParameters(tiny):
    ui, parameters = tiny.widget.ui, tiny.widget.parameters
    ui.thresholdSlider.value = 42
    ui.roundsBox.value = 40
    ui.folderEdit.currentPath = "/somewhere"
    ui.modeBox.currentIndex = 0
    ui.colorBox.setCurrentText("red")
    ui.invertBox.checked = True
    ui.personEdit.text = "Ada"
    volume = addVolume()
    ui.inputSelector.setCurrentNode(volume)
    assert (parameters.threshold, parameters.rounds, parameters.color) == (42.0, 9, "red")
    assert (parameters.folder, parameters.mode.name) == (pathlib.Path("/somewhere"), "FAST")
    assert (parameters.invert, parameters.person, parameters.inputVolume) == (True, "Ada", volume)
    node = parameters.parameterNode
    assert node.GetParameter("mode") == "FAST"
    assert node.GetNodeReferenceID("inputVolume") == volume.GetID()


def testParametersWriteWidgets(tiny):
    ui, parameters = tiny.widget.ui, tiny.widget.parameters
    assert (ui.folderEdit.currentPath, ui.modeBox.currentText, ui.colorBox.currentText) == (".", "exact", "green")
    assert (ui.roundsBox.minimum, ui.roundsBox.maximum, ui.thresholdSlider.maximum) == (1, 9, 200.0)
    parameters.threshold = -7.5
    parameters.rounds = 3
    parameters.color = "red"
    parameters.invert = True
    parameters.person = "Ada"
    parameters.inputVolume = addVolume()
    assert (ui.thresholdSlider.value, ui.roundsBox.value, ui.colorBox.currentText) == (-7.5, 3, "red")
    assert (ui.invertBox.checked, ui.personEdit.text) == (True, "Ada")
    assert ui.inputSelector.currentNode() is parameters.inputVolume


def testDisconnectedWidgetsWriteNothing(tiny):
    ui, parameters = tiny.widget.ui, tiny.widget.parameters
    parameters.disconnectGui(tiny.widget.tag)
    ui.personEdit.text = "Ada"
    parameters.rounds = 5
    assert (parameters.person, ui.roundsBox.value) == ("nobody", 2)
    tiny.widget.tag = parameters.connectGui(tiny.widget.root)
    assert (ui.personEdit.text, ui.roundsBox.value) == ("nobody", 5)


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@pytest.fixture
def parameters(host):
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    hints = {
        "rounds": Annotated[int, WithinRange(1, 9)],
        "share": float,
        "level": Level,
        "names": list[str],
        "tags": dict[str, str],
        "color": Annotated[str, Choice(["red", "green"])],
        "folder": Annotated[pathlib.Path, Default(generator=lambda: pathlib.Path("here"))],
        "volume": Optional[slicer.vtkMRMLScalarVolumeNode],  # noqa: UP045  (as modules write it)
    }
    wrapper = parameterNodeWrapper(type("Some", (), {"__annotations__": hints, "rounds": 2, "volume": None}))
    return wrapper(host.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def testParameterDefaults(parameters):
    assert (parameters.rounds, parameters.share, parameters.level, parameters.color) == (2, 0.0, Level.LOW, "red")
    assert (parameters.names, parameters.tags, parameters.folder) == ([], {}, pathlib.Path("here"))
    assert parameters.volume is None


def testParametersKeepTheirTypes(parameters):
    parameters.names = ["b", "a"]
    parameters.tags = {"x": "y"}
    parameters.share = 3
    again = type(parameters)(parameters.parameterNode)
    assert (again.names, again.tags, again.share) == (["b", "a"], {"x": "y"}, 3.0)
    with pytest.raises(HostRefusal, match="assign a new value"):
        again.names.append("c")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("rounds", np.int64(3), TypeError),
        ("rounds", 3.0, TypeError),
        ("rounds", True, TypeError),
        ("rounds", 10, ValueError),
        ("folder", "text", TypeError),
        ("level", "LOW", TypeError),
        ("names", ["a", 1], TypeError),
        ("names", ("a",), TypeError),
        ("color", "blue", ValueError),
        ("volume", "vtkMRMLScalarVolumeNode1", TypeError),
        ("typo", 3, AttributeError),
    ],
)
def testParametersAreStrict(parameters, name, value, error):
    with pytest.raises(error):
        setattr(parameters, name, value)


def testUnreadableParameterKeepsItsLastValue(parameters, capsys):
    parameters.level = Level.HIGH
    assert parameters.level is Level.HIGH
    parameters.parameterNode.SetParameter("level", "NONSENSE")
    assert parameters.level is Level.HIGH
    assert "NONSENSE" in capsys.readouterr().err


def testUnfitWidgetsAreRefused(parameters):
    qt = qtshim.build()
    pairs = {"folder": qt.QLineEdit(), "names": qt.QLineEdit(), "rounds": qt.QDoubleSpinBox(), "share": qt.QSlider()}
    for name, widget in pairs.items():
        with pytest.raises(RuntimeError, match="no connector"):
            parameters.connectParametersToGui({name: widget})
    with pytest.raises(ValueError, match="no parameter"):
        parameters.connectParametersToGui({"typo": qt.QSpinBox()})


# Refusals


@pytest.mark.parametrize("name", ["cli", "qMRMLSliceWidget", "modules.dicom", "app.coreIOManager", "app.ioManager"])
def testMissingPartsOfSlicerAreRefused(host, name):
    *owners, last = name.split(".")
    owner = slicer
    for part in owners:
        owner = getattr(owner, part)
    with pytest.raises(HostRefusal, match="test host does not provide"):
        getattr(owner, last)
    assert not hasattr(owner, last)


def testDialogsAreRefused(host):
    qt = qtshim.build()
    for call in (qt.QMessageBox.question, qt.QFileDialog.getOpenFileName, qt.QMessageBox().exec_):
        with pytest.raises(HostRefusal, match="test host does not provide"):
            call(None, "title", "text")
    assert slicer.util.confirmYesNoDisplay("Really?") is False
    slicer.util.errorDisplay("This does not wait.")


def testSegmentEditorIsRefused(tiny):
    editor = tiny.widget.ui.editor
    with pytest.raises(HostRefusal, match="test host does not provide"):
        editor.setSegmentationNode(None)
    with pytest.raises(HostRefusal, match="test host does not provide"):
        editor.readOnly = True
    editor.visible = False


@pytest.mark.parametrize("className", ["ctkRangeWidget", "qMRMLSegmentsTableView", "qSlicerWidget"])
def testUnknownWidgetClassesAreRefused(host, tmp_path, className):
    path = tmp_path / "other.ui"
    path.write_text(uiText(f'<item><widget class="{className}" name="other"/></item>'), encoding="utf-8")
    with pytest.raises(NotImplementedError, match=className):
        slicer.util.loadUI(str(path))


def testPackaging(host, tmp_path):
    from slicer import packaging

    assert packaging.pip_check(["numpy>=1.20", "pytest"])
    assert not packaging.pip_check("no-such-package-anywhere")
    assert not packaging.pip_check("numpy<1")
    (tmp_path / "requirements.txt").write_text("# needed\nnumpy>=1.20  # for arrays\n", encoding="utf-8")
    requirements = packaging.load_requirements(tmp_path / "requirements.txt")
    assert [str(item) for item in requirements] == ["numpy>=1.20"]
    assert packaging.pip_ensure("no-such-package-anywhere", requester="Tiny") is None
    with pytest.raises(HostRefusal):
        slicer.util.pip_install("numpy")


# Qt


def testPropertiesAreAttributes(host):
    qt = qtshim.build()
    button = qt.QPushButton("a")
    button.name = "the button"
    button.text = "b"
    assert (button.text, button.name, button.objectName, button.isEnabled()) == ("b", "the button", "the button", True)
    with pytest.raises(AttributeError, match="creating new attributes on C\\+\\+ objects is not allowed"):
        button.txet = "c"
    with pytest.raises(ValueError, match="cannot be set"):
        button.width = 3

    class Mine(qt.QPushButton):
        pass

    mine = Mine()
    mine.anything = 1
    assert mine.anything == 1


def testSlotExceptionsAreCollected(host, tiny):
    tiny.widget.ui.inputSelector.setCurrentNode(addVolume(np.full((2, 2, 2), -1)))
    tiny.widget.ui.applyButton.click()
    assert "there is nothing but negative values" in takeErrors(host)
    for interval in (0, 1):
        qtshim.build().QTimer.singleShot(interval, lambda: 1 / 0)
        assert host.waitFor(lambda: host.errors)
        assert "ZeroDivisionError" in takeErrors(host)


def testObserverExceptionsAreCollected(host):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_arguments: 1 / 0)
    node.Modified()
    assert "ZeroDivisionError" in takeErrors(host)


def testSettingsAreTemporary(host, tmp_path):
    qt = qtshim.build()
    qt.QSettings().setValue("Tiny/person", "Ada")
    assert slicer.util.settingsValue("Tiny/person", "") == "Ada"
    assert Path(qt.QSettings().fileName()).is_relative_to(Path(qt.QDir.tempPath()))
    host.reset()
    assert slicer.util.settingsValue("Tiny/person", "nobody") == "nobody"


def testProcessEcho(host):
    process, ended = qtshim.build().QProcess(), []
    process.finished.connect(lambda exitCode: ended.extend([exitCode]))
    process.start(sys.executable, ["-c", "import sys; print(sys.stdin.readline().upper(), end='', flush=True)"])
    process.write(b"hello\n")
    assert host.waitFor(lambda: ended, seconds=20)
    assert (ended, process.readAllStandardOutput().data()) == ([0], b"HELLO\n")


def testWaitForGivesUp(host):
    assert not host.waitFor(lambda: False, seconds=0.02)


def testImageFromBytes(host):
    picture = qtshim.build().QPixmap()
    assert picture.loadFromData(b"P5 3 2 255\n" + bytes(6), "PGM")
    assert (picture.width(), picture.height()) == (3, 2)


def testUtilitiesThatNeedTheApplication(host):
    assert Path(slicer.util.tempDirectory()).is_dir()
    assert slicer.util.mainWindow() is None
    with slicer.util.WaitCursor(), slicer.util.RenderBlocker():
        host.settle()
    assert slicer.app.layoutManager() is None
    assert slicer.app.testingEnabled()
    assert slicer.app.commandOptions().noMainWindow


# Slice view


@pytest.fixture
def oblique(host):
    """An oblique volume of 5 slices, all black but a bright block of 20 x 30 pixels in slice 2."""
    values = np.zeros((5, 40, 60))
    values[2, 10:30, 15:45] = 100
    volume = addVolume(values)
    transform = vtk.vtkTransform()
    transform.RotateX(25)
    transform.RotateY(15)
    transform.Scale(1, 1, 4)
    volume.SetIJKToRASMatrix(transform.GetMatrix())
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 100)
    return volume


def testSliceViewShowsTheSliceOfAnObliqueVolume(oblique, tmp_path):
    from .views import SliceView

    with SliceView(size=(240, 160)) as view:
        bright = []
        for k in range(5):
            view.showVolume(oblique, k)
            assert view.sliceLogic.GetSliceIndexFromOffset(view.sliceLogic.GetSliceOffset(), oblique) == k + 1
            bright.append(int((view.render()[..., 0] > 200).sum()))
        assert bright[:2] + bright[3:] == [0, 0, 0, 0]
        assert bright[2] == pytest.approx(20 * 30 * (160 / 40) ** 2, rel=0.1)
        view.save(tmp_path / "slice.png")
    assert (tmp_path / "slice.png").read_bytes().startswith(b"\x89PNG")


def testSliceViewShowsSegmentsAndActors(oblique):
    from .views import SliceView

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(oblique)
    segment = segmentation.GetSegmentation().AddEmptySegment("one", "one", [1, 0, 0])
    mask = np.zeros((5, 40, 60), np.uint8)
    mask[2, 15:25, 20:40] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, oblique)
    with SliceView(size=(240, 160)) as view:
        view.showVolume(oblique, 2)
        red, green, _blue = (view.render()[..., channel].astype(int) for channel in range(3))
        assert (red > green + 40).sum() == pytest.approx(10 * 20 * (160 / 40) ** 2, rel=0.1)
        text = vtk.vtkTextActor()
        text.SetInput("Slice 3")
        text.GetTextProperty().SetColor(0, 1, 0)
        view.renderer.AddViewProp(text)
        red, green, _blue = (view.render()[..., channel].astype(int) for channel in range(3))
        assert (green > red + 100).sum() > 20


# Checks of the source


def testLintFindsNothingInTheTinyModule(host, moduleFile):
    assert lint.lint(moduleFile.parent, moduleFile.parent / "Resources" / "UI" / "Tiny.ui") == []


def testLintFindings(host, moduleFile):
    (moduleFile.parent / "bad.py").write_text(
        "import torch.nn\n"
        "def f(self):\n"
        "    import sklearn\n"
        "    self.ui.applyButton.txet = 'a'\n"
        "    self.ui.applyButton.text = self.ui.nosuch.text\n"
        "    self.ui.personEdit.text()\n"
        "    self.ui.applyButton.connect('clicked()', f)\n",
        encoding="utf-8",
    )
    found = lint.lint(moduleFile.parent, moduleFile.parent / "Resources" / "UI" / "Tiny.ui")
    assert [finding.split("bad.py:")[1] for finding in found] == [
        "4: QPushButton applyButton has no property txet",
        "5: the .ui file has no widget nosuch",
        "6: personEdit.text of QLineEdit is a property, not a function",
        "7: connect by signal, not by text",
        "1: torch is imported at file scope",
    ]
