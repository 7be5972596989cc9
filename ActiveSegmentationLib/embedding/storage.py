"""Trained networks on disk: weights as safetensors beside a description as JSON."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json, write_bytes, write_json

WEIGHTS = "encoder.safetensors"
DESCRIPTION = "encoder.json"
ADVICE = "Delete this folder; the network is trained again."


def write_network(folder: Path, network: nn.Module, description: dict[str, Any]) -> None:
    """Write weights and description; the description comes last, so a network that has one is whole.

    Args:
        folder: Folder of this network alone.
        network: The network.
        description: JSON values with its "key" and "format".

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full.
    """
    folder = Path(folder)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(weights, metadata={"key": description["key"]}))
    write_json(folder / DESCRIPTION, description)


def read_description(folder: Path, version: int) -> dict[str, Any]:
    """The description of a network in the folder.

    Raises:
        BadInput: If it is missing, damaged, or of another format than ``version``.
    """
    path = Path(folder) / DESCRIPTION
    about = read_json(path)
    if about.get("format") != version:
        message = f"The network has format {about.get('format')}, this version reads {version}."
        raise BadInput(message, where=path, advice=ADVICE)
    return about


def read_weights(folder: Path, network: nn.Module, key: str) -> None:
    """Load the weights in the folder into a network of the right shape.

    Raises:
        BadInput: If they are missing, damaged, or were not written for ``key``.
    """
    folder = Path(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            written_for = (file.metadata() or {}).get("key")
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, RuntimeError) as error:
        message = f"The weights cannot be read ({error})."
        raise BadInput(message, where=folder / WEIGHTS, advice=ADVICE) from error
    if written_for != key:
        raise BadInput("Weights and description do not belong together.", where=folder, advice=ADVICE)


def versions() -> dict[str, str]:
    """Versions that a training may depend on."""
    return {"activesegmentation": __version__, "torch": torch.__version__, "python": platform.python_version()}
