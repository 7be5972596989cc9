"""Pre-trained weights from a file: read without running code from it, and matched to a network by name."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ActiveSegmentationLib.common.errors import BadInput

LEAST_SHARE = 0.9
"""Share of a network's tensors that a file must have, so that a file of another network is not taken for it."""

COUNTER = "num_batches_tracked"
"""End of the names of counters, which older files do not have and no prediction depends on."""

SEQUENCE = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Names of a ResNet's parts by their place in a sequence of its layers, as RadImageNet's files number them."""

HEADS = ("fc.", "classifier.")
"""Starts of the names of layers that only classification needs."""

FEW = 3
"""Number of names that a text gives as examples."""


@dataclass(frozen=True)
class WeightsReport:
    """What of a file of weights was used.

    Attributes:
        file: Name of the file.
        sha256: Hash of its content.
        prefix: What the file's names have before those of the network.
        wanted: Number of the network's tensors, without counters.
        matched: Names that were loaded.
        adapted: Of these, what was fitted to another number of image channels, with both shapes in words.
        differing: What has another shape and was not loaded, with both shapes in words.
        missing: Names of the network that the file does not have.
        unused: Names of the file that the network does not have.
    """

    file: str
    sha256: str
    prefix: str
    wanted: int
    matched: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def text(self) -> str:
        """One sentence for people."""
        parts = [f"{self.file}: {len(self.matched)} of {self.wanted} tensors of the encoder were loaded"]
        lists = {
            "fitted to the image channels": self.adapted,
            "not loaded because of another shape": self.differing,
            "not in the file": self.missing,
            "in the file only": self.unused,
        }
        parts += [f"{len(names)} {what} ({_some(names)})" for what, names in lists.items() if names]
        return "; ".join(parts) + "."

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values, for the record of a model."""
        lists = {name: list(getattr(self, name)) for name in ("adapted", "differing", "missing", "unused")}
        return {"file": self.file, "sha256": self.sha256, "matched": len(self.matched), "wanted": self.wanted, **lists}


@dataclass
class _Match:
    """The tensors of a file by the network's names, for one prefix."""

    prefix: str
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        BadInput: If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        advice = "Give the path of a file of weights, or leave the option out."
        raise BadInput(f"The weights cannot be read ({error.strerror}).", where=path, advice=advice) from error


def load_weights(path: Path, network: nn.Module) -> WeightsReport:
    """Copy the weights of a file into a network, as far as names and shapes agree.

    - The file is a state dictionary (.pth, .pt or another file of PyTorch, .safetensors), alone or inside other
      dictionaries such as "state_dict" or "model". Nothing but tensors is read: no code of the file runs.
    - A prefix that the names share, such as "module.", "backbone." or "encoder.", is left out; of several, the one with
      the most matches counts. Parts of a ResNet that are numbered as layers of a sequence (RadImageNet) are renamed.
    - The first convolution is fitted to another number of image channels: one channel takes the sum over the file's
      channels, several take turns with the file's channels, scaled so that the sum stays the same.

    Args:
        path: The file.
        network: The network, written to.

    Raises:
        BadInput: If the file cannot be read, or has less than ``LEAST_SHARE`` of the network's tensors.
    """
    digest = file_hash(path)
    own = network.state_dict()
    first = next((name for name, tensor in own.items() if tensor.dim() == 4), None)
    match = _best_match(_dictionaries(_read(path)), own)
    wanted = [name for name in own if not name.endswith(COUNTER)]
    loaded, adapted, differing = {}, [], []
    for name, tensor in match.tensors.items():
        fitted = _fitted(tensor, own[name].shape) if name == first else tensor
        change = f"{name}: {_shape(tensor.shape)} in the file, {_shape(own[name].shape)} in the network"
        if fitted.shape != own[name].shape:
            differing.append(change)
            continue
        loaded[name] = fitted.to(own[name].dtype)
        adapted += [] if tensor.shape == own[name].shape else [change]
    report = WeightsReport(
        file=path.name,
        sha256=digest,
        prefix=match.prefix,
        wanted=len(wanted),
        matched=tuple(name for name in wanted if name in loaded),
        adapted=tuple(adapted),
        differing=tuple(differing),
        missing=tuple(name for name in wanted if name not in match.tensors),
        unused=tuple(match.unused),
    )
    if len(report.matched) < LEAST_SHARE * len(wanted):
        advice = (
            "Give the weights of a ResNet-50 with torchvision's names, such as ImageNet's, RadImageNet's or LVM-Med's."
        )
        raise BadInput(f"These are not the weights of this network. {report.text()}", where=path, advice=advice)
    network.load_state_dict({**own, **loaded})
    return report


def _read(path: Path) -> Any:
    """The content of a file of weights: tensors in dictionaries."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        advice = "Save the state dictionary alone, as .safetensors or by torch.save."
        raise BadInput(f"The weights cannot be read ({first}).", where=path, advice=advice) from error


def _dictionaries(value: Any) -> Iterator[dict[str, torch.Tensor]]:
    """All dictionaries of tensors in a value, the outer ones first."""
    if isinstance(value, Mapping):
        tensors = {name: each for name, each in value.items() if isinstance(name, str) and torch.is_tensor(each)}
        if tensors:
            yield tensors
        for each in value.values():
            yield from _dictionaries(each)


def _best_match(dictionaries: Iterator[dict[str, torch.Tensor]], own: Mapping[str, torch.Tensor]) -> _Match:
    """The match with the most tensors over all dictionaries and prefixes; of equals, the first."""
    best = _Match("")
    for tensors in dictionaries:
        for prefix in _prefixes(tensors):
            match = _Match(prefix)
            for name, tensor in tensors.items():
                known = _name_in_network(name.removeprefix(prefix), own) if name.startswith(prefix) else None
                if known is not None:
                    match.tensors[known] = tensor
                elif not name.removeprefix(prefix).startswith(HEADS):
                    match.unused.append(name)
            if len(match.tensors) > len(best.tensors):
                best = match
    return best


def _prefixes(names: Mapping[str, Any]) -> list[str]:
    """Everything up to a dot that a name begins with, and nothing at all; in the order of the names."""
    found = {"": None}
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts)):
            found[".".join(parts[:count]) + "."] = None
    return list(found)


def _name_in_network(name: str, own: Mapping[str, Any]) -> str | None:
    if name in own:
        return name
    first, dot, rest = name.partition(".")
    renamed = SEQUENCE.get(first, first) + dot + rest
    return renamed if renamed in own else None


def _fitted(kernels: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Kernels (out, in, rows, columns) of the first convolution for as many image channels as ``shape`` has."""
    if kernels.dim() != 4 or kernels.shape[1] == shape[1]:
        return kernels
    has, wants = kernels.shape[1], shape[1]
    if wants == 1:
        return kernels.sum(1, keepdim=True)
    return kernels[:, [channel % has for channel in range(wants)]] * (has / wants)


def _shape(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:FEW]) + (" ..." if len(names) > FEW else "")
