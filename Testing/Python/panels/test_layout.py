"""A panel made for drawing: tools stay in view, keys choose labels, the wheel scrolls, texts move nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from host import qtshim
from module.module_panel import SlicerModulePanel

from ActiveSegmentationLib.panels.elided import ElidedLabel
from ActiveSegmentationLib.panels.labelButtons import LABEL_KEYS, LabelEntry
from ActiveSegmentationLib.scene import alignToSlice
from ActiveSegmentationLib.scene.session import LONGEST_NAME

qt = qtshim.build()

WINDOWS = [(560, 850), (500, 560)]
"""What Slicer's window of 1600 x 1000 and of 1280 x 720 leaves for a module."""

WHILE_DRAWING = (
    *("taskLabel", "whyLabel", "previousButton", "nextButton", "stateLabel", "commitButton"),
    *("emptyButton", "skipButton", "flagButton", "reasonComboBox", "labelsFrame", "segmentEditorWidget"),
)

TAKEN_KEYS = set("BFGRTV") | set("IQWYZ") | set("HNP")
"""Slicer's slice views, the Segment Editor, and this module's other keys."""


@pytest.fixture
def panel(host, asked):
    shown = SlicerModulePanel(host, asked, WINDOWS[1])
    yield shown
    shown.close()


def sizes(panel):
    """Both windows, one after the other."""
    for size in WINDOWS:
        panel.area.resize(*size)
        panel.host.settle(0.02)
        yield size


def test_what_is_needed_for_drawing_fits_without_scrolling(panel, asked):
    asked.click("nextButton")
    ui = asked.ui
    assert ui.studyCollapsibleButton.collapsed
    assert ui.suggestCollapsibleButton.collapsed
    for size in sizes(panel):
        for name in WHILE_DRAWING:
            assert panel.inView(getattr(ui, name)), (size, name)
        bottom = ui.segmentEditorWidget.mapTo(panel.area, qt.QPoint(0, 0)).y()
        assert panel.area.height - bottom > 200, size  # room for the segments


def test_nothing_is_cut_at_the_side(panel, asked):
    ui = asked.ui
    for section in ("study", "images", "advanced", "suggest", "strategy", "annotate", "more", "train", "review", "map"):
        getattr(ui, f"{section}CollapsibleButton").collapsed = False
    ui.newStudyButton.checked = True
    asked.settle()
    asked.wiring.messages.error(OSError("/a/very/long/path/without/any/blank" * 20))
    asked.settle()
    for size in sizes(panel):
        assert panel.contents.minimumSizeHint().width() <= panel.area.width, size
        assert ui.panelContents.width <= ui.panelScrollArea.viewport().width, size


def test_long_names_and_reasons_move_nothing(panel, asked, monkeypatch):
    asked.click("nextButton")
    names = ("commitButton", "emptyButton", "skipButton", "segmentEditorWidget")

    def places():
        return [getattr(asked.ui, name).mapTo(asked.ui.panelContents, qt.QPoint(0, 0)) for name in names]

    before = places()
    monkeypatch.setattr(asked.session, "describeTask", lambda *_: "Slice 6 of 8 · " + "patient" * 40)
    asked.wiring.update()
    assert places() == before
    assert "…" in asked.ui.taskLabel.text
    assert "patient" * 40 in asked.ui.taskLabel.toolTip
    scrollAway(asked)
    assert places() == before


def scrollAway(module, index=0):
    """The view shows another slice than the open one."""
    volume = module.session.case.volume
    alignToSlice(module.views.view.sliceNode, volume.geometry, volume.axis, index)
    module.settle()
    module.wiring.update()


def test_sections_are_the_persons_between_two_steps(drawing):
    ui = drawing.ui
    ui.suggestCollapsibleButton.collapsed = False
    drawing.session.openRequest(2)
    drawing.settle()
    assert not ui.suggestCollapsibleButton.collapsed
    drawing.session.closeStudy()
    drawing.settle()
    assert not ui.studyCollapsibleButton.collapsed
    assert ui.annotateCollapsibleButton.collapsed


