"""A trained model as one network from images to probabilities, and as a TorchScript file."""

from __future__ import annotations

import copy
import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import write_bytes, write_json
from ActiveSegmentationLib.segmentation.ensemble import Ensemble
from ActiveSegmentationLib.segmentation.segmentation_model import SegmentationModel
from ActiveSegmentationLib.segmentation.volume_model import VolumeModel
from ActiveSegmentationLib.segmentation.windows import OVERLAP

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.export_context import ExportContext
    from ActiveSegmentationLib.segmentation.predictor import Predictor

SCRIPT = "model.ts"
"""Name of the TorchScript file."""

DESCRIPTION = "model.json"
"""Name of the file with what must be known to use it."""


ANOTHER = "Choose another format."


class ExportedNetwork(nn.Module):
    """From prepared images to probabilities: the mean over the ensemble members.

    Args:
        models: The ensemble members.

    Attributes:
        window: Rows and columns, or slices, rows and columns, of the images that it takes.
        channels: Channels of these images.
    """

    def __init__(self, models: list[SegmentationModel]) -> None:
        super().__init__()
        first = models[0]
        self.members = nn.ModuleList(model.network for model in models)
        self.window = first.patch if isinstance(first, VolumeModel) else first.window
        self.channels = first.channels * (2 * first.settings.neighbours + 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, channels, *window) float32 -> probabilities (n, classes, *window) float32."""
        return torch.stack([torch.softmax(member(images).float(), 1) for member in self.members]).mean(0)


def exported_network(model: Predictor) -> ExportedNetwork:
    """A copy of the network of a model or an ensemble, on the CPU, in evaluation mode and without gradients.

    Raises:
        BadInput: If it has no network of this library, or the members take different images.
    """
    members = model.members if isinstance(model, Ensemble) else (model,)
    models = [member for member in members if isinstance(member, SegmentationModel)]
    shapes = {(type(each), tuple(each.window), each.channels, each.settings.neighbours) for each in models}
    if len(models) < len(members) or len(shapes) > 1:
        raise BadInput("The model has no single network that could be exported.", where="model", advice=ANOTHER)
    return copy.deepcopy(ExportedNetwork(models)).cpu().eval().requires_grad_(False)


def export_torchscript(model: Predictor, folder: Path, about: ExportContext) -> list[Path]:
    """Write a model as a TorchScript file, which PyTorch runs without this library, also from C++.

    The file takes images of one size, see ``description``; any number of them at once.

    Args:
        model: The model or ensemble.
        folder: Folder to write to.
        about: Classes and preparation.

    Returns:
        The files written: the network, and a description as JSON, which is also in the first as an extra file.

    Raises:
        BadInput: If the model cannot be exported.
        JobFailed: If the disk is full.
    """
    network = exported_network(model)
    described = description(network, about, model)
    write_bytes(folder / SCRIPT, script_of(network, {DESCRIPTION: json.dumps(described)}))
    write_json(folder / DESCRIPTION, described)
    return [folder / SCRIPT, folder / DESCRIPTION]


def script_of(network: ExportedNetwork, extra: dict[str, str] | None = None) -> bytes:
    """The TorchScript file of a network.

    Args:
        network: The network.
        extra: Content of further files within it, by name.

    Raises:
        BadInput: If PyTorch cannot trace the network, or the result computes something else.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, network.channels, *network.window, generator=generator)
    with torch.no_grad(), warnings.catch_warnings():
        # the size of the images is meant to be fixed; PyTorch warns that sizes become constants
        warnings.simplefilter("ignore")
        try:
            traced = torch.jit.trace(network, images[:2], check_trace=False)
            same = torch.allclose(traced(images), network(images), atol=1e-4)
        except RuntimeError as error:
            raise BadInput(f"PyTorch cannot export the network: {error}", where="model", advice=ANOTHER) from error
    if not same:
        raise BadInput("The exported network does not compute what the model does.", where="model", advice=ANOTHER)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files=extra or {})
    return buffer.getvalue()


def description(network: ExportedNetwork, about: ExportContext, model: Predictor) -> dict[str, Any]:
    """What must be known to use a network, as JSON values."""
    solid = len(network.window) == 3
    return {
        "input": f"float32 (n, {network.channels}, {', '.join(map(str, network.window))})",
        "axes": ["n", "channel", *(["slice"] if solid else []), "row", "column"],
        "output": "probabilities of the classes, float32, same size",
        "larger images": f"sliding windows of the input's size, overlap {OVERLAP}, Gaussian weights",
        "smaller images": "continued by their border" if solid else "padded with the smallest value of the volume",
        "neighbours": _neighbours(model),
        "classes": about.names(),
        "model": model.key,
        **about.to_json(),
    }


def _neighbours(model: Predictor) -> int:
    first = model.members[0] if isinstance(model, Ensemble) else model
    return first.settings.neighbours if isinstance(first, SegmentationModel) else 0
