"""A trainer of nnU-Net without its files, prints and processes; its network, loss, optimiser and augmentation stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.segmentation.nnunet.cases import Case
from ActiveSegmentationLib.segmentation.nnunet.network import NnunetNetwork
from ActiveSegmentationLib.segmentation.nnunet.options import NnunetOptions
from ActiveSegmentationLib.segmentation.nnunet.package import nnunet_folders
from ActiveSegmentationLib.segmentation.nnunet.plans import Plan
from ActiveSegmentationLib.segmentation.nnunet.prepared import prepare


class PreparedCases(nnUNetBaseDataset):
    """Prepared training cases in a folder of plain arrays, which are mapped into memory, and their properties.

    Args:
        folder: The folder.

    Attributes:
        identifiers: Names of the cases, sorted.
        axes: Image axes across which their slices lie, None for volumes whose planes were turned.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._properties: dict[str, Mapping[str, Any]] = {}
        self.identifiers: list[str] = []
        self.axes: set[int | None] = set()
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, case: Case, plan: Plan) -> None:
        """Prepare a case as planned and keep it.

        Raises:
            JobFailed: If the disk is full.
        """
        data, own, properties = prepare(case.image, case.labels, case.spacing, plan)
        with explained(self._folder):
            np.save(self._file(case.name, "image"), data)
            np.save(self._file(case.name, "labels"), own)
        self.axes.add(case.axis)
        self._properties[case.name] = {"class_locations": properties["class_locations"]}
        self.identifiers = sorted(self._properties)

    @property
    def only_axis(self) -> int | None:
        """The image axis across which the slices of all cases lie, or None if they differ or planes were turned."""
        return next(iter(self.axes)) if len(self.axes) == 1 else None

    def load_case(self, identifier: str) -> tuple[np.ndarray, np.ndarray, None, Mapping[str, Any]]:
        """Image, labels, nothing for an earlier stage of a cascade, and properties of a case."""
        # nnU-Net may write to what it gets; copies on write leave the files as they are
        image, labels = (np.load(self._file(identifier, what), mmap_mode="c") for what in ("image", "labels"))
        return image, labels, None, self._properties[identifier]

    def _file(self, name: str, what: str) -> Path:
        return self._folder / f"{name}.{what}.npy"

    @staticmethod
    def save_case(data: Any, seg: Any, properties: Any, output_filename_truncated: str) -> None:
        """Not used: cases are added by ``add``."""
        raise NotImplementedError

    @staticmethod
    def get_identifiers(folder: str) -> list[str]:
        """Not used: cases are added by ``add``."""
        raise NotImplementedError


class LoopTrainer(nnUNetTrainer):
    """nnU-Net's trainer, driven step by step from outside; made by ``make_trainer``."""

    def print_to_log_file(self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        """Nothing: the history of the training has its own file."""

    def _do_i_compile(self) -> bool:
        return False  # compiled networks have other weights' names, and no compiler may be there

    def take(self, network: NnunetNetwork, options: NnunetOptions, epochs: int) -> None:
        """Take over a network on the device, and make nnU-Net's optimiser, schedule and loss for it."""
        self.num_epochs, self.num_iterations_per_epoch = epochs, options.iterations
        self.initial_lr, self.oversample_foreground_percent = options.learning_rate, options.foreground
        self._set_batch_size_and_oversample()
        self.num_input_channels = len(self.dataset_json["channel_names"])
        self.network = network.net
        self.optimizer, self.lr_scheduler = self.configure_optimizers()
        self.loss = self._build_loss()
        self.was_initialized = True

    def batch_source(self, cases: PreparedCases, *, augment: bool) -> nnUNetDataLoader:
        """nnU-Net's source of batches; it draws from the global generators of NumPy and PyTorch.

        Args:
            cases: The prepared cases.
            augment: Whether patches are augmented; otherwise they are only drawn.
        """
        patch, scales = self.configuration_manager.patch_size, self._get_deep_supervision_scales()
        rotation, dummy_2d, initial, axes = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        labels = {
            "foreground_labels": self.label_manager.foreground_labels,
            "ignore_label": self.label_manager.ignore_label,
        }
        if augment:
            masked = self.configuration_manager.use_mask_for_norm
            transforms = self.get_training_transforms(
                patch, rotation, scales, axes, dummy_2d, use_mask_for_norm=masked, **labels
            )
        else:
            transforms, initial = self.get_validation_transforms(scales, **labels), patch
        for each in transforms.transforms:
            inner = getattr(each, "transform", None)
            if isinstance(inner, GaussianBlurTransform):
                inner.benchmark = False  # it would choose its arithmetic by a measurement of time
        return nnUNetDataLoader(
            cases,
            self.batch_size,
            initial,
            patch,
            self.label_manager,
            oversample_foreground_percent=self.oversample_foreground_percent,
            transforms=transforms,
        )


def make_trainer(plan: Plan, device: str, work: Path) -> LoopTrainer:
    """A trainer for a plan.

    Args:
        plan: The plan.
        device: PyTorch device.
        work: Folder for nnU-Net's files, which only this training uses.
    """
    with nnunet_folders(work), explained(work):
        work.mkdir(parents=True, exist_ok=True)
        plans = {**plan.plans, "continue_training": False}
        trainer = LoopTrainer(plans, plan.configuration, "all", plan.dataset, torch.device(device))
    trainer.device = torch.device(device)  # nnU-Net takes the first GPU always
    return trainer
