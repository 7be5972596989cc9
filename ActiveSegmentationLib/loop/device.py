"""The device that computes, and the versions that result files record."""

from __future__ import annotations

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
        name: "auto" (a CUDA GPU if there is one, otherwise the CPU), or a PyTorch device such as "cpu" or "cuda:1".

    Raises:
        BadInput: If the device is unknown or not available.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        advice = "Use --device auto, cpu or cuda."
        raise BadInput(f"This device cannot be used here ({error}).", where=f"device {name}", advice=advice) from error
    return name


def describe_device(device: str) -> str:
    """The device in words, for people and result files."""
    import torch

    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GB"
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
