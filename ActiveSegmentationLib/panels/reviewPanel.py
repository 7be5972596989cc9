"""Panel 5: predictions of all volumes, the most uncertain first, and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.panels.panel import Panel
from ActiveSegmentationLib.panels.tables import fillTable, identityOf, setHeader

MODELS = ("monai-bundle", "torchscript", "safetensors", "nnunet")
"""Formats of the model itself, see ``SegmentationLearner.exports``."""

OF_MODEL = ("predictions", "uncertainty", "probabilities", *(f"model {name}" for name in MODELS))
"""Formats that need a trained model."""

FORMATS = (*OF_MODEL[:3], "nifti", "nrrd", "nnunet", "csv", *OF_MODEL[3:])
"""Export formats, in the order of the box."""


class ReviewPanel(Panel):
    """Reviewing and exporting results."""

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self._shown: tuple[Any, ...] = ()
        for text in (
            _("segmentation of every volume (NIfTI)"),
            _("segmentation with uncertainty (NIfTI)"),
            _("segmentation with class probabilities (NIfTI)"),
            _("annotations (NIfTI, 255 = unlabelled)"),
            _("annotations (NRRD, 255 = unlabelled)"),
            _("nnU-Net data set"),
            _("table of annotated slices (CSV)"),
            _("model for MONAI (bundle)"),
            _("model for PyTorch (TorchScript)"),
            _("model for this program (safetensors)"),
            _("model for nnU-Net (results folder)"),
        ):
            ui.exportComboBox.addItem(text)
        ui.predictButton.clicked.connect(self.startOrStop("predict", self.work.predict))
        ui.exportButton.clicked.connect(self.startOrStop("export", self.export))
        ui.exportComboBox.currentIndexChanged.connect(lambda *args: self.update())
        ui.exportPathLineEdit.currentPathChanged.connect(lambda *args: self.update())
        ui.reviewTable.cellClicked.connect(lambda row, column: self.act(lambda: self._open(row))())
        ui.reviewTable.setSortingEnabled(True)
        setHeader(ui.reviewTable, 0)
        ui.largestPartCheckBox.toggled.connect(self.act(self.session.overlays.forgetReviews))
        ui.fillHolesComboBox.activated.connect(self.act(self.session.overlays.forgetReviews))

    def cleanUp(self) -> dict[str, Any]:
        """What is changed in predicted label maps."""
        parameters = self.parameters()
        return {"largest": parameters.largestPart, "holes": parameters.fillHoles}

    def _open(self, tableRow: int) -> None:
        volume = identityOf(self.ui.reviewTable, tableRow)
        if volume not in self.session.overlays.reviews:  # no longer known; the table is updated soon
            return
        uncertainty = self.session.overlays.reviews[volume]["slice_doubt"]
        self.openSlice(SliceId(volume, max(range(len(uncertainty)), key=lambda index: uncertainty[index])))

    def export(self) -> None:
        """Export in the selected format."""
        name, out = FORMATS[self.ui.exportComboBox.currentIndex], Path(self.ui.exportPathLineEdit.currentPath)
        self.ui.exportLabel.text = ""

        def then(answer: dict[str, Any]) -> None:
            self.ui.exportLabel.text = _("{count} files written to {folder}.").format(
                count=len(answer["files"]), folder=out
            )

        if name.startswith("model "):
            self.work.export("model", out, then, model_format=name.partition(" ")[2])
        elif name in OF_MODEL:
            options = {"probabilities": name == "probabilities", "uncertainty": name == "uncertainty"}
            self.work.export("predictions", out, then, **options)
        else:
            self.work.export(name, out, then)

    def update(self) -> None:
        """Show the reviews, and enable what can be done."""
        ui, session = self.ui, self.session
        noStudy = "" if session.study is not None else _("Open or create a study first.")
        noModel = "" if self.work.curve else _("Train a model first.")
        self.showJob(ui.predictButton, "predict", noStudy, noModel)
        name = FORMATS[ui.exportComboBox.currentIndex]
        self.showJob(
            ui.exportButton,
            "export",
            noStudy,
            noModel if name in OF_MODEL else "",
            self._cannotExport(name),
            "" if name in OF_MODEL or session.requests.annotatedCount else _("Commit at least one slice first."),
            "" if ui.exportPathLineEdit.currentPath else _("Choose a folder."),
        )
        self._fillReviews()

    def _cannotExport(self, name: str) -> str:
        """Why the latest model cannot be exported in a format; "" if it can."""
        learner = self.work.trainedLearner
        if not name.startswith("model ") or learner is None:
            return ""
        known = next((each for each in self.work.learners if each["name"] == learner), None)
        if known is None or name.partition(" ")[2] in known["exports"]:
            return ""
        text = _("The model is one of {learner}, which is exported as: {formats}.")
        return text.format(learner=learner, formats=", ".join(known["exports"]))

    def _fillReviews(self) -> None:
        session = self.session
        counts: dict[str, int] = {}
        for sliceId in session.requests.annotated():
            counts[sliceId.volume] = counts.get(sliceId.volume, 0) + 1
        content = tuple(
            (name, review["doubt"], counts.get(name, 0)) for name, review in session.overlays.reviews.items()
        )
        if content == self._shown:
            return
        self._shown = content
        study = session.study
        ordered = sorted(content, key=lambda row: -row[1])
        rows = (
            [(name, study.cohort.volume(name).patient, f"{value:.3f}", count) for name, value, count in ordered]
            if study
            else []
        )
        fillTable(self.ui.reviewTable, rows, [row[0] for row in rows])
