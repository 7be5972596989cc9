"""3D Slicer module: which slice should the expert annotate next?"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if importlib.util.find_spec("ActiveSegmentationLib") is None:  # run from source: the library is next to this folder
    sys.path.append(str(Path(__file__).resolve().parents[1]))


class ActiveSegmentation(ScriptedLoadableModule):
    """The module's entry in Slicer: title, category, help, acknowledgement."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Active Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["SegmentEditor", "Plots"]
        self.parent.contributors = ["The ActiveSegmentation developers"]
        self.parent.helpText = _(
            "Open a cohort, press <b>Suggest next slices</b>, annotate the few slices that a model learns most from, "
            "and get a segmentation of the whole cohort. Everything runs on this computer; no image leaves it."
        )
        self.parent.acknowledgementText = _(
            "Methods: Vepa et al. (NeurIPS 2024), Gaillochet et al. (Medical Image Analysis 2023), Föllmer et al. "
            "(MIDL 2024), Özdemir et al. (Medical Image Analysis 2021)."
        )
        slicer.app.startupCompleted.connect(registerSampleData)


def registerSampleData() -> None:
    """Register the sample cohorts with the module Sample Data."""
    from ActiveSegmentationLib.scene.sampleData import registerSampleData as register

    register(Path(__file__).resolve().parent / "Resources")


@parameterNodeWrapper
class ActiveSegmentationParameterNode:
    """Settings of the panels that are saved with the scene; the study itself is in its folder.

    Attributes:
        requestCount: Number of slices to suggest.
        strategy: Name of the strategy, with its argument and options if any, as in "power:entropy/beta=5".
        seed: Random seed.
        maxPerVolume: Maximum number of slices per volume, 0 for no limit.
        maxPerPatient: Maximum number of slices per patient, 0 for no limit.
        minGap: Minimum distance between two requests in a volume, in slices.
        uncertaintyOpacity: Opacity of the uncertainty over the image.
        autoTrain: Whether to train automatically.
        trainAfter: Number of committed slices after which to train automatically.
        models: Number of ensemble members.
        steps: Training steps, 0 for the setting of the study.
        largestPart: Whether segmentations keep only the largest part of each structure.
        fillHoles: Which holes in structures are filled: "no", "2d" within slices, "3d" those enclosed on all sides.
        studyFolder: The study that was open when the scene was saved, "" for none.
    """

    requestCount: Annotated[int, WithinRange(1, 500), Default(10)]
    strategy: Annotated[str, Default("recommended")]
    seed: Annotated[int, WithinRange(0, 1000000), Default(0)]
    maxPerVolume: Annotated[int, WithinRange(0, 1000), Default(0)]
    maxPerPatient: Annotated[int, WithinRange(0, 1000), Default(0)]
    minGap: Annotated[int, WithinRange(0, 1000), Default(0)]
    uncertaintyOpacity: Annotated[float, WithinRange(0.0, 1.0), Default(0.5)]
    autoTrain: Annotated[bool, Default(False)]
    trainAfter: Annotated[int, WithinRange(1, 500), Default(10)]
    models: Annotated[int, WithinRange(1, 20), Default(1)]
    steps: Annotated[int, WithinRange(0, 100000), Default(0)]
    largestPart: Annotated[bool, Default(False)]
    fillHoles: Annotated[str, Choice(["no", "2d", "3d"]), Default("no")]
    studyFolder: Annotated[str, Default("")]


