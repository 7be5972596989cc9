"""The panel in Slicer's own module panel: drawing tools and messages stay in view, keys choose labels.

Checks of ``contract.py`` that need Slicer's window; ``Testing/Python/panels`` has the same for the test host.
"""

from __future__ import annotations

import slicer

WINDOWS = ((1280, 720), (1600, 1000))

WHILE_DRAWING = (
    *("taskLabel", "whyLabel", "previousButton", "nextButton", "commitButton", "emptyButton"),
    *("skipButton", "flagButton", "reasonComboBox", "labelsFrame"),
)

SECTIONS = ("study", "images", "advanced", "suggest", "annotate", "train", "review", "map")


def openSample():
    """See ``contract.openSample``, which imports this file."""
    from module import contract

    return contract.openSample()


def settled(condition, seconds=60, about=lambda: ""):
    """Process events until a condition holds."""
    from ActiveSegmentationLib.scene.scripting import waitFor

    waitFor(lambda: False, 0.2)
    assert waitFor(condition, seconds), about()


def inView(widget):
    """Whether a widget is wholly visible."""
    return widget.visible and widget.visibleRegion().boundingRect() == widget.rect


def seenHeight(widget):
    """Visible pixels of a widget, from its top."""
    return widget.visibleRegion().boundingRect().height()


def slicersScrollBar(widget):
    """The scroll bar of the area in which Slicer keeps a module."""
    while widget is not None and widget.objectName != "ScrollArea":
        widget = widget.parentWidget()
    return widget.verticalScrollBar()


def checkRoomForDrawing(module, folder):
    """While a slice is open, its buttons, labels and the top of the segments table are visible without scrolling."""
    widget = openSample()
    ui, window = widget.ui, slicer.util.mainWindow()
    table = slicer.util.findChild(ui.segmentEditorWidget, "SegmentsTableView")

    def missing():
        return [name for name in WHILE_DRAWING if not inView(getattr(ui, name))]

    for size in WINDOWS:
        window.resize(*size)
        settled(lambda: not missing(), 10, missing)
        assert seenHeight(table) >= 60, (size, seenHeight(table))
        assert ui.panelContents.width <= ui.panelScrollArea.viewport().width, size
    widget.logic.session.closeStudy()


def checkMessagesStayInView(module, folder):
    """Messages are visible wherever the panel is scrolled, and Slicer's own scroll area has nothing to scroll."""
    widget = openSample()
    ui = widget.ui
    for name in SECTIONS:
        getattr(ui, f"{name}CollapsibleButton").collapsed = False
    for size in WINDOWS:
        slicer.util.mainWindow().resize(*size)
        widget.wiring.messages.tell("Slice 6 of patient005 stored.")
        settled(lambda: True)
        bar = ui.panelScrollArea.verticalScrollBar()
        assert bar.maximum > 0
        for place in (0, bar.maximum):
            bar.value = place
            settled(lambda: True)
            assert inView(ui.messageLabel), (size, place)
        assert slicersScrollBar(widget.uiWidget).maximum == 0, size
    assert "Slice 6" in slicer.util.mainWindow().statusBar().currentMessage()
    widget.logic.session.closeStudy()


def checkLabelKeys(module, folder):
    """Keys choose labels in the embedded editor; its list and the buttons agree; keys of disabled buttons say why."""
    widget = openSample()
    ui, keys, labels = widget.ui, widget.wiring.keys(), widget.wiring.annotate.labels
    values = widget.logic.session.study.labels.values
    for key, number in (("D", 2), ("A", 0), ("S", 1)):
        keys[key]()
        assert ui.segmentEditorWidget.currentSegmentID() == f"Segment_{values[number]}"
        assert [button.checked for button in labels.buttons] == [other == number for other in range(len(values))]
    ui.segmentEditorWidget.setCurrentSegmentID(f"Segment_{values[0]}")
    settled(lambda: labels.buttons[0].checked)
    keys["Ctrl+Return"]()
    assert "Nothing is drawn" in ui.messageLabel.text
    widget.logic.session.closeStudy()


def checkWheel(module, folder):
    """No number box or list, including the editor's own, reacts to the wheel or takes the focus by it."""
    import qt

    widget = openSample()
    boxes = [box for kind in (qt.QAbstractSpinBox, qt.QComboBox) for box in widget.ui.panelContents.findChildren(kind)]
    assert len(boxes) > 10
    taking = [box.objectName for box in boxes if box.focusPolicy == qt.Qt.WheelFocus]
    assert not taking, taking
    widget.logic.session.closeStudy()


WINDOW_CHECKS = (checkRoomForDrawing, checkMessagesStayInView, checkLabelKeys, checkWheel)
"""Checks that need Slicer's main window."""
