"""nnU-Net's plan of a training: patch, batch, network and preprocessing, made from the fingerprint of the data set."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_json, read_json, write_json
from ActiveSegmentationLib.segmentation.nnunet.options import NnunetOptions
from ActiveSegmentationLib.segmentation.nnunet.package import nnunet_folders
from ActiveSegmentationLib.training import private_randomness

DATASET = "Dataset001_ActiveSegmentation"
"""Name of the data set in nnU-Net's folders; every training has folders of its own."""

PLANS, DESCRIPTION, FINGERPRINT = "plans.json", "dataset.json", "dataset_fingerprint.json"
"""Names of the files, as in nnU-Net's results."""

DROPOUT_LAYER = "torch.nn.modules.dropout.Dropout"
"""Layer of the dropout variant: single elements, in 2D and in 3D, as in Foellmer et al. 2024."""

_NETWORKS = (
    "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
)
_LAYERS = ("torch.nn.", "dynamic_network_architectures.building_blocks.")
RETRAIN = "Train again, or use the version of the program that wrote it."


@dataclass(frozen=True)
class Plan:
    """nnU-Net's plan and the description of its data set.

    Slices are nnU-Net's first axis, which it does not transpose, so that its 2D configuration works on our slices.

    Attributes:
        plans: Content of ``plans.json``.
        dataset: Content of ``dataset.json``.
        fingerprint: Content of ``dataset_fingerprint.json``.
        configuration: "2d" or "3d_fullres".
    """

    plans: dict[str, Any]
    dataset: dict[str, Any]
    fingerprint: dict[str, Any]
    configuration: str

    @cached_property
    def key(self) -> str:
        """Hash of the plan, by which prepared images are known."""
        return hash_json([self.plans, self.dataset, self.configuration])

    @cached_property
    def manager(self) -> Any:
        """nnU-Net's ``PlansManager``."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        return PlansManager(self.plans)

    @cached_property
    def settings(self) -> Any:
        """nnU-Net's ``ConfigurationManager``."""
        return self.manager.get_configuration(self.configuration)

    @cached_property
    def labels(self) -> Any:
        """nnU-Net's ``LabelManager``."""
        return self.manager.get_label_manager(self.dataset)

    @property
    def classes(self) -> int:
        """Number of classes including background."""
        return int(self.labels.num_segmentation_heads)

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return len(self.dataset["channel_names"])

    @property
    def patch(self) -> tuple[int, ...]:
        """Size of the patches that the network takes: rows and columns, in 3D slices first."""
        return tuple(int(n) for n in self.settings.patch_size)

    @property
    def is_3d(self) -> bool:
        """Whether the network takes volumes."""
        return len(self.patch) == 3

    @property
    def architecture(self) -> dict[str, Any]:
        """Class and layers of the network, without its dropout."""
        own = self.plans["configurations"][self.configuration]["architecture"]
        layers = {name: value for name, value in own["arch_kwargs"].items() if not name.startswith("dropout")}
        return {"network": own["network_class_name"], **layers}

    @property
    def bottleneck_width(self) -> int:
        """Features of the encoder's coarsest map."""
        return int(self.architecture["features_per_stage"][-1])

    @property
    def bottleneck_pixels(self) -> int:
        """Positions of the encoder's coarsest map of a patch."""
        strides = np.prod(self.architecture["strides"], axis=0)
        return int(np.prod(np.array(self.patch) // strides))

    def describe_network(self) -> str:
        """The network in a few words, for messages."""
        layers = self.architecture
        features = "-".join(str(n) for n in layers["features_per_stage"])
        return f"{layers['network'].rpartition('.')[2]} of {layers['n_stages']} stages ({features} features)"

    def save(self, folder: Path) -> None:
        """Write the three files, as in nnU-Net's results.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
        for name, value in ((PLANS, self.plans), (DESCRIPTION, self.dataset), (FINGERPRINT, self.fingerprint)):
            write_json(folder / name, value)


def read_plan(folder: Path, configuration: str) -> Plan:
    """Read the files that ``Plan.save`` wrote.

    Raises:
        BadInput: If a file is missing or damaged, or names another class than those of nnU-Net's networks.
    """
    plans, dataset, found = (read_json(folder / name) for name in (PLANS, DESCRIPTION, FINGERPRINT))
    try:
        architecture = plans["configurations"][configuration]["architecture"]
        layers = [architecture["arch_kwargs"][name] for name in architecture["_kw_requires_import"]]
        known = architecture["network_class_name"] in _NETWORKS
        known &= all(layer is None or layer.startswith(_LAYERS) for layer in layers)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput("nnU-Net's plan is damaged.", where=folder / PLANS, advice=RETRAIN) from error
    if not known:  # nnU-Net calls whatever a plan names
        raise BadInput("The plan names a network that nnU-Net does not have.", where=folder / PLANS, advice=RETRAIN)
    return Plan(plans, dataset, found, configuration)


def make_plan(
    dataset: dict[str, Any], found: dict[str, Any], configuration: str, options: NnunetOptions, *, work: Path
) -> Plan:
    """Let nnU-Net plan a training.

    Args:
        dataset: Description of the data set.
        found: Its fingerprint.
        configuration: "2d" or "3d_fullres".
        options: Options of the learner.
        work: Folder for nnU-Net's files, which only this training uses.

    Raises:
        BadInput: If nnU-Net plans no such configuration, because the volumes have one slice, or no patch is small
            enough for the memory.
    """
    raw, preprocessed = work / "raw" / DATASET, work / "preprocessed" / DATASET
    with explained(work):
        for folder in (raw, preprocessed):
            folder.mkdir(parents=True, exist_ok=True)
    write_json(raw / DESCRIPTION, {**dataset, "dataset": {}})  # nnU-Net would list files otherwise
    write_json(preprocessed / FINGERPRINT, found)
    with (
        nnunet_folders(work),
        private_randomness("cpu"),
        warnings.catch_warnings(),
    ):  # it makes networks to measure them
        warnings.filterwarnings("ignore", message=".*non-standard gpu_memory_target.*|divide by zero.*")
        planner = _planner(options.architecture)(
            DATASET, gpu_memory_target_in_gb=options.memory, suppress_transpose=True
        )
        try:
            planner.plan_experiment()
        except (OverflowError, ZeroDivisionError) as error:  # it shrinks the patch until a side is 0
            message = f"nnU-Net finds no patch of these images that takes {options.memory:g} GB or less."
            raise BadInput(message, where="learner options, memory", advice="Allow more memory.") from error
    plans = read_json(preprocessed / f"{planner.plans_identifier}.json")
    if configuration not in plans["configurations"]:
        advice = "Choose the learner nnunet-2d."
        raise BadInput("nnU-Net has no 3D plan for volumes of one slice.", where="learner nnunet-3d", advice=advice)
    return Plan(_with_options(plans, options), dataset, found, configuration)


def kept_plan(plan: Plan, dataset: dict[str, Any], options: NnunetOptions) -> Plan:
    """The plan of an earlier training, for the present data set and options."""
    return Plan(_with_options(plan.plans, options), dataset, plan.fingerprint, plan.configuration)


def _planner(architecture: str) -> Any:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
        nnUNetPlannerResEncM,
    )
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    base = nnUNetPlannerResEncM if architecture == "residual" else ExperimentPlanner
    own = {"determine_reader_writer": lambda self: SimpleITKIO}  # nnU-Net would open a file to find out
    return type(base.__name__, (base,), own)


def _with_options(plans: dict[str, Any], options: NnunetOptions) -> dict[str, Any]:
    """The plans with the batch size and the dropout of the options."""
    configurations = {}
    for name, configuration in plans["configurations"].items():
        changed = dict(configuration)
        if options.batch_size and "batch_size" in changed:
            changed["batch_size"] = options.batch_size
        if "architecture" in changed:
            dropout: dict[str, Any] = {"dropout_op": None, "dropout_op_kwargs": None}
            if options.dropout:
                dropout = {"dropout_op": DROPOUT_LAYER, "dropout_op_kwargs": {"p": options.dropout}}
            layers = {**changed["architecture"]["arch_kwargs"], **dropout}
            changed["architecture"] = {**changed["architecture"], "arch_kwargs": layers}
        configurations[name] = changed
    return {**plans, "configurations": configurations}
