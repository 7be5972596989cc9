"""Panel 4: train on committed slices, watch the loss, and see the learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.panels.learnerChoice import LearnerChoice
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.scene.charts import LossChart, learningCurveChart
from ActiveSegmentationLib.scene.offers import AutoTrain
from ActiveSegmentationLib.scene.running import Running

NAMES = {"loss": "loss", "dice": "Dice on the annotated slices"}
"""Values of a running training that are shown, with their names."""
SHOWN = tuple(NAMES)

MANY_STEPS = 5000
"""Steps from which a training without a GPU is said to be long."""


class TrainPanel(Panel):
    """Training a model in the background.

    Attributes:
        chartWanted: Emitted with a chart node to show in a plot view.
    """

    def setup(self) -> None:
        """Connect the widgets."""
        self.chartWanted: Signal[[Any]] = Signal()
        self._loss: LossChart | None = None
        self.curveChart: Any = None
        self._learner = LearnerChoice(self.ui, self.work, self.act)
        self.ui.trainButton.clicked.connect(self.startOrStop("train", self.train))
        self.ui.curveButton.clicked.connect(self.act(self.showCurve))

    def train(self) -> None:
        """Train; annotation can go on."""
        parameters = self.parameters()
        self.work.train(parameters.models, parameters.steps)

    def automatic(self) -> AutoTrain | None:
        """When and how to train automatically, or None for never."""
        parameters = self.parameters()
        if not parameters.autoTrain:
            return None
        return AutoTrain(parameters.trainAfter, parameters.models, parameters.steps)

    def showCurve(self) -> None:
        """Plot loss and Dice of the running training, or else the learning curve."""
        if self.work.isRunning("train") and self._loss is not None:
            self.chartWanted.emit(self._loss.chart)
            return
        self.curveChart = learningCurveChart(self.work.curve)
        self.chartWanted.emit(self.curveChart)

    def report(self, name: str, message: Mapping[str, Any]) -> None:
        """Plot the loss of a running training."""
        if name != "train" or not message["stage"].startswith("Training"):
            return
        if self._loss is None or message["done"] <= 1:
            self._loss = LossChart()
            self._loss.clear()
        values = {name: value for name, value in message["values"].items() if name in SHOWN}
        self._loss.add(message["done"], {name: float(value) for name, value in values.items()})

    def forgetNodes(self) -> None:
        """The scene is being closed."""
        self._loss = None
        self.curveChart = None

    def update(self) -> None:
        """Show how training goes, and enable what can be done."""
        ui, session = self.ui, self.session
        running = self.work.runningJob("train")
        self.showJob(
            ui.trainButton,
            "train",
            "" if session.study is not None else _("Open or create a study first."),
            "" if session.requests.annotatedCount else _("Commit at least one slice first."),
            self.work.learnerReason(self.work.learner),
        )
        live = running is not None and self._loss is not None
        self.enable(ui.curveButton, "" if self.work.curve or live else _("Nothing is trained yet."))
        self._learner.update()
        self.enable(ui.learnerComboBox, "" if session.study is not None else _("Open or create a study first."))
        ui.curveButton.text = _("Show loss and Dice") if live else _("Show learning curve")
        waiting = f"{self._describeCurve()} {self._describeLength()}".strip()
        ui.trainLabel.text = self._describeTraining(running) if running is not None else waiting

    def _describeTraining(self, running: Running) -> str:
        values = running.values or {}
        shown = [f"{NAMES[name]} {float(values[name]):.2f}" for name in SHOWN if name in values]
        return ", ".join(shown) or _("Waiting for the first steps.")

    def _describeLength(self) -> str:
        """How long the next training is, before it starts."""
        length, asked = self.work.trainingLength, self.parameters().steps
        if not length:
            return ""
        if length["minutes"] and not asked:
            return _("The next training takes about {minutes:g} minutes.").format(minutes=length["minutes"])
        if length["epochs"] and not asked:
            text = _("The next training takes {epochs:g} epochs (times through the annotated slices).")
            return text.format(epochs=length["epochs"])
        steps = asked or length["steps"]
        text = _("The next training takes {steps:,} steps.").format(steps=steps)
        if steps >= MANY_STEPS and self.work.deviceText.startswith("CPU"):
            text += " " + _("Without a GPU that is long; for a shorter one, set Steps under Advanced.")
        return text

    def _describeCurve(self) -> str:
        if not self.work.curve:
            return _("No model yet. Training uses committed slices only; you can continue annotating while it runs.")
        last = self.work.curve[-1]
        parts = [_("Trained on {count} slices.").format(count=last["annotated"])]
        if self.work.untrainedCount:
            parts.append(_("{count} more were committed since.").format(count=self.work.untrainedCount))
        known = [entry for entry in self.work.curve if entry["unseen"] is not None]
        if known:
            text = _("On the slices annotated next, the model of {count} slices reached Dice {dice:.2f}.")
            parts.append(text.format(count=known[-1]["annotated"], dice=known[-1]["unseen"]))
        if last["reference"] is not None:
            text = _("Dice {dice:.2f} against the reference masks of the pool, some of which were used for training.")
            if last.get("scored on") == "test":
                text = _("Dice {dice:.2f} against the test masks.")
            elif last.get("scored on") == "validation":
                text = _("Dice {dice:.2f} against the validation masks.")
            parts.append(text.format(dice=last["reference"]))
        return " ".join(parts)
