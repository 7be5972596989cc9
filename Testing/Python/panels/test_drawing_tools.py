"""Drawing tools: the embedded editor offers only the study's nodes, and several channels can be viewed."""

from __future__ import annotations

import json

import numpy as np
import SimpleITK
import slicer

from ActiveSegmentationLib.panels.segmentEditor import SegmentEditor


class FakeWidget:
    """Records calls of the editor widget."""

    def setMRMLSegmentEditorNode(self, node):
        self.node = node

    def setEffectNameOrder(self, names):
        self.effects = names


def test_segments_can_neither_be_added_nor_removed_in_the_editor(host):
    widget = FakeWidget()
    editor = SegmentEditor(widget)
    assert widget.addRemoveSegmentButtonsVisible is False
    assert widget.unorderedEffectsVisible is False
    changes = []
    editor.toolChanged.connect(lambda: changes.append(1))
    widget.node.SetSelectedSegmentID("Segment_2")
    assert changes == [1]
    widget.node.SetAttribute("BrushAbsoluteDiameter", "3")
    widget.node.SetSelectedSegmentID("Segment_2")
    assert changes == [1]
    slicer.mrmlScene.RemoveNode(widget.node)


def write(folder, channels):
    """Two volumes as nnU-Net has them, one file a channel."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    planes = np.zeros((4, 20, 24), np.float32)
    planes[:, 4:12, 4:12] = 1.0
    for number in range(2):
        for channel in range(channels):
            save(planes * (10 + channel), folder / "imagesTr" / f"brain_00{number}_000{channel}.nii.gz")
        save((planes > 0).astype(np.uint8), folder / "labelsTr" / f"brain_00{number}.nii.gz")
    names = {str(channel): f"m{channel}" for channel in range(channels)}
    labels = {"background": 0, "tumour": 1}
    about = {"channel_names": names, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def save(array, path):
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 4.0))
    SimpleITK.WriteImage(image, str(path))


def openFirst(module, folder, channels):
    from ActiveSegmentationLib.cohort import SliceId

    study = module.logic.createStudy(folder / "study", write(folder / "cohort", channels))
    module.session.openSlice(SliceId(study.cohort.volumes[0].id, 1))
    module.settle()
    return study


def test_a_second_channel_is_chosen_in_the_panel(module, tmp_path):
    study = openFirst(module, tmp_path, 2)
    box = module.ui.channelComboBox
    assert module.ui.channelFrame.isVisibleTo(module.widget.uiWidget)
    assert [box.itemText(row) for row in range(box.count)] == ["1 of 2", "2 of 2"]
    box.setCurrentIndex(1)
    box.activated.emit(1)
    module.settle()
    assert slicer.util.arrayFromVolume(module.session.case.volumeNode).max() == 11.0
    module.session.openSlice(type(module.session.task.slice)(study.cohort.volumes[1].id, 1))
    module.settle()
    assert box.currentIndex == 1


def test_with_one_channel_there_is_nothing_to_choose(module, tmp_path):
    openFirst(module, tmp_path, 1)
    assert not module.ui.channelFrame.isVisibleTo(module.widget.uiWidget)
