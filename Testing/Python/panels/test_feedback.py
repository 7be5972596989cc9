"""Messages stay in view, a busy button stops its job, and a key acts on the strokes at the time it is pressed."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from host import qtshim
from module.held_client import heldIn
from module.module_panel import SlicerModulePanel

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.charts import learningCurveChart
from ActiveSegmentationLib.scene.running import TITLES, Running, duration
from ActiveSegmentationLib.worker.client import Job

qt = qtshim.build()

WINDOWS = [(560, 850), (500, 560)]
"""What Slicer's window of 1600 x 1000 and of 1280 x 720 leaves for a module."""


@pytest.fixture
def panel(host, asked):
    shown = SlicerModulePanel(host, asked, WINDOWS[1])
    yield shown
    shown.close()


def mask(module):
    drawn = np.zeros(module.session.case.volume.plane_shape, dtype=bool)
    drawn[8:17, 5:17] = True
    return drawn


VOLUMES = "Predicting volumes"


def running(name="suggest", **values):
    job = Job(name, {}, id="1", active=True)
    return Running(job, TITLES[name], **values)


def test_messages_and_progress_stay_in_view_whatever_is_scrolled(asked, panel):
    for section in ("study", "images", "advanced", "suggest", "annotate", "train", "review", "map"):
        getattr(asked.ui, f"{section}CollapsibleButton").collapsed = False
    asked.work.running = [running(done=3, total=12)]
    asked.wiring.messages.error(BadInput("The image cannot be read.", where="patient007", advice="Copy it again."))
    asked.wiring.update()
    bar = asked.ui.panelScrollArea.verticalScrollBar()
    shown = (asked.ui.messageLabel, asked.ui.jobLabel, asked.ui.jobProgressBar, asked.ui.cancelButton)
    for size in WINDOWS:
        panel.area.resize(*size)
        panel.host.settle(0.02)
        for place in (bar.minimum, bar.maximum):
            bar.value = place
            assert all(panel.inView(widget) for widget in shown), (size, place)
        assert panel.area.verticalScrollBar().maximum == 0  # Slicer's own scroll area has nothing to scroll
        assert bar.maximum > 0
    asked.work.running = []


def test_messages_are_in_the_status_bar_too(asked, monkeypatch):
    messages = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: messages.append(text))
    asked.wiring.messages.tell("Slice 6 stored.")
    asked.wiring.messages.error(BadInput("No room.", where="disk", advice="Free some."))
    assert messages[0] == "Slice 6 stored."
    assert "No room" in messages[1]


def test_commit_flag_and_skip_are_confirmed(drawing):
    drawing.draw(1, mask(drawing))
    sliceId = drawing.session.task.slice
    drawing.click("commitButton")
    assert drawing.message == f"Slice 2 of {sliceId.volume} stored."
    drawing.click("flagButton")
    assert drawing.message.startswith("Flagged: slice 4")
    drawing.click("skipButton")
    assert "Slice 4" in drawing.message
    assert "skipped" in drawing.message
    drawing.click("emptyButton")
    assert "none of the structures" in drawing.message


def test_a_committed_slice_cannot_be_skipped_but_flagged(drawing):
    drawing.draw(1, mask(drawing))
    sliceId = drawing.session.task.slice
    assert drawing.ui.skipButton.enabled
    drawing.click("commitButton")
    drawing.session.openSlice(sliceId)
    drawing.wiring.update()
    assert not drawing.ui.skipButton.enabled
    assert "committed already" in drawing.ui.skipButton.toolTip
    assert drawing.ui.flagButton.enabled


def test_a_key_right_after_a_stroke_commits_it(drawing, monkeypatch):
    keys = drawing.wiring.keys()
    drawing.wiring.update()
    monkeypatch.setattr(drawing, "settle", lambda: None)  # no turn of the event loop between stroke and key
    drawing.draw(1, mask(drawing))
    assert not drawing.ui.commitButton.enabled
    keys["Ctrl+Return"]()
    assert len(drawing.session.study.annotations()) == 1


def test_a_key_on_a_grey_button_says_why(drawing):
    keys = drawing.wiring.keys()
    keys["Ctrl+Return"]()
    assert "Nothing is drawn" in drawing.message
    keys["H"]()
    assert "Train a model first" in drawing.message
    drawing.draw(1, mask(drawing))
    keys["Ctrl+E"]()
    assert "Something is drawn" in drawing.message
    assert not drawing.session.study.annotations()