def test_the_request_list_follows_and_comes_into_view(panel, asked):
    ui = asked.ui
    asked.session.openRequest(4)
    asked.settle()
    ui.suggestCollapsibleButton.collapsed = False
    asked.settle()
    item = ui.requestsTable.item(3, 0)
    assert ui.requestsTable.currentRow() == 3
    assert ui.requestsTable.viewport().rect.contains(ui.requestsTable.visualItemRect(item).center())


def test_single_keys_choose_the_label(drawing):
    keys = drawing.wiring.keys()
    values = drawing.session.study.labels.values
    assert [button.isChecked() for button in drawing.wiring.annotate.labels.buttons].count(True) <= 1
    for key, value in zip(LABEL_KEYS, values, strict=False):
        keys[key]()
        assert drawing.editor.segment == f"Segment_{value}"
        checked = [button.isChecked() for button in drawing.wiring.annotate.labels.buttons]
        assert checked == [other == value for other in values]
    keys[LABEL_KEYS[len(values)]]()
    assert f"only {len(values)} labels" in drawing.message
    drawing.session.cases.close()
    keys["A"]()
    assert "Next" in drawing.message


def test_label_keys_are_free():
    assert len(set(LABEL_KEYS)) == len(LABEL_KEYS)
    assert not set(LABEL_KEYS) & TAKEN_KEYS


def test_label_buttons_name_label_and_key(drawing):
    buttons = drawing.wiring.annotate.labels.buttons
    names = [label.name for label in drawing.session.study.labels.labels]
    assert [button.toolTip for button in buttons] == [
        f"Draw {n} ({k})." for n, k in zip(names, LABEL_KEYS, strict=False)
    ]
    buttons[2].click()
    drawing.settle()
    assert drawing.editor.segment == f"Segment_{drawing.session.study.labels.values[2]}"


def wheel(widget, host):
    """Turn the wheel over a widget as the mouse does; whether the widget took it."""
    middle = qt.QPointF(widget.width / 2, widget.height / 2)
    event = qt.QWheelEvent(
        middle, widget.mapToGlobal(middle), qt.QPoint(), qt.QPoint(0, -120), qt.Qt.NoButton, qt.Qt.NoModifier,
        qt.Qt.NoScrollPhase, False,
    )  # fmt: skip
    host.app.sendEvent(widget, event)
    host.settle()
    return event.isAccepted()


BOXES = ("countSpinBox", "trainAfterSpinBox", "seedSpinBox", "strategyComboBox", "kindComboBox", "deviceComboBox",
         "exportComboBox", "mapMethodComboBox", "reasonComboBox")  # fmt: skip


def state(widget):
    return widget.currentIndex if isinstance(widget, qt.QComboBox) else widget.value


def test_the_wheel_changes_no_value_and_takes_no_keyboard(host, asked):
    for name in BOXES:
        widget = getattr(asked.ui, name)
        if isinstance(widget, qt.QComboBox):
            widget.addItems(["one", "two", "three"])
            widget.setCurrentIndex(1)
        else:
            widget.value = 5
        before = state(widget)
        wheel(widget, host)
        assert state(widget) == before, name
        assert widget.focusPolicy != qt.Qt.WheelFocus, name
        assert not widget.hasFocus(), name


def test_the_wheel_on_a_slider_changes_nothing(host, asked):
    slider = asked.ui.uncertaintySlider
    before = slider.value
    for part in (*slider.findChildren(qt.QSlider), *slider.findChildren(qt.QDoubleSpinBox)):
        wheel(part, host)
    assert slider.value == before


def test_elided_labels_keep_both_ends_and_follow_their_width(host):
    label = qt.QLabel()
    label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
    shown = ElidedLabel(label)
    label.resize(120, 20)
    label.show()
    host.settle()
    shown.show("patient007_frame01_of_a_very_long_study_name_2024", "request 1")
    assert label.text.startswith("pat")
    assert label.text.endswith("24")
    assert label.toolTip == "patient007_frame01_of_a_very_long_study_name_2024\nrequest 1"
    label.resize(900, 20)
    host.settle()
    assert label.text == "patient007_frame01_of_a_very_long_study_name_2024"
    label.deleteLater()


