"""The learners "nnunet-2d" and "nnunet-3d": nnU-Net v2 itself, planned, prepared and trained anew in every round."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, remove_tree
from ActiveSegmentationLib.segmentation.learner import (
    DROPOUT,
    FEATURES,
    GRADIENTS,
    LOSS_HEAD,
    NNUNET,
    SAFETENSORS,
    SegmentationLearner,
)
from ActiveSegmentationLib.segmentation.nnunet.options import NnunetOptions
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.training import Checkpoints, History, Settings, run_training, training_versions

if TYPE_CHECKING:
    from ActiveSegmentationLib.common.compute import Compute
    from ActiveSegmentationLib.segmentation.export_context import ExportContext
    from ActiveSegmentationLib.segmentation.nnunet.model import NnunetModel
    from ActiveSegmentationLib.segmentation.nnunet.plans import Plan
    from ActiveSegmentationLib.segmentation.nnunet.trainer import PreparedCases
    from ActiveSegmentationLib.segmentation.nnunet.training import NnunetTraining
    from ActiveSegmentationLib.segmentation.predictor import Predictor, TrainedModel
    from ActiveSegmentationLib.segmentation.training import TrainingTask

WORK = "nnunet"
"""Folder of prepared cases within the folder of a model, deleted when the training ends."""

OURS = {"learner", "options", "steps", "augment", "warm_start", "close_background", "loss_head"}
"""Training settings that have a meaning for nnU-Net; it decides all others itself."""


class NnunetLearner(SegmentationLearner):
    """nnU-Net v2 (Isensee et al. 2021) on partly annotated volumes; base of the 2D and the 3D learner.

    Every training starts from the volumes as they were acquired: nnU-Net takes the fingerprint of those with an
    annotated slice, plans, prepares and trains. Unlabelled pixels, and slices without annotation, have its ignore
    label. With a warm start the training begins with the weights of the earlier model and the full learning rate, as
    in Foellmer et al. 2024; if the plan has another network, it begins with random weights, and a message says so.

    Differences from nnU-Net's own command line:

    - All annotated volumes are trained on; none is held back for validation, and the last weights are kept.
    - Presets train 300 epochs of 250 steps, as Foellmer et al. do in each round; nnU-Net itself trains 1000 epochs.
    - Slices are nnU-Net's first axis, so that its 2D configuration works on the slices that are annotated.
    - The blur of the augmentation chooses its arithmetic by size, not by a measurement of time, and networks are not
      compiled, so that equal seeds give equal weights on a CPU.
    """

    options: ClassVar[type[Settings]] = NnunetOptions
    small: ClassVar[Mapping[str, Any]] = {
        "steps": 30,
        "options": {"iterations": 5, "batch_size": 2, "memory": 1.0, "dropout": 0.1, "learning_rate": 0.1},
    }
    as_acquired: ClassVar[bool] = True
    exports = (NNUNET, SAFETENSORS)
    exports_no_other = "nnU-Net prepares images by its own plan, which only nnU-Net follows."
    configuration: ClassVar[str]

    @classmethod
    def check(cls, settings: TrainingSettings) -> None:
        """Refuse settings that nnU-Net does not use; see ``SegmentationLearner.check``."""
        super().check(settings)
        usual = TrainingSettings()
        names = [each.name for each in dataclasses.fields(settings)]  # type: ignore[arg-type]
        changed = [name for name in names if name not in OURS and getattr(settings, name) != getattr(usual, name)]
        if changed:
            advice = "Leave them at their defaults; what can be chosen are the learner's options."
            message = f"nnU-Net decides these settings itself: {', '.join(changed)}."
            raise BadInput(message, where="training settings", advice=advice)

    @classmethod
    def can_start_from(cls, initial: TrainedModel, settings: TrainingSettings, channels: int) -> bool:
        """Whether the earlier model took the same channels; see ``SegmentationLearner.can_start_from``."""
        from ActiveSegmentationLib.segmentation.nnunet.model import NnunetModel

        return isinstance(initial, NnunetModel) and initial.plan.channels == channels

    @classmethod
    def fit(
        cls, task: TrainingTask, *, folder: Path, compute: Compute, stage: str, checkpoint_every: int
    ) -> NnunetModel:
        """Train nnU-Net; see ``SegmentationLearner.fit``."""
        from ActiveSegmentationLib.segmentation.nnunet.model import NnunetModel

        work = folder / WORK
        _clear(work)
        try:
            plan = cls.plan(task, work=work, compute=compute, stage=stage)
            cases = _prepared(task, plan, work, compute, stage)
            training = cls._training(task, plan, cases, compute, work)
            training.stage = stage
            begun = _begin(training, task, plan, compute)
            checkpoints = Checkpoints(folder, task.key, checkpoint_every)
            history = run_training(training, compute.progress, checkpoints)
            record = _record(training, task, plan, history) | {"begun with": begun, "slice axis": cases.only_axis}
            model = NnunetModel(training.trained_network(), plan, task.settings, task.key, record)
            model.save(folder)
            checkpoints.remove()
        finally:
            _clear(work)
        return model

    @classmethod
    def plan(cls, task: TrainingTask, *, work: Path, compute: Compute, stage: str = "Training") -> Plan:
        """nnU-Net's plan for a training.

        Args:
            task: The training.
            work: Folder for nnU-Net's files.
            compute: Progress reporter.
            stage: What progress reports call the training.
        """
        from ActiveSegmentationLib.segmentation.nnunet import cases, plans
        from ActiveSegmentationLib.segmentation.nnunet.model import NnunetModel

        options = NnunetOptions.from_json(task.settings.options)
        volumes = cases.planned_volumes(task, options)
        dataset = cases.describe(task, volumes, options)
        if isinstance(task.initial, NnunetModel) and options.plan == "kept":
            return plans.kept_plan(task.initial.plan, dataset, options)
        found = cases.cases(task, volumes, compute.progress, f"{stage}: reading the images")
        measured = cases.fingerprint(found, dataset["numTraining"])
        compute.progress.update(f"{stage}: planning", 0, 1)
        plan = plans.make_plan(dataset, measured, cls.configuration, options, work=work)
        compute.progress.update(f"{stage}: planning", 1, 1)
        return plan

    @classmethod
    def export(cls, model: Predictor, folder: Path, format_name: str, about: ExportContext) -> list[Path]:
        """Also nnU-Net's results folder, a fold for each ensemble member; see ``SegmentationLearner.export``."""
        from ActiveSegmentationLib.segmentation.nnunet.export import export_results

        if format_name != NNUNET:
            return super().export(model, folder, format_name, about)
        return export_results(model, folder)

    @classmethod
    def load(cls, folder: Path) -> NnunetModel:
        """Read a model; see ``SegmentationLearner.load``."""
        from ActiveSegmentationLib.segmentation.nnunet.model import read_model

        return read_model(folder)

    @classmethod
    def _training(
        cls, task: TrainingTask, plan: Plan, cases: PreparedCases, compute: Compute, work: Path
    ) -> NnunetTraining:
        from ActiveSegmentationLib.segmentation.nnunet.training import NnunetTraining

        return NnunetTraining(plan, cases, task.settings, seed=task.seed, device=compute.device, work=work)


