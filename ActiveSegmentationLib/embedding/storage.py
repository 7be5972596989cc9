"""Trained networks on disk: weights as safetensors beside a description as JSON, and one training of each at a time."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, read_json, write_bytes, write_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.sole_user import sole_user
from ActiveSegmentationLib.embedding.checkpoint import CHECKPOINT

WEIGHTS = "encoder.safetensors"
DESCRIPTION = "encoder.json"
ADVICE = "Delete this folder; the network is trained again."

Network = TypeVar("Network", bound="TrainedNetwork")


class TrainedNetwork:
    """A trained network with what is known of its training, kept as two files.

    Attributes:
        version: Version of the files, and of the training that makes them.
        network: The network, in evaluation mode.
        channels: Channels of the images it takes.
        settings: How it was trained, every automatic choice resolved.
        key: Hash of everything it was made from.
        record: Figures of the training; JSON values.
    """

    version: ClassVar[int]
    network: nn.Module
    channels: int
    settings: Any
    key: str
    record: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write weights and description; the description comes last, so a network that has one is whole.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
        write_network(folder, self.network, self.describe())

    def describe(self) -> dict[str, Any]:
        """What is kept beside the weights, as JSON values."""
        return {
            "format": self.version,
            "key": self.key,
            "channels": self.channels,
            "settings": self.settings.to_json(),
            "training": self.record,
        }


def trained_once(
    folder: Path,
    key: str,
    report: Progress,
    what: str,
    *,
    load: Callable[[Path], Network],
    train: Callable[[Path], Network],
) -> Network:
    """Load a network where its training is finished; else train it, one process at a time, and keep it.

    Args:
        folder: Folder of such networks; each has a folder of its own, named by its key.
        key: Hash of everything the network is made from.
        report: Told while another process trains the same one.
        what: What the other process is doing; see ``sole_user``.
        load: Reads the finished network of a folder.
        train: Trains in a folder, from its checkpoint where there is one.

    Raises:
        BadInput: If the folder cannot be written.
    """
    home = Path(folder) / key
    with explained(home):
        home.mkdir(parents=True, exist_ok=True)
    with sole_user(Path(folder) / f".{key}.lock", report, what):
        if (home / DESCRIPTION).is_file():
            return load(home)
        for unfinished in home.glob(".tmp-*"):  # left by a kill in the middle of a write
            unfinished.unlink()
        trained = train(home)
        trained.save(home)
        (home / CHECKPOINT).unlink(missing_ok=True)
        return trained


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
