"""Take screenshots of the module at every step, in Slicer or, without Slicer, in the test host.

In Slicer (whole windows, as the screen shows them):
``Slicer --testing --no-splash --python-script scripts/capture_screenshots.py -- --out DIR --cohort C --size 1280x720``.
Without Slicer (panels, slice views, and the content of plots): ``python scripts/capture_screenshots.py --out DIR``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python")]

import slicer  # noqa: E402 - the library and the test host are found by the line above

from ActiveSegmentationLib.scene.scripting import runScript, waitFor  # noqa: E402

REQUESTS = 6
MASK_STEPS = 200


class HostStage:
    """The module in the test host: its panel, one offscreen slice view, and plots drawn from their nodes."""

    def __init__(self, out: Path) -> None:
        from host.host import start
        from module.module_helpers import OpenModule

        self.out = out
        self.host = start()
        self.module = OpenModule(self.host, _Attributes())
        self.widget = self.module.widget
        self.widget.uiWidget.resize(560, 1500)

    def settle(self) -> None:
        """Let everything scheduled happen."""
        self.host.settle(0.3)

    def draw(self, value: int, mask: Any) -> None:
        """A stroke."""
        self.module.draw(value, mask)

    def panel(self, name: str) -> None:
        """A picture of the panel."""
        import qt

        self.settle()
        widget = self.widget.uiWidget
        widget.resize(560, max(300, widget.minimumSizeHint().height()))
        self.settle()
        widget.grab(qt.QRect(0, 0, widget.width, widget.layout().sizeHint().height())).save(
            str(self.out / f"{name}.png")
        )

    def view(self, name: str) -> None:
        """A picture of the slice view."""
        self.settle()
        self.module.views.view.save(str(self.out / f"{name}.png"))

    def plot(self, name: str, chart: Any) -> None:
        """A picture of what a chart holds."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(6, 4.5), constrained_layout=True)
        for number in range(chart.GetNumberOfPlotSeriesNodes()):
            series = chart.GetNthPlotSeriesNode(number)
            table = series.GetTableNode().GetTable()
            x, y = (table.GetColumnByName(column) for column in (series.GetXColumnName(), series.GetYColumnName()))
            points = [(x.GetValue(row), y.GetValue(row)) for row in range(table.GetNumberOfRows())]
            line = "-" if series.GetLineStyle() != slicer.vtkMRMLPlotSeriesNode.LineStyleNone else ""
            axes.plot(*zip(*points, strict=True), line + "o", color=series.GetColor(), label=series.GetName())
        if not chart.GetYAxisRangeAuto():
            axes.set_ylim(chart.GetYAxisRange())
        axes.set(title=chart.GetTitle(), xlabel=chart.GetXAxisTitle(), ylabel=chart.GetYAxisTitle())
        axes.legend()
        figure.savefig(self.out / f"{name}.png", dpi=100)
        pyplot.close(figure)

    def close(self) -> None:
        """End."""
        self.host.close()


class _Attributes:
    """Sets attributes permanently; the process ends with the script."""

    def setattr(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)


class SlicerStage:
    """The module in Slicer; every picture is of the whole window.

    Args:
        out: Where the pictures go.
        size: Width and height of the window in pixels; the screen must have room for it.
    """

    def __init__(self, out: Path, size: tuple[int, int]) -> None:
        self.out = out
        self.window = slicer.util.mainWindow()
        self.window.showNormal()
        self.window.resize(*size)
        self.window.move(0, 0)
        slicer.util.selectModule("ActiveSegmentation")
        self.widget = slicer.modules.ActiveSegmentationWidget
        self.settle()

    def settle(self) -> None:
        """Let everything scheduled happen."""
        import time

        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.01)

    def draw(self, value: int, mask: Any) -> None:
        """A stroke, by the editor's logic."""
        from ActiveSegmentationLib.scene import paint, segmentId

        session = self.widget.logic.session
        case = session.case
        segment = "Background" if value == 0 else segmentId(value)
        paint(case.segmentationNode, case.volumeNode, segment, case.volume.axis, session.task.slice.index, mask)
        self.settle()

    def _window(self, name: str) -> None:
        import qt

        self.settle()
        slicer.util.forceRenderAllViews()
        self.settle()
        # from the screen: a widget's own picture leaves the slice and 3D views black
        window, corner = self.window, self.window.mapToGlobal(qt.QPoint(0, 0))
        picture = window.windowHandle().screen().grabWindow(0, corner.x(), corner.y(), window.width, window.height)
        picture.save(str(self.out / f"{name}.png"))

    def panel(self, name: str) -> None:
        """A picture of the window."""
        self._window(name)

    def view(self, name: str) -> None:
        """A picture of the window."""
        self._window(name)

    def plot(self, name: str, chart: Any) -> None:
        """A picture of the window, which shows the chart."""
        self._window(name)

    def close(self) -> None:
        """End."""


