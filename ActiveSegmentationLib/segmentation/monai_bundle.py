"""A trained model as a MONAI bundle: a folder with which MONAI predicts whole images, without this library."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.common.files import hash_bytes, write_bytes, write_json, write_text
from ActiveSegmentationLib.segmentation.bundle_config import inference_config
from ActiveSegmentationLib.segmentation.bundle_readme import licence_text, readme_text
from ActiveSegmentationLib.segmentation.exported_network import (
    DESCRIPTION,
    SCRIPT,
    ExportedNetwork,
    description,
    exported_network,
    script_of,
)

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.export_context import ExportContext
    from ActiveSegmentationLib.segmentation.predictor import Predictor

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
"""MONAI's schema of the metadata."""

_LOGGING = """[loggers]
keys=root

[handlers]
keys=consoleHandler

[formatters]
keys=fullFormatter

[logger_root]
level=INFO
handlers=consoleHandler

[handler_consoleHandler]
class=StreamHandler
level=INFO
formatter=fullFormatter
args=(sys.stdout,)

[formatter_fullFormatter]
format=%(asctime)s - %(name)s - %(levelname)s - %(message)s
"""


def export_bundle(model: Predictor, folder: Path, about: ExportContext) -> list[Path]:
    """Write a model as a MONAI bundle, which ``python -m monai.bundle run`` runs on a folder of images.

    Its transforms prepare images as this library does, with differences that its README lists.

    Args:
        model: The model or ensemble.
        folder: Folder of the bundle.
        about: Classes and preparation.

    Returns:
        The files written.

    Raises:
        BadInput: If the model cannot be exported.
        JobFailed: If the disk is full.
    """
    network = exported_network(model)
    described = description(network, about, model)
    written = {
        "models": folder / "models" / SCRIPT,
        "inference": folder / "configs" / "inference.json",
        "metadata": folder / "configs" / "metadata.json",
        "logging": folder / "configs" / "logging.conf",
        "readme": folder / "docs" / "README.md",
        "licence": folder / "LICENSE",
    }
    write_bytes(written["models"], script_of(network, {DESCRIPTION: json.dumps(described)}))
    write_json(written["inference"], inference_config(network.window, described["neighbours"], about))
    write_json(written["metadata"], _metadata(network, about, model, described))
    write_text(written["logging"], _LOGGING)
    write_text(written["readme"], readme_text(network.window, about))
    write_text(written["licence"], licence_text())
    return list(written.values())


def _metadata(
    network: ExportedNetwork, about: ExportContext, model: Predictor, described: dict[str, Any]
) -> dict[str, Any]:
    import monai

    names = ", ".join(name for _, name in about.labels)
    places = "volumes" if len(network.window) == 3 else "slices of volumes"
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": "5.2.0", "scipy": "1.11.0", "fire": "0.6.0"},
        "supported_apps": {},
        "name": f"Segmentation of {names}",
        "task": f"Segmentation of {names} in {places}",
        "description": "A network trained by slice-based active learning; it segments whole volumes.",
        "authors": "exported by ActiveSegmentation",
        "copyright": "that of the training images and annotations; see LICENSE",
        "data_source": "not recorded",
        "data_type": "NIfTI",
        "image_classes": "see channel_def of the input",
        "label_classes": names,
        "pred_classes": f"{model.classes} probabilities: background, {names}",
        "intended_use": "Research only; not for clinical use.",
        "references": ["https://github.com/ActiveSegmentation/SlicerActiveSegmentation"],
        "network_data_format": _data_format(network, about, model.classes),
        "activesegmentation": {
            **described,
            "version": __version__,
            "python": platform.python_version(),
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
            "key": hash_bytes(model.key)[:16],
        },
    }


def _data_format(network: ExportedNetwork, about: ExportContext, classes: int) -> dict[str, Any]:
    """What goes into the network and what comes out, in the words of MONAI's schema."""
    shape = list(network.window)
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "n/a",
        "num_channels": network.channels,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": _value_range(about),
        "is_patch_data": True,
        "channel_def": {str(number): f"image {number}" for number in range(network.channels)},
    }
    pred = {
        "type": "image",
        "format": "segmentation",
        "num_channels": classes,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": True,
        "channel_def": about.names(),
    }
    return {"inputs": {"image": image}, "outputs": {"pred": pred}}


def _value_range(about: ExportContext) -> list[float]:
    """Values of prepared images; those of z-scores have no limits, so that a usual range stands for them."""
    return {"percentile": [0.0, 1.0], "window": [-1.0, 1.0], "zscore": [-5.0, 5.0]}[about.preparation.normalisation]
