"""Nothing of the module remains when it is closed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import pytest
import slicer

from ActiveSegmentationLib.scene.sceneWatch import EDITS

from .flow import observers, ownedNodes
from .flow_steps import STEPS, nothingOpen, predictionShown
from .module_helpers import ROOT, OpenModule


def counts(flow):
    scene = slicer.mrmlScene
    view = flow.module.views.view
    watched = (scene, view.sliceNode, view.compositeNode, slicer.app.applicationLogic())
    actors = view.renderer.GetActors2D().GetNumberOfItems()
    return scene.GetNumberOfNodes(), actors, [observers(thing) for thing in watched]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_closing_leaves_nothing_behind(flow, step):
    found = []
    for number in range(5 if step in (nothingOpen, predictionShown) else 2):
        flow.folder = flow.tmp / f"study{number}"
        flow.expected = {}
        step(flow)
        wiring, client = flow.module.wiring, flow.module.work.client
        segmentation = flow.case.segmentationNode.GetSegmentation() if flow.case is not None else None
        flow.close()
        timers = (wiring._timer, wiring.annotate._autosave, wiring.annotate._tick, client._watch)
        assert not any(timer.isActive() for timer in timers)
        assert flow.module.editor.nodes == (None, None)
        assert not ownedNodes()
        assert slicer.mrmlScene.GetFirstNodeByName("ActiveSegmentation uncertainty") is None
        if segmentation is not None:
            assert not any(segmentation.HasObserver(event) for event in EDITS)
        found.append(counts(flow))
        flow.open()
    assert all(count == found[0] for count in found), found


def test_leaving_the_module_lets_go_of_the_parameters(drawing):
    node = slicer.mrmlScene.GetSingletonNode("ActiveSegmentation", "vtkMRMLScriptedModuleNode")
    shown = observers(node)
    drawing.module.loaded.exit()
    drawing.session.changed.emit()
    drawing.settle()
    left = observers(node)
    assert left < shown
    slicer.mrmlScene.Clear(0)
    drawing.settle()
    drawing.module.loaded.enter()
    drawing.settle()
    node = slicer.mrmlScene.GetSingletonNode("ActiveSegmentation", "vtkMRMLScriptedModuleNode")
    assert observers(node) == shown


def test_a_busy_worker_is_gone_with_the_module(flow):
    flow.module.work.index(flow.cohorts / "one", lambda cohort, labels: None)
    client = flow.module.work.client
    assert flow.host.waitFor(lambda: client.pid, 30)
    pid = client.pid
    flow.module.work.index(flow.cohorts / "two", lambda cohort, labels: None)
    flow.close()
    assert client.state == "stopped"
    assert not client.busy
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_shortcuts_are_given_back(host):
    import qt

    from ActiveSegmentationLib.panels.shortcuts import Shortcuts

    window = qt.QMainWindow()
    pressed = []
    shortcuts = Shortcuts(window, {"Ctrl+Return": lambda *args: pressed.append(1), "N": lambda *args: None})
    shortcuts.setEnabled(True)
    assert len(window.findChildren(qt.QShortcut)) == 2
    shortcuts.remove()
    host.settle()
    assert not window.findChildren(qt.QShortcut)


def test_settings_of_another_version_do_not_matter(host, views, monkeypatch):
    import qt

    qt.QSettings().setValue("ActiveSegmentation/Device", "abacus")
    module = OpenModule(host, monkeypatch)
    assert module.ui.deviceComboBox.currentIndex == 0
    assert module.work.device == "auto"
    assert not host.errors


def test_without_torch_the_first_computation_says_how_to_install(drawing, monkeypatch):
    from ActiveSegmentationLib.panels import dependencies

    class Absent:
        PackageNotFoundError = metadata.PackageNotFoundError

        @staticmethod
        def version(name):
            raise Absent.PackageNotFoundError(name)

    monkeypatch.setattr(dependencies, "metadata", Absent)
    drawing.reload()
    assert drawing.module.message == ""
    drawing.module.logic.openStudy(drawing.folder)
    drawing.settle()
    assert "PyTorch" not in drawing.module.message
    assert not drawing.module.work.running
    drawing.module.click("suggestButton")
    assert "PyTorch" in drawing.module.message
    assert "Extensions Manager" in drawing.module.message
    assert not drawing.module.work.running
    drawing.session.openRequest(2)
    drawing.module.draw(1, drawing.mask())
    drawing.module.click("commitButton")  # annotating needs none of it
    assert len(drawing.study.annotations()) == 1


def test_loading_the_module_imports_nothing_heavy():
    code = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "Testing" / "Python")!r}]
from host.host import start
host = start()
from ActiveSegmentationLib.panels import wiring
from module.module_helpers import MODULE, HostEditor, HostViews
views, wiring.SegmentEditor = HostViews(), lambda widget: HostEditor()
wiring.SlicerViews = lambda: views
loaded = host.loadModule(MODULE)
loaded.enter()
host.settle(0.1)
assert not host.errors
print("heavy:", sorted(set(sys.modules) & {{"torch", "sklearn", "monai"}}))
host.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "heavy: []" in done.stdout, done.stdout + done.stderr


def test_a_display_node_that_a_copy_shares_stays(host, tmp_path):
    from ActiveSegmentationLib.scene.ownership import removeNodes

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    node.CreateDefaultDisplayNodes()
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "copy")
    copy.SetAndObserveDisplayNodeID(node.GetDisplayNode().GetID())
    display = node.GetDisplayNode()
    removeNodes([node])
    assert slicer.mrmlScene.IsNodePresent(display)
    removeNodes([copy])
    assert not slicer.mrmlScene.IsNodePresent(display)
