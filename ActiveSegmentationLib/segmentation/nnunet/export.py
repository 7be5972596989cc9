"""A trained nnU-Net as the results folder of nnU-Net, with which its own programs predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import atomic_path, explained
from ActiveSegmentationLib.segmentation.ensemble import Ensemble
from ActiveSegmentationLib.segmentation.nnunet.model import NnunetModel
from ActiveSegmentationLib.segmentation.nnunet.plans import DESCRIPTION, FINGERPRINT, PLANS, Plan

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.predictor import Predictor

CHECKPOINT = "checkpoint_final.pth"
"""Name of the file with the weights, in the folder of each fold."""


def export_results(model: Predictor, folder: Path) -> list[Path]:
    """Write a model as nnU-Net's results folder.

    nnU-Net's predictor reads it with ``nnUNetv2_predict_from_modelfolder -f 0`` or ``nnUNetPredictor``. It takes the
    original image files: the plan says across which axis the slices lie.

    Args:
        model: A model, or an ensemble whose members become folds, of which nnU-Net averages the logits.
        folder: The folder; files of an earlier export are replaced.

    Returns:
        The files written.

    Raises:
        BadInput: If it is not a model of nnU-Net, the members have different plans, the training volumes were stored
            in different orders, which no plan of nnU-Net can say, or the folder holds further folds.
        JobFailed: If the disk is full.
    """
    members = model.members if isinstance(model, Ensemble) else (model,)
    models = [member for member in members if isinstance(member, NnunetModel)]
    if len(models) < len(members):
        advice = "Choose a model of the learner nnunet-2d or nnunet-3d."
        raise BadInput("Only models of nnU-Net have its results.", where="model", advice=advice)
    if len({each.plan.key for each in models}) > 1:
        advice = "Export the members one by one."
        raise BadInput("The ensemble members have different plans.", where="model", advice=advice)
    plan = _for_files(models[0].plan, models[0].record["slice axis"])
    folds = [f"fold_{number}" for number in range(len(models))]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in folder.glob("fold_*") if path.name not in folds)
    if others:
        message = f"The folder holds other folds ({', '.join(others)}), which nnU-Net would use as well."
        raise BadInput(message, where=folder, advice="Choose an empty folder.")
    plan.save(folder)
    written = [folder / name for name in (PLANS, DESCRIPTION, FINGERPRINT)]
    for number, each in enumerate(models):
        path = folder / folds[number] / CHECKPOINT
        with atomic_path(path) as temporary:
            torch.save(_checkpoint(each, plan, number), temporary)
        written.append(path)
    return written


def _for_files(plan: Plan, axis: int | None) -> Plan:
    """The plan for image files as they are stored, whose slices nnU-Net must bring to the front."""
    if axis is None:
        advice = "Store the images in one order, and train again."
        message = "The annotated volumes are stored in different orders, which nnU-Net's plans cannot say."
        raise BadInput(message, where="export", advice=advice)
    front = 2 - axis  # nnU-Net reads arrays as (k, j, i)
    forward = [front, *(each for each in range(3) if each != front)]
    backward = [forward.index(each) for each in range(3)]
    plans = {**plan.plans, "transpose_forward": forward, "transpose_backward": backward}
    return Plan(plans, plan.dataset, plan.fingerprint, plan.configuration)


def _checkpoint(model: NnunetModel, plan: Plan, fold: int) -> dict[str, Any]:
    """The content of nnU-Net's checkpoint of a finished training, without what only its training needs."""
    weights = {name: value.detach().cpu() for name, value in model.network.net.state_dict().items()}
    arguments = {"plans": plan.plans, "configuration": plan.configuration, "fold": fold, "dataset_json": plan.dataset}
    return {
        "network_weights": weights,
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": {},
        "_best_ema": None,
        "current_epoch": -(-model.settings.steps // model.options.iterations),
        "init_args": arguments,
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": tuple(model.record["mirror axes"]) or None,
    }
