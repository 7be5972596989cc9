"""A study open in Slicer: what the panels show, the logic offers to scripts, and the headless run drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene.annotating import Annotating
from ActiveSegmentationLib.scene.editor import Editor
from ActiveSegmentationLib.scene.overlays import readPrediction
from ActiveSegmentationLib.scene.studySession import Task

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
        situationChanged: Called without arguments when strategies can count on something else than before: the first
            volume has marked ends, or the last one has them no more.
        failed: Called with an error that nobody else would hear of.
    """

    # The model's opinion

    def setReviews(self, reviews: Sequence[Mapping[str, Any]]) -> None:
        """Note what the latest model says of volumes, as the worker answers."""
        if any(review["model"] not in {known["model"] for known in self.reviews.values()} for review in reviews):
            self.reviews = {}
        self.reviews |= {review["volume"]: dict(review) for review in reviews}
        self.changed()

    def forgetReviews(self) -> None:
        """A newer model is trained: what is known is an older one's opinion."""
        self.reviews = {}
        self.changed()

    def review(self) -> dict[str, Any] | None:
        """What the latest model says of the open volume, or None where that is not computed yet."""
        return self.reviews.get(self.case.volume.id) if self.case is not None else None

    def startFromPrediction(self) -> None:
        """Draw the model's prediction on the slice, in place of what is drawn; one step of undo.

        Raises:
            OffSlice: If another slice is in view.
            BadInput: If no slice is open or the volume is not predicted.
        """
        _, case, index = self._inView()
        review = self._requireReview()
        plane = readPrediction(Path(review["labels"]), case.volume.geometry, case.volume.axis)[index]
        self.editor.saveStateForUndo()
        case.write({index: plane})
        case.setPrelabel(index, review["model"])
        self.changed()

    def showUncertainty(self, opacity: float) -> None:
        """Lay the model's uncertainty over the image, or take it away with opacity 0.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        review = self._requireReview() if opacity > 0 else {}
        with self._quiet():
            self.display.setUncertainty(self.case, self.requireStudy().id, review, opacity)
        self.changed()

    def setUncertaintyOpacity(self, opacity: float) -> None:
        """Let the image show more or less through the uncertainty."""
        self.display.setOpacity(opacity)

    def showPrediction(self, shown: bool) -> None:
        """Draw the model's prediction as outlines beside the annotation, or take it away.

        Raises:
            BadInput: If the open volume is not predicted.
        """
        study, review = self.requireStudy(), self._requireReview() if shown else {}
        with self._quiet():
            self.display.setPrediction(self.case if shown else None, study.id, review, study.labels)
        self.changed()

    def _requireReview(self) -> dict[str, Any]:
        review = self.review()
        if review is None:
            advice = "Train, then predict the volume (Review)."
            raise BadInput("The model has not predicted this volume.", where="annotate", advice=advice)
        return review
