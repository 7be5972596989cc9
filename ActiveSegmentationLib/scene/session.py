"""A study open in Slicer: what the panels show, the logic offers to scripts, and the headless run drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.annotating import Annotating
from ActiveSegmentationLib.scene.editor import Editor
from ActiveSegmentationLib.scene.overlays import readPrediction
from ActiveSegmentationLib.scene.studyState import Task

__all__ = ["Editor", "Session", "Task"]


class Session(Annotating):
    """Keeps study, scene and views together.

    Every change of what there is to show ends in a call of ``changed``; problems that come up in observers, where no
    caller could catch them, go to ``failed``.

    Args:
        views: Where volumes are shown.
        editor: What draws.

    Attributes:
        study: The open study, or None.
        annotator: Name of the person who annotates.
        case: The open volume, or None.
        task: The slice being annotated, or None.
        requests: What was asked for in the latest round, and what became of every slice.
        marks: Between which slices of a volume the structures lie.
        reviews: What the latest model says of volumes, by id; see ``VolumeReview`` of the library.
        changed: Called without arguments after every change.
        viewChanged: Called without arguments when the view shows another slice of the open volume, or none, or has
            changed its size; ask for ``inView`` and ``offSliceText`` anew, and call ``settleView`` a moment later.
        committed: Called with the identity of a slice that was committed.
        reviewMissing: Called with the id of the open volume when its prediction or uncertainty is wanted and not known.
        predictionWanted: Whether the prediction is to be shown on every volume, as soon as it is there.
        uncertaintyWanted: Opacity of the uncertainty on every volume, 0 where it is not wanted.
        situationChanged: Called without arguments when strategies can count on something else than before: the first
            volume has marked ends, or the last one has them no more.
        failed: Called with an error that nobody else would hear of.
        later: Called with what can wait for the next turn of the event loop; does it at once by default.
    """

    # The model's opinion

    def setReviews(self, reviews: Sequence[Mapping[str, Any]]) -> None:
        """Note what the latest model says of volumes, as the worker answers, and show what is wanted of it."""
        if any(review["model"] not in {known["model"] for known in self.reviews.values()} for review in reviews):
            self.reviews = {}
        self.reviews |= {review["volume"]: dict(review) for review in reviews}
        self._showWanted()
        self.changed.emit()

    def forgetReviews(self) -> None:
        """A newer model is trained: what is known is an older one's, which stays shown until it is replaced."""
        self.reviews = {}
        self._showWanted()
        self.changed.emit()

    def review(self) -> dict[str, Any] | None:
        """What the latest model says of the open volume, or None where that is not computed yet."""
        return self.reviews.get(self.case.volume.id) if self.case is not None else None

    def startFromPrediction(self) -> bool:
        """Draw the model's prediction on the slice, in place of what is drawn; one step of undo.

        Returns:
            Whether something was drawn; where the model predicts nothing on the slice, everything stays as it is.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open or the volume is not predicted.
        """
        _, case, index = self._inView()
        review = self._requireReview()
        plane = readPrediction(Path(review["labels"]), case.volume.geometry, case.volume.axis)[index]
        if not plane.any():
            return False
        self.editor.saveStateForUndo()
        case.write({index: plane})
        case.setPrelabel(index, review["model"])
        self.changed.emit()
        return True

    # What is wanted of it

    def wantPrediction(self, wanted: bool) -> None:
        """Show the model's prediction as outlines on every volume, as soon as it is there, or no more."""
        self.predictionWanted = wanted
        self._showWanted()
        self.changed.emit()

    def wantUncertainty(self, opacity: float) -> None:
        """Lay the model's uncertainty over every volume that is opened, as soon as it is there; 0 for no more."""
        self.uncertaintyWanted = opacity
        self._showWanted()
        self.changed.emit()

    def _showWanted(self) -> None:
        """Show of the open volume what is wanted and known; where it is not known, somebody else is told.

        What cannot be read is wanted no more.
        """
        if self.case is None or not self.case.intact:
            return
        review = self.review()
        try:
            self._showPrediction(review)
            self._showUncertainty(review)
        except BadInput as error:
            self.predictionWanted, self.uncertaintyWanted = False, 0.0
            self.tellFailure(error)
        if review is None and (self.predictionWanted or self.uncertaintyWanted > 0):
            self.reviewMissing.emit(self.case.volume.id)

    def _showPrediction(self, review: Mapping[str, Any] | None) -> None:
        if not self.predictionWanted:
            if self.display.predictionShown:
                self.showPrediction(False)
        elif review is not None and self.display.predictionModel != review["model"]:
            self.showPrediction(True)

    def _showUncertainty(self, review: Mapping[str, Any] | None) -> None:
        if self.uncertaintyWanted <= 0:
            if self.display.uncertaintyShown:
                self.showUncertainty(0.0)
        elif review is not None and self.display.uncertaintyModel != review["model"]:
            self.showUncertainty(self.uncertaintyWanted)
        else:
            self.display.setOpacity(self.uncertaintyWanted)

    def showUncertainty(self, opacity: float) -> None:
        """Lay the model's uncertainty over the image, or take it away with opacity 0.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        review = self._requireReview() if opacity > 0 else {}
        self.uncertaintyWanted = 0.0
        with self._quiet():
            self.display.setUncertainty(self.case, self.requireStudy().id, review, opacity)
        self.uncertaintyWanted = opacity
        self.changed.emit()

    def setUncertaintyOpacity(self, opacity: float) -> None:
        """Let the image show more or less through the uncertainty."""
        if self.uncertaintyWanted > 0:
            self.uncertaintyWanted = opacity
        self.display.setOpacity(opacity)

    def showPrediction(self, shown: bool) -> None:
        """Draw the model's prediction as outlines over the annotation, or take it away.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        study, review = self.requireStudy(), self._requireReview() if shown else {}
        self.predictionWanted = False
        with self._quiet():
            self.display.setPrediction(self.case if shown else None, study.id, review, study.labels)
        self.predictionWanted = shown
        self.changed.emit()

    def _requireReview(self) -> dict[str, Any]:
        review = self.review()
        if review is None:
            advice = "Train, then predict the volume (Review)."
            raise BadInput("The model has not predicted this volume.", where="annotate", advice=advice)
        return review
