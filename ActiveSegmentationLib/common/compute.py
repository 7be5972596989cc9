"""Where and how a computation runs: device, batch size and progress in one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Compute:
    """Device, batch size and progress reporter of a computation.

    Attributes:
        device: PyTorch device, such as "cpu" or "cuda:1".
        batch_size: Slices computed at once. Default: as many as fit, by the size of the slices.
        progress: Progress reporter, called after every batch or training step; it also stops the computation when the
            user cancels it. Default: reports nothing.

    Example:
        >>> Compute("cuda", progress=TqdmProgress())
    """

    device: str = "cpu"
    batch_size: int | None = None
    progress: Progress = field(default_factory=Progress)


def on_device(values: np.ndarray | torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """Values as a tensor on a device; a copy to a CUDA GPU does not wait for what it is computing.

    Args:
        values: Array, or tensor on the CPU; of any type and shape.
        device: PyTorch device.
    """
    import torch

    tensor = torch.as_tensor(values)
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def double(values: torch.Tensor) -> torch.Tensor:
    """Values in double precision; on the CPU if they are on an Apple GPU, which has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()
