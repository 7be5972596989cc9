"""Seeded random numbers of PyTorch that leave its global generators unchanged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Within the block new layers draw their initial weights from ``seed``.

    Args:
        seed: Seed below 2**63.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def private_randomness(device: str) -> Iterator[None]:
    """Within the block PyTorch's global generators may be seeded; afterwards they are as before.

    Args:
        device: PyTorch device whose generator is protected in addition to that of the CPU.
    """
    kind, index = torch.device(device).type, torch.device(device).index
    cuda = [torch.cuda.current_device() if index is None else index] if kind == "cuda" else []
    apple = torch.mps.get_rng_state() if kind == "mps" else None
    with torch.random.fork_rng(devices=cuda):
        try:
            yield
        finally:
            if apple is not None:
                torch.mps.set_rng_state(apple)