class ActiveSegmentationLogic(ScriptedLoadableModuleLogic):
    """The module's functions for scripts and other modules; usable without the widget.

    ``suggest``, ``train``, ``predict``, ``evaluate`` and ``export`` wait for the worker and return its result; the
    panels use ``session`` and ``work``, which do not wait.

    Args:
        views: Where volumes are shown, see ``scene.views``. Default: nowhere.
        editor: Segment editor to draw with, see ``scene.editor``. Default: none.
        python: Python of the worker, "" for Slicer's own.

    Attributes:
        session: The open study, see ``scene.session``.
        work: The worker's jobs, see ``scene.work``.
    """

    def __init__(self, views: Any = None, editor: Any = None, python: str = "") -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        from ActiveSegmentationLib.panels.dependencies import Dependencies, workerCommand, workerEnvironment
        from ActiveSegmentationLib.scene.session import Session
        from ActiveSegmentationLib.scene.work import Work
        from ActiveSegmentationLib.worker.client import WorkerClient

        self.session = Session(views, editor)
        window = None if slicer.app.commandOptions().noMainWindow else slicer.util.mainWindow()
        client = WorkerClient(workerCommand(python), workerEnvironment(python), window)
        self.work = Work(self.session, client)
        self.dependencies = Dependencies(Path(__file__).resolve().parent / "Resources" / "requirements.txt")

    def getParameterNode(self) -> ActiveSegmentationParameterNode:
        """The parameter node of the scene."""
        return ActiveSegmentationParameterNode(super().getParameterNode())

    def createStudy(
        self,
        folder: str | Path,
        cohort: str | Path,
        labels: str | None = None,
        annotation: str = "mask",
        settings: dict[str, Any] | None = None,
        pseudonyms: str | Path | None = None,
        **discovery: Any,
    ) -> Any:
        """Create a study of a cohort and open it.

        Args:
            folder: Folder of the study, new or empty.
            cohort: Folder, table or file of the images.
            labels: "1=NAME,2=NAME". Default: the labels of the cohort.
            annotation: "mask" or "scribble".
            settings: Settings of the loop, JSON values in sections.
            pseudonyms: Give patients and volumes pseudonyms; the file outside of study and cohort that tells whose they
                are. Default: the cohort's ids.
            discovery: ``layout``, ``axis`` and ``pattern`` of ``cohort.discover``.

        Returns:
            The ``Study``.

        Raises:
            BadInput: If the images, the labels, the folder or the key file cannot be used.
        """
        from ActiveSegmentationLib.cohort import AnnotationKind, discover, pseudonymised
        from ActiveSegmentationLib.study import label_set_for

        found = discover(Path(cohort), **discovery)
        names = label_set_for(found, labels)
        if pseudonyms is not None:
            found = pseudonymised(found, pseudonyms, folder)
        return self.session.createStudy(Path(folder), found, names, AnnotationKind(annotation), settings or {})

    def openStudy(self, folder: str | Path) -> Any:
        """Open a study; returns the ``Study``.

        Raises:
            BadInput: If there is no study, or it is damaged.
        """
        return self.session.openStudy(Path(folder))

    def suggest(
        self,
        count: int,
        strategy: str = "recommended",
        seed: int = 0,
        unit: str = "slice",
        **constraints: Any,
    ) -> list[Any]:
        """Suggest the slices to annotate next, and wait for them.

        Args:
            count: Number of slices.
            strategy: Name of the strategy, optionally with argument and options, such as "power:entropy/beta=5".
            seed: Random seed.
            unit: "slice", or "volume" to suggest whole volumes; ``count`` then counts volumes.
            constraints: ``max_per_volume``, ``max_per_patient``, ``min_gap``, ``blank``.

        Returns:
            The ``RequestRow`` of each request.

        Raises:
            BadInput: If no study is open, or the input cannot be used.
            JobFailed: If the job failed.
        """
        self._await(lambda: self.work.suggest(count, strategy, seed, constraints, unit=unit))
        return list(self.session.requests.rows)

    def markExtent(self, volume: str, first: int, last: int) -> None:
        """Mark the extent of a volume, for strategies such as foreground-random:marked.

        Args:
            volume: Id of the volume.
            first: First slice that shows a structure, counted from 1.
            last: Last slice that shows a structure, counted from 1 and not before ``first``.

        Raises:
            BadInput: If no study is open, there is no such volume or slice, the volume is excluded, or the study cannot
                be written.
        """
        self.session.extents.mark(volume, first - 1, last - 1)

    def clearExtent(self, volume: str) -> None:
        """Delete the extent of a volume; does nothing if none is marked.

        Args:
            volume: Id of the volume.

        Raises:
            BadInput: If no study is open, there is no such volume, or the study cannot be written.
        """
        self.session.extents.clear(volume)

    def openRequest(self, number: int) -> None:
        """Load the volume of a request (counted from 1) if needed, and show its slice."""
        self.session.openRequest(number)

    def commitSlice(self, empty: bool = False) -> Any:
        """Commit the open slice; returns its ``SliceId``."""
        return self.session.annotating.commit(empty=empty)

    def skipSlice(self, reason: str) -> Any:
        """Skip the open slice; returns its ``SliceId``."""
        return self.session.annotating.skip(reason)

    def chooseLearner(self, name: str, **options: Any) -> dict[str, Any]:
        """Train with another learner from now on, and wait until the study has kept it.

        Args:
            name: Name of the learner; ``activesegmentation learners`` lists them.
            options: Settings that only this learner has.

        Returns:
            The ``name`` and the ``options`` of the learner that the study uses.

        Raises:
            BadInput: If no study is open, or the learner or an option cannot be used.
        """
        texts = {key: str(value) for key, value in options.items()}
        return self._await(lambda: self.work.chooseLearner(name, texts))["chosen"]

    def train(self, models: int = 1, steps: int = 0) -> dict[str, Any]:
        """Train on all committed slices, and wait; returns round, model, annotated and curve."""
        return self._await(lambda: self.work.train(models, steps))

    def predict(self, volumes: list[str] | None = None) -> list[dict[str, Any]]:
        """Segment volumes (default: all), and wait; returns the reviews, the most uncertain volume first."""
        return self._await(lambda: self.work.predict(volumes))["reviews"]

    def evaluate(self) -> dict[str, Any]:
        """Score the latest model against the cohort's reference masks, and wait; returns role and scores."""
        return self._await(self.work.evaluate)

    def export(self, formatName: str, out: str | Path, **options: Any) -> list[str]:
        """Write annotations, predictions or the model to a folder, and wait; returns the files. See ``Work.export``."""
        return self._await(lambda: self.work.export(formatName, Path(out), **options))["files"]

    def _await(self, start: Any) -> dict[str, Any]:
        from ActiveSegmentationLib.scene.scripting import resultOf

        return resultOf(self.work, start)

    def close(self) -> None:
        """End the session and the worker."""
        try:
            self.session.close()
        finally:
            self.work.client.stop()


class ActiveSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panels."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self) -> None:
        """Create the panels."""
        ScriptedLoadableModuleWidget.setup(self)
        from ActiveSegmentationLib.panels.wiring import Wiring

        self.uiWidget = slicer.util.loadUI(self.resourcePath("UI/ActiveSegmentation.ui"))
        self.layout.addWidget(self.uiWidget)
        self.ui = slicer.util.childWidgetVariables(self.uiWidget)
        self.uiWidget.setMRMLScene(slicer.mrmlScene)
        self._parameterNode: Any = None
        self._guiTag: Any = None
        self.wiring = Wiring(self.ui, ActiveSegmentationLogic, self.parameters)
        self.logic = self.wiring.logic
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()
        if getattr(self.parent, "isEntered", False):  # reloaded while shown: Slicer does not call enter again
            self.enter()

    def parameters(self) -> Any:
        """The parameter node, also while the module is hidden and its widgets are not connected to it."""
        return self._parameterNode if self._parameterNode is not None else self.logic.getParameterNode()

    def initializeParameterNode(self) -> None:
        """Connect the widgets to the parameter node of the scene."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode: Any) -> None:
        """Connect the widgets to a parameter node, or to none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            self.wiring.scheduleUpdate()

    def onParametersModified(self, caller: Any = None, event: Any = None) -> None:
        """Called when a parameter was changed."""
        self.wiring.scheduleUpdate()

    def enter(self) -> None:
        """Called when the module is shown."""
        self.initializeParameterNode()
        self.wiring.enter()

    def exit(self) -> None:
        """Called when the user leaves the module."""
        self.wiring.exit()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """Called while the scene is being closed; the session has saved uncommitted strokes."""
        self.setParameterNode(None)
        self.wiring.onSceneStartClose()

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        """Called after the scene was closed."""
        self.wiring.onSceneEndClose()
        if self.parent.isEntered:
            self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the module is unloaded or reloaded."""
        self.exit()
        self.removeObservers()
        self.wiring.close()
        self.uiWidget.setMRMLScene(None)
        self.uiWidget.setParent(None)
        self.uiWidget.deleteLater()


class ActiveSegmentationTest(ScriptedLoadableModuleTest):
    """A quick check inside Slicer; the full tests are in the repository's Testing folder."""

    def setUp(self) -> None:
        """Start with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all checks."""
        self.setUp()
        self.test_annotateSample()

    def test_annotateSample(self) -> None:
        """Create a study, draw on a slice, commit it and read it back."""
        import tempfile

        import numpy as np

        from ActiveSegmentationLib.cohort import SliceId, write_phantom
        from ActiveSegmentationLib.scene import paint, segmentId

        logic = ActiveSegmentationLogic()
        with tempfile.TemporaryDirectory() as folder:
            write_phantom(Path(folder) / "cohort", patients=2, scribbles=False)
            study = logic.createStudy(Path(folder) / "study", Path(folder) / "cohort")
            volume = study.cohort.volumes[0]
            logic.session.openSlice(SliceId(volume.id, 3))
            mask = np.zeros(volume.plane_shape, dtype=bool)
            mask[20:30, 40:60] = True
            case = logic.session.case
            paint(case.segmentationNode, case.volumeNode, segmentId(study.labels.values[0]), volume.axis, 3, mask)
            sliceId = logic.commitSlice()
            stored = study.annotations()[sliceId].labels
            assert np.array_equal(stored == study.labels.values[0], mask)
            logic.close()
        self.delayDisplay("Test passed")
