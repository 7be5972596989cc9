"""Where several predictions of the same slice come from: one model as it is, dropout left on, or several models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import torch_seed
from ActiveSegmentationLib.segmentation import Ensemble, Predictor

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Modules that Monte Carlo dropout switches on; all others, normalisation above all, stay in evaluation mode."""


@dataclass(frozen=True)
class Deterministic:
    """One draw: the model's prediction without dropout (of an ensemble, the mean)."""

    def draws(self, model: Predictor, images: torch.Tensor, batch: int = 0) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32 once."""
        yield model.predict(images)


@dataclass(frozen=True)
class Dropout:
    """Monte Carlo dropout: ``passes`` draws of every member of the model with its dropout modules on.

    Masks come from streams named by batch, member and pass, so the same rows in the same batches give the same draws;
    torch's global generators are left as they were.

    Attributes:
        passes: Draws of each member, at least 1.
        p: Dropout probability in (0, 1) for all modules, or None for the probabilities of the training.
        seed: Seed of the masks.
    """

    passes: int = 8
    p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.passes < 1 or not (self.p is None or 0 < self.p < 1):
            advice = "Use at least 1 pass and a probability between 0 and 1."
            raise BadInput(f"Dropout cannot make {self.passes} passes with p = {self.p}.", advice=advice)

    def draws(self, model: Predictor, images: torch.Tensor, batch: int = 0) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32, ``passes`` times for each member.

        Raises:
            BadInput: If a network has no dropout module.
        """
        cuda = [images.device] if images.device.type == "cuda" else []
        for number, member in enumerate(_members(model)):
            for draw in range(self.passes):
                with torch.random.fork_rng(devices=cuda), contextlib.ExitStack() as active:
                    for network in member.networks():
                        active.enter_context(dropout_active(network, self.p))
                    torch.manual_seed(torch_seed(self.seed, "dropout", batch, number, draw))
                    probabilities = member.predict(images)
                yield probabilities


@dataclass(frozen=True)
class EnsembleSampler:
    """One draw a member, without dropout."""

    def draws(self, model: Predictor, images: torch.Tensor, batch: int = 0) -> Iterator[torch.Tensor]:
        """Yield probabilities (n, classes, H, W) float32 of one member after the other.

        Raises:
            BadInput: If the model has fewer than two members, whose disagreement would be 0 everywhere.
        """
        members = _members(model)
        if len(members) < 2:
            advice = "Train several models, or use dropout."
            raise BadInput("The disagreement of models needs at least two of them.", where="models", advice=advice)
        for member in members:
            yield member.predict(images)


@contextlib.contextmanager
def dropout_active(network: nn.Module, p: float | None = None) -> Iterator[None]:
    """Within the block the network is in evaluation mode except for its dropout; afterwards it is as it was.

    Args:
        network: The network.
        p: Dropout probability within the block, or None to leave it.

    Raises:
        BadInput: If the network has no dropout module.
    """
    dropouts = [module for module in network.modules() if isinstance(module, DROPOUTS)]
    if not dropouts:
        advice = "Train with dropout, or use an ensemble."
        raise BadInput("The model has no dropout to sample from.", where="model", advice=advice)
    modes = [(module, module.training) for module in network.modules()]
    rates = [(module, module.p) for module in dropouts]
    try:
        network.eval()
        for module in dropouts:
            module.training = True
            module.p = module.p if p is None else p
        yield
    finally:
        for each, mode in modes:
            each.training = mode
        for module, rate in rates:
            module.p = rate


def _members(model: Predictor) -> tuple[Predictor, ...]:
    return model.members if isinstance(model, Ensemble) else (model,)