# Off the slice


def test_off_the_slice_the_panel_says_so_with_a_way_back_and_a_way_to_stay(drawing):
    ui = drawing.ui
    assert not ui.offSliceFrame.isVisibleTo(drawing.widget.uiWidget)
    scrollAway(drawing, 3)
    assert ui.offSliceLabel.toolTip == "You are on slice 4; the request is slice 2."
    for name in ("commitButton", "emptyButton", "skipButton", "flagButton"):
        assert not getattr(ui, name).enabled, name
        assert "You are on slice 4" in getattr(ui, name).toolTip
    assert ui.backButton.text == "Back to slice 2"
    drawing.click("backButton")
    assert not ui.offSliceFrame.isVisibleTo(drawing.widget.uiWidget)
    assert drawing.session.task.slice.index == 1
    scrollAway(drawing, 4)
    drawing.click("offHereButton")
    assert drawing.session.task.slice.index == 4
    assert ui.emptyButton.enabled


def test_next_returns_to_the_half_drawn_request(drawing):
    drawing.draw(1, np.ones(drawing.session.case.volume.plane_shape, dtype=bool))
    scrollAway(drawing, 4)
    drawing.click("offHereButton")
    assert drawing.session.task.row is None
    assert "your choice" in drawing.ui.taskLabel.text
    drawing.click("nextButton")
    assert drawing.session.task.row.number == 1
    assert drawing.session.drafts.isDirty
    drawing.click("nextButton")
    assert drawing.session.task.row.number == 2


def test_the_view_names_slice_volume_and_request(drawing):
    volume = drawing.session.case.volume
    assert drawing.session.display.text == f"Slice 2 of 5 · {volume.id} · request 1 of 4"
    assert drawing.ui.taskLabel.toolTip == drawing.session.display.text
    assert drawing.ui.whyLabel.toolTip == "Why: no slice of this patient is annotated yet"


def test_a_long_name_is_short_in_the_view_and_whole_in_the_panel(drawing):
    name = "patient_007_" + "x" * 40 + "_frame01"
    long = replace(drawing.session.case.volume, id=name, patient=name)
    shown = drawing.session.task.describe(long, 4, LONGEST_NAME)
    assert shown == "Slice 2 of 5 · patient_007_xxxxxxxx…xxxxxxxxxxxx_frame01 · request 1 of 4"
    assert name in drawing.session.task.describe(long, 4)


def test_buttons_of_long_names_show_where_the_names_differ(drawing):
    buttons = drawing.wiring.annotate.labels
    names = [f"structure of the left hemisphere {number:02d} with a long name" for number in (1, 2)]
    buttons.show([LabelEntry(f"Segment_{n}", name, (1, 0, 0)) for n, name in enumerate(names)], "")
    assert [button.text[:5] for button in buttons.buttons] == ["A  …1", "S  …2"]
    buttons.show([LabelEntry("Segment_1", "LV", (1, 0, 0)), LabelEntry("Segment_2", "LV wall", (0, 1, 0))], "")
    assert [button.text for button in buttons.buttons] == ["A  LV", "S  LV wall"]


def test_keys_off_the_slice_store_nothing_and_say_why(drawing):
    keys = drawing.wiring.keys()
    drawn = np.ones(drawing.session.case.volume.plane_shape, dtype=bool)
    drawing.draw(1, drawn)
    scrollAway(drawing, 3)
    for key in ("Ctrl+Return", "Ctrl+E", "Ctrl+K", "Ctrl+J"):
        keys[key]()
        assert "You are on slice 4" in drawing.message, key
    study = drawing.session.study
    assert not study.annotations()
    assert not study.skipped()
    assert not study.flagged()
