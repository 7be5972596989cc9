"""The learners of segmentations by name: those of this library, and those that installed packages add."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.plugins import installed_plugins, load_plugin
from ActiveSegmentationLib.segmentation.learner import (
    AUGMENTATION,
    CAPABILITIES,
    DROPOUT,
    FEATURES,
    GRADIENTS,
    LOSS_HEAD,
    NNUNET,
    OF_NETWORKS,
    SAFETENSORS,
    SegmentationLearner,
)

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings

ENTRY_POINT_GROUP = "activesegmentation.learners"
"""Packages add learners by entry points of this group: the name is the learner's, the value a subclass of
``SegmentationLearner``."""


@dataclass(frozen=True)
class LearnerEntry:
    """A learner of this library, described without importing it.

    Attributes:
        place: Module within ``segmentation`` and name of the class.
        summary: One line that says when to use it.
        source: Paper or program that it comes from.
        lacks: What its models cannot do, keys of ``learner.CAPABILITIES``.
        needs_masks: Whether it cannot learn from scribbles; the same as the class says.
        exports: Formats that its models are exported in; the same as the class says.
        packages: Packages that it needs in addition to those of this library: the module that is imported, and what
            pip installs.
        dropout: Default of its option "dropout", if it has one; otherwise the training settings say where dropout is.
    """

    place: tuple[str, str]
    summary: str
    source: str = ""
    lacks: frozenset[str] = frozenset()
    needs_masks: bool = False
    exports: tuple[str, ...] = OF_NETWORKS
    packages: Mapping[str, str] = field(default_factory=dict)
    dropout: float | None = None


NNUNET_PACKAGES = {"nnunetv2": "nnunetv2>=2.8"}
"""What the learners of nnU-Net need."""

LEARNERS: dict[str, LearnerEntry] = {
    "unet": LearnerEntry(
        ("network_learner", "NetworkLearner"), "2D U-Net of adjustable size; trains within minutes.", "Ronneberger 2015"
    ),
    "auto": LearnerEntry(
        ("auto_learner", "AutoLearner"),
        "U-Net that fits cohort, device and a budget of time; with scribbles it learns from unlabelled slices too.",
        "after Isensee 2021 (nnU-Net)",
    ),
    "dmpls": LearnerEntry(
        ("dmpls", "DmplsLearner"),
        "2D U-Net with a second decoder, for scribbles: it also learns from unlabelled pixels.",
        "Luo 2022",
    ),
    "dcan": LearnerEntry(
        ("dcan", "DcanLearner"),
        "2D network that adds up predictions of several resolution levels, with dropout of whole channels.",
        "Ozdemir 2021, Chen 2016",
    ),
    "resnet50-unet": LearnerEntry(
        ("resnet_unet", "ResNetUNetLearner"),
        "2D U-Net with a ResNet-50 that was trained on other images; give its weights as a file.",
        "Vepa 2024, LVM-Med",
    ),
    "nnunet-2d": LearnerEntry(
        ("nnunet.learner", "Nnunet2d"),
        "nnU-Net v2 itself on slices, planned anew in every round; for a GPU and long trainings.",
        "Isensee 2021",
        lacks=frozenset({AUGMENTATION}),
        exports=(NNUNET, SAFETENSORS),
        packages=NNUNET_PACKAGES,
        dropout=0.0,
    ),
    "nnunet-3d": LearnerEntry(
        ("nnunet.learner", "Nnunet3d"),
        "nnU-Net v2 itself on volumes of which some slices are annotated; for a GPU and long trainings.",
        "Isensee 2021",
        lacks=frozenset({AUGMENTATION, FEATURES, GRADIENTS, LOSS_HEAD}),
        exports=(NNUNET, SAFETENSORS),
        packages=NNUNET_PACKAGES,
        dropout=0.0,
    ),
    "unet3d": LearnerEntry(
        ("volume_learner", "VolumeLearner"),
        "3D U-Net that sees the slices around the annotated ones.",
        "Isensee 2021 (MONAI's DynUNet)",
        lacks=frozenset({AUGMENTATION, GRADIENTS, LOSS_HEAD}),
    ),
}
"""The learners of this library by name; a learner's module is imported when it is asked for."""

BASE_PACKAGES = {"torch": "torch", "monai": "monai"}
"""Packages that every learner needs, as in ``LearnerEntry.packages``."""


def learner_names() -> list[str]:
    """Names of all learners, those of this library first."""
    added = {point.name for point in installed_plugins(ENTRY_POINT_GROUP)} - set(LEARNERS)
    return [*LEARNERS, *sorted(added)]


def learner_class(name: str) -> type[SegmentationLearner]:
    """The class of a learner.

    Args:
        name: Name from ``LEARNERS``, or of an entry point.

    Raises:
        BadInput: If there is no such learner, a package is missing, or the package that adds it cannot be loaded.
    """
    if name in LEARNERS:
        require_packages(name)
        module, attribute = LEARNERS[name].place
        return getattr(importlib.import_module(f"ActiveSegmentationLib.segmentation.{module}"), attribute)
    for point in installed_plugins(ENTRY_POINT_GROUP):
        if point.name == name:
            return load_plugin(point, "learner", _is_learner, "a subclass of SegmentationLearner")
    advice = f"Choose one of: {', '.join(learner_names())}. Or install the package that adds it."
    raise BadInput(f"There is no learner called '{name}'.", where="training settings", advice=advice)


def missing_packages(name: str) -> list[str]:
    """What pip must install before a learner of this library can be used, such as "nnunetv2"; nothing is imported.

    Args:
        name: Name from ``LEARNERS``; of other learners nothing is known before they are loaded.
    """
    needed = {**BASE_PACKAGES, **LEARNERS[name].packages} if name in LEARNERS else {}
    return [requirement for module, requirement in needed.items() if not _is_installed(module)]


def require_packages(name: str) -> None:
    """Refuse a learner of this library whose packages are not installed.

    Raises:
        BadInput: Naming the packages, and the command that installs them into this Python.
    """
    missing = missing_packages(name)
    if missing:
        message = f"The learner '{name}' needs what is not installed: {', '.join(missing)}."
        raise BadInput(message, where="training settings, learner", advice=f"Install it: {install_line(missing)}")


def install_line(requirements: Iterable[str]) -> str:
    """The command that installs packages into this Python."""
    return shlex.join([sys.executable, "-m", "pip", "install", *requirements])


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # imported already, in a way that leaves no specification
        return sys.modules.get(module) is not None


def lacking(settings: TrainingSettings) -> frozenset[str]:
    """What models trained with these settings cannot do: keys of ``learner.CAPABILITIES``.

    Does not import the learners of this library, so that a panel or ``status`` can ask.

    Raises:
        BadInput: If there is no such learner.
    """
    if settings.learner in LEARNERS:
        entry = LEARNERS[settings.learner]
        own = settings.has_dropout if entry.dropout is None else settings.options.get("dropout", entry.dropout)
        return entry.lacks if own else entry.lacks | {DROPOUT}
    return frozenset(CAPABILITIES) - learner_class(settings.learner).capabilities(settings)


def _is_learner(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, SegmentationLearner)
