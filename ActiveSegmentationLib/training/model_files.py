"""Trained networks on disk: weights as safetensors, and a description as JSON."""

from __future__ import annotations

import hashlib
import platform
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.common.durability import make_folder
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import (
    hash_file,
    hash_json,
    read_fields,
    require_regular,
    write_bytes,
    write_json,
)

if TYPE_CHECKING:
    from torch import nn


_WEIGHTS, _OWN = "weights_sha256", "sha256"
"""Fields of a description with the checksums of the weights and of the description itself."""


@dataclass(frozen=True)
class ModelFiles:
    """The two files of a kind of trained network, each in a folder of its own.

    Attributes:
        stem: Name of the files without suffix.
        format: Version of the files; files of another version are refused.
        advice: What the user can do about damaged files.
    """

    stem: str
    format: int
    advice: str

    @property
    def weights(self) -> str:
        """Name of the file with the weights."""
        return f"{self.stem}.safetensors"

    @property
    def description(self) -> str:
        """Name of the file with the description."""
        return f"{self.stem}.json"

    def write(self, folder: Path, network: nn.Module, description: dict[str, Any]) -> None:
        """Write weights and description; the description comes last, so that a model that has one is complete.

        Args:
            folder: Folder of this network alone; created if missing.
            network: The network.
            description: JSON values, among them the "key" of the network.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
        from safetensors.torch import save

        make_folder(folder)
        (folder / self.description).unlink(missing_ok=True)
        repeated = _repeated(network)
        state = {name: value for name, value in network.state_dict().items() if name not in repeated}
        weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        # Not save_file, which makes a file that only its owner may read.
        content = save(weights, metadata={"key": description["key"]})
        write_bytes(folder / self.weights, content)
        about = {"format": self.format, **description, _WEIGHTS: hashlib.sha256(content).hexdigest()}
        write_json(folder / self.description, {**about, _OWN: hash_json(about)})

    def read_description(self, folder: Path) -> dict[str, Any]:
        """The description of the network in a folder.

        Raises:
            BadInput: If it is missing, damaged, or of another format, or if it or the weights were changed since they
                were written. Models of older versions have no checksums.
        """
        path = Path(folder) / self.description
        about = read_fields(path)
        if about.get("format") != self.format:
            message = f"The model has format {about.get('format')}; this version reads format {self.format}."
            raise BadInput(message, where=path, advice=self.advice)
        rest = {name: value for name, value in about.items() if name != _OWN}
        if about.get(_OWN, hash_json(rest)) != hash_json(rest):
            raise BadInput("The description was changed after it was written.", where=path, advice=self.advice)
        weights = path.with_name(self.weights)
        if _WEIGHTS in about and weights.is_file() and hash_file(weights) != about[_WEIGHTS]:
            raise BadInput("The weights were changed after they were written.", where=weights, advice=self.advice)
        return {name: value for name, value in rest.items() if name != _WEIGHTS}

    def read_weights(self, folder: Path, network: nn.Module, key: str) -> None:
        """Load the weights in a folder into a network of the right shape, and set it to evaluation.

        Args:
            folder: Folder of the network.
            network: The network, written to.
            key: Key in the description, which the weights must have too.

        Raises:
            BadInput: If the weights are missing, damaged, or have another key.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(folder) / self.weights
        if path.exists():
            require_regular(path)
        try:
            with safe_open(path, framework="pt") as file:
                found = (file.metadata() or {}).get("key")
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            network.load_state_dict(weights | {name: weights[first] for name, first in _repeated(network).items()})
        except (SafetensorError, OSError, RuntimeError, KeyError) as error:
            raise BadInput(f"The weights cannot be read ({error}).", where=path, advice=self.advice) from error
        if found != key:
            raise BadInput("Weights and description do not belong together.", where=folder, advice=self.advice)
        network.eval()

    def saved_key(self, folder: Path) -> str | None:
        """Key of the finished network in a folder, or None if there is none."""
        if not (folder / self.description).exists():
            return None
        return read_fields(folder / self.description).get("key")


def _repeated(network: nn.Module) -> dict[str, str]:
    """Further names of weights that a network holds under several names, with the first name of each."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for name, value in network.state_dict(keep_vars=True).items():
        kept = first.setdefault(id(value), name)
        if kept != name:
            found[name] = kept
    return found


class SavedModel(ABC):
    """A trained network with a description, which is saved as two files.

    Attributes:
        files: Names and format of the files.
        network: The network.
    """

    files: ClassVar[ModelFiles]
    network: nn.Module

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The description that is saved with the weights, as JSON values."""

    def save(self, folder: Path) -> None:
        """Write weights and description.

        Raises:
            BadInput: If the folder cannot be written.
            JobFailed: If the disk is full.
        """
        self.files.write(folder, self.network, self.describe())


def training_versions() -> dict[str, str]:
    """Versions that the result of a training may depend on, for the description of a model."""
    import torch

    return {"activesegmentation": __version__, "torch": torch.__version__, "python": platform.python_version()}