class Tour:
    """Steps through the module and takes screenshots.

    Args:
        stage: Where the module runs.
        work: Scratch folder.
        cohort: Cohort to work on.
    """

    def __init__(self, stage: Any, work: Path, cohort: Path) -> None:
        self.stage, self.folder, self.cohort = stage, work, cohort
        self.widget = stage.widget
        self.ui, self.logic = self.widget.ui, self.widget.logic
        self.session, self.jobs = self.logic.session, self.logic.work

    def only(self, *sections: str) -> None:
        """Open some sections of the panel and close the others."""
        for name in ("study", "suggest", "annotate", "train", "review", "map"):
            getattr(self.ui, f"{name}CollapsibleButton").collapsed = name not in sections
        self.stage.settle()

    def finish(self) -> None:
        """Wait for the worker."""
        waitFor(lambda: not self.jobs.running)
        self.stage.settle()

    def truth(self, kind: str) -> Any:
        """Reference labels of the slice being annotated."""
        from ActiveSegmentationLib.cohort import AnnotationKind, read_labels, slices_first

        volume = self.session.case.volume
        index = self.session.task.slice.index
        labels = read_labels(self.session.study.cohort, volume, AnnotationKind(kind))
        if labels is not None:
            return slices_first(labels, volume.axis)[index]
        labels = read_labels(self.session.study.cohort, volume, AnnotationKind.MASK)
        assert labels is not None, "the pictures need reference labels"
        return _scribbles(slices_first(labels, volume.axis)[index])

    def annotate(self, kind: str) -> None:
        """Draw the reference labels on the slice."""
        plane = self.truth(kind)
        values = [*([0] if kind == "scribble" else []), *self.session.study.labels.values]
        for value in values:
            if (plane == value).any():
                self.stage.draw(value, plane == value)

    def commit(self) -> None:
        """Commit the slice, empty or not."""
        self.stage.settle()
        (self.ui.commitButton if self.ui.commitButton.enabled else self.ui.emptyButton).click()
        self.stage.settle()

    def masks(self) -> None:
        """A study by masks, from the first click to review and map."""
        self.start()
        self.suggest()
        self.annotateAll()
        self.train()
        self.review()
        self.map()

    def start(self) -> None:
        """Create the study."""
        stage, ui = self.stage, self.ui
        self.only("study", "suggest")
        stage.panel("01-first-run")
        ui.newStudyButton.click()
        ui.cohortPathLineEdit.currentPath = str(self.cohort)
        stage.settle()
        ui.lookButton.click()
        self.finish()
        ui.studyPathLineEdit.currentPath = str(self.folder / "by-masks")
        self.only("study")
        stage.panel("02-new-study")
        ui.createStudyButton.click()

    def suggest(self) -> None:
        """Suggest slices."""
        self.ui.countSpinBox.value = REQUESTS
        self.stage.settle()
        self.ui.suggestButton.click()
        self.finish()
        self.only("suggest")
        self.stage.panel("03-suggested")
        self.ui.strategyCollapsibleButton.collapsed = False
        self.stage.panel("15-strategies")
        self.ui.strategyCollapsibleButton.collapsed = True

    def annotateAll(self) -> None:
        """Draw on every requested slice and commit it."""
        self.openInformative()
        self.stage.view("04-requested-slice")
        self.annotate("mask")
        self.only("annotate")
        self.stage.panel("05-annotate")
        self.stage.view("06-mask")
        self.answerAll()

    def answerAll(self) -> None:
        """Commit every request that is open."""
        while self.session.nextRow() is not None:
            self.annotate("mask")
            self.commit()

    def train(self) -> None:
        """Train, and take pictures of the progress."""
        self.ui.stepsSpinBox.value = MASK_STEPS
        self.only("suggest", "train")
        self.ui.trainButton.click()
        waitFor(lambda: any(running.done > 20 for running in self.jobs.running) or not self.jobs.running)
        self.stage.panel("07-training")
        self.finish()

    def review(self) -> None:
        """Suggest more slices, and show the model's prediction and uncertainty."""
        stage, ui = self.stage, self.ui
        ui.suggestButton.click()
        self.finish()
        ui.predictButton.click()
        self.finish()
        self.only("review", "train")
        stage.panel("08-review")
        self.openInformative()
        ui.uncertaintyCheckBox.click()
        self.finish()
        stage.view("09-uncertainty")
        ui.uncertaintyCheckBox.click()
        ui.showPredictionCheckBox.click()
        self.finish()
        stage.view("10-prediction")

    def map(self) -> None:
        """The map of slices, and the learning curve after two more rounds."""
        ui = self.ui
        ui.mapButton.click()
        self.finish()
        self.only("map")
        self.stage.plot("11-map", self.widget.wiring.map.chart)
        for _ in range(2):
            self.answerAll()
            ui.trainButton.click()
            self.finish()
            ui.suggestButton.click()
            self.finish()
        ui.curveButton.click()
        self.stage.plot("12-learning-curve", self.widget.wiring.train.curveChart)

    def openInformative(self) -> None:
        """Open the open request whose slice shows most of the structures."""
        best = None
        for row in self.session.requests.rows:
            if row.status == "open":
                self.session.openRequest(row)
                shown = int((self.truth("mask") > 0).sum())
                best = max(best or (-1, row), (shown, row), key=lambda pair: pair[0])
        if best is not None:
            self.session.openRequest(best[1])
        self.stage.settle()

    def scribbles(self) -> None:
        """A study by scribbles."""
        self.logic.createStudy(self.folder / "by-scribbles", self.cohort, annotation="scribble")
        self.logic.suggest(REQUESTS)
        self.only("annotate")
        self.openInformative()
        self.annotate("scribble")
        self.stage.view("13-scribbles")
        self.stage.panel("14-annotate-by-scribbles")


