"""The device that computes, and the versions that result files record."""

from __future__ import annotations

import functools
import platform
from importlib import metadata
from typing import Any

from ActiveSegmentationLib import __version__
from ActiveSegmentationLib.common.errors import BadInput

LIBRARIES = ("torch", "monai", "numpy", "scipy", "scikit-learn", "SimpleITK")
"""Packages whose versions go into result files."""


def resolve_device(name: str = "auto") -> str:
    """The PyTorch device to use.

    Args:
        name: "auto" (a CUDA GPU if there is one, otherwise an Apple GPU that can train, otherwise the CPU), or a
            PyTorch device such as "cpu", "cuda:1" or "mps".

    Raises:
        BadInput: If the device is unknown or not available.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if apple_gpu_works() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        advice = "Use --device auto, cpu, cuda or mps."
        raise BadInput(f"This device cannot be used here ({error}).", where=f"device {name}", advice=advice) from error
    return name


@functools.cache
def apple_gpu_works() -> bool:
    """Whether PyTorch can use an Apple GPU (mps), and what training needs gives finite numbers on it."""
    import torch

    if not torch.backends.mps.is_available():
        return False
    try:
        return _trains_on("mps")
    except (RuntimeError, NotImplementedError):
        return False  # this version of PyTorch or macOS lacks an operation


def _trains_on(device: str) -> bool:
    """A tiny training step with what is most often missing on a device: augmentation, half precision, a generator."""
    import torch
    from torch.nn import functional

    draws = torch.rand((2, 1, 8, 8), generator=torch.Generator(device=device).manual_seed(0), device=device)
    places = torch.eye(2, 3, device=device).repeat(2, 1, 1)
    grid = functional.affine_grid(places, [2, 1, 8, 8], align_corners=False)
    moved = functional.grid_sample(draws.half().float(), grid, padding_mode="border", align_corners=False)
    layer = torch.nn.Conv2d(1, 2, 3, padding=1).to(device)
    functional.cross_entropy(layer(moved), torch.ones((2, 8, 8), dtype=torch.int64, device=device)).backward()
    return all(bool(torch.isfinite(each.grad).all()) for each in layer.parameters())  # type: ignore[arg-type]


def describe_device(device: str) -> str:
    """The device in words, for people and result files."""
    import torch

    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GB"
    if device.startswith("mps"):
        return "Apple GPU (MPS); what needs double precision is computed on the CPU"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread" + ("s" if threads > 1 else "")


def versions() -> dict[str, Any]:
    """Versions of this program, of Python and of the packages that results depend on (None for a missing one)."""
    found: dict[str, Any] = {"activesegmentation": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