def test_a_busy_button_stops_its_job(asked, monkeypatch):
    worker = heldIn(monkeypatch, asked.work)
    clock = [100.0]
    asked.wiring.suggest.clock = lambda: clock[0]
    asked.click("suggestButton")
    assert asked.ui.suggestButton.text == "Stop"
    assert "Choosing slices" in asked.ui.suggestButton.toolTip
    clock[0] += 0.2
    asked.click("suggestButton")  # the second half of a double click
    assert not worker.cancelled
    clock[0] += 5.0
    asked.click("suggestButton")
    assert worker.cancelled == worker.jobs[-1:]
    assert asked.ui.suggestButton.text == "Stopping ..."
    assert not asked.ui.suggestButton.enabled
    worker.jobs[-1].active = False
    worker.jobs[-1].cancelled.emit()
    asked.settle()
    assert asked.ui.suggestButton.text == "Suggest next slices"
    assert asked.ui.suggestButton.enabled


def test_stop_asks_the_job_of_its_button_though_another_is_under_way(asked, monkeypatch):
    worker = heldIn(monkeypatch, asked.work)
    asked.work.predict()
    asked.work.suggest(2)
    asked.work.cancel("suggest")
    assert [job.name for job in worker.cancelled] == ["suggest"]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            running("predict", stage=VOLUMES, done=2, total=12, left=121.0),
            "Segmenting volume 3 of 12, about 2 min left",
        ),
        (running("predict", stage=VOLUMES, done=12, total=12), "Segmenting volume 12 of 12"),
        (running("train", stage="Training", done=400, total=2000, left=118.0), "Training, about 2 min left"),
        (running("train", stage="Training model 2 of 5", done=4, total=20), "Training model 2 of 5"),
        (
            running("suggest", stage="Embedding slices", done=40, total=304),
            "Choosing slices: embedding slices (40 of 304)",
        ),
        (running("suggest"), "Choosing slices"),
    ],
)
def test_progress_in_words(state, text):
    assert state.text() == text


def test_times_are_round():
    assert [duration(s) for s in (0.4, 37.9, 61.0, 118.0, 5000.0)] == ["5 s", "40 s", "60 s", "2 min", "83 min"]


def test_an_empty_curve_says_what_it_waits_for(host):
    chart = learningCurveChart([{"annotated": 10, "unseen": None, "reference": None}])
    assert "next slices" in chart.GetTitle()
    full = [{"annotated": 10, "unseen": 0.4, "reference": None}, {"annotated": 20, "unseen": 0.6, "reference": None}]
    assert learningCurveChart(full).GetTitle() == "Learning curve"


def test_an_error_offers_what_helps(asked):
    done = []
    asked.wiring.messages.error(BadInput("It is broken."), "Leave it out", lambda: done.append(1), "Go on without.")
    assert asked.ui.messageButton.isVisibleTo(asked.widget.uiWidget)
    assert asked.ui.messageButton.text == "Leave it out"
    asked.ui.messageButton.click()
    assert done == [1]
    assert asked.message == ""
    assert not asked.ui.messageButton.isVisibleTo(asked.widget.uiWidget)


def test_an_error_says_that_the_strokes_are_still_there(drawing):
    drawing.wiring.messages.error(BadInput("The worker ended.", where="study"))
    assert "strokes" not in drawing.message
    drawing.draw(1, mask(drawing))
    drawing.wiring.messages.error(BadInput("The worker ended.", where="study"))
    assert "study: The worker ended. Your strokes are still there." in drawing.message


def test_a_reason_stays_true_after_a_training(drawing):
    assert drawing.ui.whyLabel.toolTip == "Why: no slice of this patient is annotated yet"
    entry = {"round": drawing.session.requests.round, "annotated": 4, "unseen": None, "reference": None}
    drawing.work._study, drawing.work._curve = drawing.session.study, [entry]
    drawing.wiring.update()
    assert drawing.ui.whyLabel.toolTip.startswith("Why, before the last training: ")


def test_an_overlap_is_settled_from_the_message(drawing):
    from ActiveSegmentationLib.scene.strokes import writeSegmentPlanes

    case, index = drawing.session.case, drawing.session.task.slice.index
    planes = {"Segment_1": mask(drawing), "Segment_3": mask(drawing)}
    writeSegmentPlanes(case.segmentationNode, case.volumeNode, case.volume.axis, index, planes)
    drawing.settle()
    drawing.click("commitButton")
    assert drawing.ui.messageButton.text == "Resolve overlap"
    drawing.click("messageButton")
    drawing.click("commitButton")
    assert len(drawing.session.study.annotations()) == 1


def test_every_button_says_what_it_does(drawing):
    """Enabled or not: every button, box and field that can be used has a tooltip."""
    kinds = (qt.QAbstractButton, qt.QComboBox, qt.QAbstractSpinBox, qt.QTableWidget, qt.QLineEdit)
    inner = ("qt_spinbox_lineedit",)
    found = {w for kind in kinds for w in drawing.ui.ActiveSegmentation.findChildren(kind)}
    own = [w for w in found if w.name in vars(drawing.ui) and w.name not in inner]
    sections = [w.name for w in own if type(w).__name__ == "ctkCollapsibleButton"]
    missing = [w.name for w in own if not w.toolTip and w.name not in sections]
    assert missing == []
    assert len(own) > 40
