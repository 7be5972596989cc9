"""Where and how a computation runs: device, batch size and progress in one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from ActiveSegmentationLib.common.progress import Progress


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