class Nnunet2d(NnunetLearner):
    """nnU-Net's 2D configuration, slice by slice."""

    configuration: ClassVar[str] = "2d"

    @classmethod
    def capabilities(cls, settings: TrainingSettings) -> frozenset[str]:
        """Features, gradients and the loss head; dropout if the options have some."""
        return frozenset({FEATURES, GRADIENTS, LOSS_HEAD, *_dropout(settings)})


class Nnunet3d(NnunetLearner):
    """nnU-Net's 3D configuration at full resolution."""

    configuration: ClassVar[str] = "3d_fullres"

    @classmethod
    def capabilities(cls, settings: TrainingSettings) -> frozenset[str]:
        """Dropout, if the options have some."""
        return frozenset(_dropout(settings))


def _dropout(settings: TrainingSettings) -> set[str]:
    return {DROPOUT} if NnunetOptions.from_json(settings.options).dropout else set()


def _clear(folder: Path) -> None:
    with explained(folder):
        if folder.is_dir():
            remove_tree(folder)


def _prepared(task: TrainingTask, plan: Plan, work: Path, compute: Compute, stage: str) -> PreparedCases:
    from ActiveSegmentationLib.segmentation.nnunet import cases
    from ActiveSegmentationLib.segmentation.nnunet.trainer import PreparedCases

    prepared = PreparedCases(work / "cases")
    volumes = cases.annotated_volumes(task)
    for case in cases.cases(task, volumes, compute.progress, f"{stage}: preparing the images"):
        prepared.add(case, plan)
    return prepared


def _begin(training: NnunetTraining, task: TrainingTask, plan: Plan, compute: Compute) -> str:
    """Take over the weights of the earlier model where the network is the same; returns what the training begins
    with."""
    from ActiveSegmentationLib.segmentation.nnunet.model import NnunetModel

    initial = task.initial
    if not isinstance(initial, NnunetModel):
        return "random weights"
    if initial.plan.architecture == plan.architecture:
        training.start_from(initial.network)
        return f"model {initial.key[:16]}"
    compute.progress.message(
        f"nnU-Net now plans a {plan.describe_network()}, and the earlier model is a "
        f"{initial.plan.describe_network()}: the training begins with random weights. The options plan=kept and "
        "plan=cohort keep the network."
    )
    return "random weights, because the plan has another network"


def _record(training: NnunetTraining, task: TrainingTask, plan: Plan, history: History) -> dict[str, Any]:
    """The record of a training, which is saved with the model."""
    return {
        "seed": task.seed,
        "device": training.device,
        "seconds": round(history.seconds, 3),
        "examples": len(task.examples),
        "final loss": training.history_to_json(history)["loss"][-1],
        "network": plan.describe_network(),
        "patch": list(plan.patch),
        "batch": int(plan.settings.batch_size),
        "mirror axes": list(training.mirror_axes),
        "versions": training_versions() | {"nnunetv2": importlib.metadata.version("nnunetv2")},
    }
