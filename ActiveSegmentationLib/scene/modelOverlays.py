"""What the latest model predicts for the open volume: outlines of the prediction and uncertainty in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.overlays import readPrediction

if TYPE_CHECKING:
    from ActiveSegmentationLib.scene.session import Session


class ModelOverlays:
    """Shows prediction and uncertainty, if switched on, on every volume that is opened.

    Args:
        session: The session.

    Attributes:
        reviews: Results of the latest model by volume id; see ``VolumeReview`` of the library.
        predictionWanted: Whether the prediction is shown on every volume, as soon as it is computed.
        uncertaintyWanted: Opacity of the uncertainty on every volume, 0 to hide it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reviews: dict[str, dict[str, Any]] = {}
        self.predictionWanted = False
        self.uncertaintyWanted = 0.0

    def reset(self) -> None:
        """Forget everything: the study is closed."""
        self.reviews = {}
        self.predictionWanted, self.uncertaintyWanted = False, 0.0

    # The model's output

    def setReviews(self, reviews: Sequence[Mapping[str, Any]]) -> None:
        """Accept reviews of volumes from the worker, and show what is switched on."""
        if any(review["model"] not in {known["model"] for known in self.reviews.values()} for review in reviews):
            self.reviews = {}
        self.reviews |= {review["volume"]: dict(review) for review in reviews}
        self.showWanted()
        self._session.changed.emit()

    def forgetReviews(self) -> None:
        """Forget the reviews of an older model; what is shown stays until it is replaced."""
        self.reviews = {}
        self.showWanted()
        self._session.changed.emit()

    def review(self) -> dict[str, Any] | None:
        """The latest model's review of the open volume, or None if it is not computed yet."""
        case = self._session.case
        return self.reviews.get(case.volume.id) if case is not None else None

    def _requireReview(self) -> dict[str, Any]:
        review = self.review()
        if review is None:
            advice = "Train, then predict the volume (Review)."
            raise BadInput("The model has not predicted this volume.", where="annotate", advice=advice)
        return review

    def startFromPrediction(self) -> bool:
        """Replace what is drawn on the slice by the model's prediction, as one undo step.

        Returns:
            Whether something was drawn; if the model predicts nothing on the slice, nothing changes.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open or the volume is not predicted.
        """
        case, index = self._session.view.requireOnSlice()
        review = self._requireReview()
        plane = readPrediction(Path(review["labels"]), case.volume.geometry, case.volume.axis)[index]
        if not plane.any():
            return False
        self._session.editor.saveStateForUndo()
        case.write({index: plane})
        case.setPrelabel(index, review["model"])
        self._session.changed.emit()
        return True

    # What is shown of it

    def wantPrediction(self, wanted: bool) -> None:
        """Show the model's prediction as outlines on every volume, as soon as it is computed, or stop doing so."""
        self.predictionWanted = wanted
        self.showWanted()
        self._session.changed.emit()

    def wantUncertainty(self, opacity: float) -> None:
        """Show the model's uncertainty over every volume that is opened, as soon as it is computed; 0 hides it."""
        self.uncertaintyWanted = opacity
        self.showWanted()
        self._session.changed.emit()

    def showWanted(self) -> None:
        """Show what is switched on for the open volume; emits ``reviewMissing`` if it is not computed yet.

        An overlay that cannot be read is switched off.
        """
        case = self._session.case
        if case is None or not case.intact:
            return
        review = self.review()
        try:
            self._showWantedPrediction(review)
            self._showWantedUncertainty(review)
        except BadInput as error:
            self.predictionWanted, self.uncertaintyWanted = False, 0.0
            self._session.tellFailure(error)
        if review is None and (self.predictionWanted or self.uncertaintyWanted > 0):
            self._session.reviewMissing.emit(case.volume.id)

    def _showWantedPrediction(self, review: Mapping[str, Any] | None) -> None:
        display = self._session.display
        if not self.predictionWanted:
            if display.predictionShown:
                self.showPrediction(False)
        elif review is not None and display.predictionModel != review["model"]:
            self.showPrediction(True)

    def _showWantedUncertainty(self, review: Mapping[str, Any] | None) -> None:
        display = self._session.display
        if self.uncertaintyWanted <= 0:
            if display.uncertaintyShown:
                self.showUncertainty(0.0)
        elif review is not None and display.uncertaintyModel != review["model"]:
            self.showUncertainty(self.uncertaintyWanted)
        else:
            display.setOpacity(self.uncertaintyWanted)

    def showUncertainty(self, opacity: float) -> None:
        """Show the model's uncertainty over the image, or hide it with opacity 0.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        session = self._session
        review = self._requireReview() if opacity > 0 else {}
        self.uncertaintyWanted = 0.0
        with session.scene.ownChanges():
            session.display.setUncertainty(session.case, session.requireStudy().id, review, opacity)
        self.uncertaintyWanted = opacity
        session.changed.emit()

    def setUncertaintyOpacity(self, opacity: float) -> None:
        """Set the opacity of the uncertainty over the image."""
        if self.uncertaintyWanted > 0:
            self.uncertaintyWanted = opacity
        self._session.display.setOpacity(opacity)

    def showPrediction(self, shown: bool) -> None:
        """Show the model's prediction as outlines over the annotation, or hide it.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        session = self._session
        study, review = session.requireStudy(), self._requireReview() if shown else {}
        self.predictionWanted = False
        with session.scene.ownChanges():
            session.display.setPrediction(session.case if shown else None, study.id, review, study.labels)
        self.predictionWanted = shown
        session.changed.emit()

    def forget(self, node: Any) -> None:
        """Forget a node that the user is removing; an overlay that is removed is no longer wanted."""
        if not self._session.display.forget(node):
            return
        if node.IsA("vtkMRMLSegmentationNode"):
            self.predictionWanted = False
        else:
            self.uncertaintyWanted = 0.0
        self._session.changed.emit()
