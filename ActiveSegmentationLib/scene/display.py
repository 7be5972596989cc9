"""Shows the slice being annotated: the plane of the view, frame and text, and overlays of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer

from ActiveSegmentationLib.common.signals import Signal
from ActiveSegmentationLib.scene.case import Case
from ActiveSegmentationLib.scene.fitting import fitToSlice
from ActiveSegmentationLib.scene.highlight import COMMITTED, REQUESTED, SliceHighlight
from ActiveSegmentationLib.scene.overlays import addPredictionNode, addUncertaintyNode, removeColors
from ActiveSegmentationLib.scene.ownership import markOwned, removeNodes
from ActiveSegmentationLib.scene.sliceViews import SavedView, alignToSlice, restoreView, saveView, shownSlice
from ActiveSegmentationLib.scene.subjects import placeUnderPatient
from ActiveSegmentationLib.scene.views import View, Views
from ActiveSegmentationLib.scene.viewWatch import ViewWatch
from ActiveSegmentationLib.study import LabelSet


class Display:
    """Shows slice, frame, text and overlays in the views, and removes them again.

    Args:
        views: Where volumes are shown.

    Attributes:
        moved: Emitted when the view to annotate in shows another slice of the volume, or none, or has
            changed its size.
    """

    def __init__(self, views: Views) -> None:
        self.views = views
        self.moved: Signal[[]] = Signal()
        self._highlight: SliceHighlight | None = None
        self._saved: tuple[Any, SavedView] | None = None
        self._watch: ViewWatch | None = None
        self._uncertainty: Any = None
        self._prediction: Any = None
        self._models = {"uncertainty": "", "prediction": ""}

    @property
    def isHeadless(self) -> bool:
        """Whether there is no screen at all."""
        return self.views.headless

    @property
    def hasView(self) -> bool:
        """Whether the layout has a slice view to annotate in."""
        return self.views.annotationView() is not None

    @property
    def uncertaintyShown(self) -> bool:
        """Whether uncertainty is shown over the image."""
        return self._uncertainty is not None

    @property
    def predictionShown(self) -> bool:
        """Whether the prediction is shown."""
        return self._prediction is not None

    @property
    def predictionModel(self) -> str:
        """Key of the model whose prediction is shown, "" if none is."""
        return self._models["prediction"] if self.predictionShown else ""

    @property
    def uncertaintyModel(self) -> str:
        """Key of the model whose uncertainty is shown, "" if none is."""
        return self._models["uncertainty"] if self.uncertaintyShown else ""

    @property
    def predictionNode(self) -> Any:
        """The segmentation node of the prediction, or None if none is shown."""
        return self._prediction

    @property
    def text(self) -> str:
        """The text in the view, "" for none."""
        return self._highlight.text if self._highlight is not None else ""

    def showVolume(self, case: Case) -> None:
        """Show the image in all slice views; the views that are not annotated in show its two other axes."""
        self._unwatch()
        for view in self._all():
            view.sliceLogic.GetSliceCompositeNode().SetBackgroundVolumeID(case.volumeNode.GetID())
        geometry = case.volume.geometry
        axes = [axis for axis in (1, 0, 2) if axis != case.volume.axis]
        for number, view in enumerate(self.views.others()):
            axis = axes[number % 2]
            fitToSlice(view.sliceNode, geometry, axis, geometry.slice_count(axis) // 2)

    def align(self, case: Case, index: int) -> None:
        """Show exactly this slice in the view to annotate in: fitted on a new volume, later with the user's zoom."""
        view = self.views.annotationView()
        if view is None:
            return
        if self._saved is None:
            self._saved = (view.sliceNode, saveView(view.sliceNode))
        geometry, axis = case.volume.geometry, case.volume.axis
        if self._watch is None or not self._watch.isOf(view.sliceNode, case):
            self._unwatch()
            fitToSlice(view.sliceNode, geometry, axis, index)
            self._watch = ViewWatch(view.sliceNode, case, self.moved.emit)
        elif alignToSlice(view.sliceNode, geometry, axis, index):
            self._watch.fit(index)

    def settle(self) -> None:
        """Fit the view again if it has changed its size; do not call it within events of the view."""
        if self._watch is not None:
            self._watch.settle()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def shownIndex(self, case: Case) -> int | None:
        """0-based index of the slice that the view to annotate in shows, or None if it shows none of them."""
        view = self.views.annotationView()
        if view is None:
            return None
        if self._watch is not None and self._watch.isOf(view.sliceNode, case):
            return self._watch.index
        return shownSlice(view.sliceNode, case.volume.geometry, case.volume.axis)

    def mark(self, case: Case, index: int, text: str, done: bool) -> None:
        """Show a frame around the slice, and the text."""
        self.unmark()
        view = self.views.annotationView()
        if view is None or view.renderer is None:
            return
        self._highlight = SliceHighlight(view.sliceNode, view.renderer, view.render)
        self._highlight.show(case.volume.geometry, case.volume.axis, index, text, COMMITTED if done else REQUESTED)

    def unmark(self) -> None:
        """Remove frame and text."""
        if self._highlight is not None:
            self._highlight.hide()
            self._highlight = None

    def setUncertainty(self, case: Case | None, studyId: str, review: Mapping[str, Any], opacity: float) -> None:
        """Show uncertainty over the image in all slice views, or hide it with opacity 0.

        Raises:
            BadInput: If the file cannot be read.
        """
        removeNodes([self._uncertainty] if self._uncertainty is not None else [])
        self._uncertainty = None
        if opacity > 0 and case is not None:
            path = Path(review["uncertainty"])
            self._uncertainty = addUncertaintyNode(path, case.volume.geometry, f"{case.volume.id} uncertainty")
            markOwned(self._uncertainty, studyId, case.volume.id)
            placeUnderPatient(self._uncertainty, studyId, case.volume.patient)
            self._models["uncertainty"] = review["model"]
        for view in self._all():
            composite = view.sliceLogic.GetSliceCompositeNode()
            composite.SetForegroundVolumeID(self._uncertainty.GetID() if self._uncertainty is not None else None)
        self.setOpacity(opacity)

    def setOpacity(self, opacity: float) -> None:
        """Opacity of the uncertainty, 0 to 1."""
        for view in self._all():
            view.sliceLogic.GetSliceCompositeNode().SetForegroundOpacity(opacity)

    def setPrediction(self, case: Case | None, studyId: str, review: Mapping[str, Any], labels: LabelSet) -> None:
        """Show the prediction as outlines over the annotation; hide it where ``case`` is None.

        Raises:
            BadInput: If the file cannot be read.
        """
        removeNodes([self._prediction] if self._prediction is not None else [])
        self._prediction = None
        if case is not None:
            volume, path = case.volume, Path(review["labels"])
            name = f"{volume.id} prediction"
            self._prediction = addPredictionNode(path, case.volumeNode, volume.geometry, volume.axis, labels, name)
            markOwned(self._prediction, studyId, volume.id)
            placeUnderPatient(self._prediction, studyId, volume.patient)
            self._models["prediction"] = review["model"]

    def forget(self, node: Any) -> bool:
        """Forget a node that is leaving the scene; returns whether it was the prediction or uncertainty shown."""
        shown = node in (self._uncertainty, self._prediction)
        if node is self._uncertainty:
            self._uncertainty = None
        if node is self._prediction:
            self._prediction = None
        return shown

    def clear(self, *, restore: bool = True) -> None:
        """Remove everything; nodes that are already gone are ignored.

        Args:
            restore: Let the view show what it showed before; false where another volume is shown next.
        """
        self.unmark()
        self._unwatch()
        removeNodes(node for node in (self._uncertainty, self._prediction) if node is not None)
        self._uncertainty = self._prediction = None
        removeColors()
        if restore and self._saved is not None:
            sliceNode, saved = self._saved
            self._saved = None
            if slicer.mrmlScene.IsNodePresent(sliceNode):
                restoreView(sliceNode, saved)

    def _all(self) -> list[View]:
        view = self.views.annotationView()
        return [*([view] if view is not None else []), *self.views.others()]
