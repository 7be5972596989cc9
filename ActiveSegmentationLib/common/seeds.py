"""Named random streams: every part of the program gets its own from one seed, regardless of the order of use."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_sequence(seed: int, *names: str | int) -> np.random.SeedSequence:
    """The seed sequence of the stream called ``names`` under ``seed``.

    Args:
        seed: Non-negative integer.
        names: What the stream is for, for example ``("acquisition", "random", 3)``.
    """
    keys = [zlib.crc32(name.encode("utf-8")) if isinstance(name, str) else int(name) for name in names]
    return np.random.SeedSequence(seed, spawn_key=tuple(keys))


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the stream called ``names`` under ``seed``."""
    return np.random.default_rng(seed_sequence(seed, *names))


def torch_seed(seed: int, *names: str | int) -> int:
    """A seed below 2**63 for ``torch.Generator.manual_seed``."""
    return int(seed_sequence(seed, *names).generate_state(1, np.uint64)[0] >> np.uint64(1))


def torch_generator(seed: int, *names: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator on ``device`` for the stream called ``names`` under ``seed``."""
    import torch

    return torch.Generator(device=device).manual_seed(torch_seed(seed, *names))