def _scribbles(mask: Any) -> Any:
    """A line through the middle of every structure of a slice, and one in the background; the rest is 255."""
    import numpy as np

    scribbles = np.full_like(mask, 255)
    for value in np.unique(mask):
        rows, columns = np.nonzero(mask == value)
        if value == 0:
            row = max(2, int(np.nonzero(mask)[0].min(initial=mask.shape[0])) - 6)
            scribbles[row - 1 : row + 1, mask.shape[1] // 4 : 3 * mask.shape[1] // 4] = 0
            continue
        middle = int(np.median(rows))
        for row in (middle, middle + 1):
            there = columns[rows == row]
            scribbles[row, there[1:-1]] = value
    return scribbles


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(arguments: list[str]) -> int:
    """Take the pictures; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument(
        "--cohort",
        type=Path,
        metavar="C",
        help="cohort with reference masks, and scribbles if it has any (default: a generated one)",
    )
    parser.add_argument("--size", type=_size, default=(1600, 1000), metavar="WxH", help="of the window in Slicer")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="screenshots-"))
    try:
        cohort = options.cohort or work / "cohort"
        if options.cohort is None:
            from ActiveSegmentationLib.cohort import write_phantom

            write_phantom(cohort, patients=5)
            (cohort / "patient003" / "patient003_frame01.nii.gz").write_bytes(b"damaged")
        stage = SlicerStage(options.out, options.size) if _inSlicer() else HostStage(options.out)
        tour = Tour(stage, work, cohort)
        tour.masks()
        tour.scribbles()
        tour.logic.close()
        stage.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{len(list(options.out.glob('*.png')))} pictures in {options.out}")
    return 0


def _inSlicer() -> bool:
    return hasattr(slicer, "app")


if __name__ == "__main__":
    runScript(main)
