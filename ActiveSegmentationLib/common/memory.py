"""Recognise errors that mean that memory ran out, and compute batches in smaller parts when it did."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PHRASES = ("out of memory", "allocate memory", "not enough memory", "alloc_failed", "bad_alloc")
"""What the RuntimeErrors of PyTorch and of its CUDA and CPU libraries say, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the computer or the GPU ran out of memory.

    Args:
        error: ``MemoryError`` of Python and NumPy, or a ``RuntimeError`` of PyTorch.
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in _PHRASES)
    )


def release_memory() -> None:
    """Give what PyTorch keeps for later back to the GPU, so that a smaller computation finds it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class SmallerParts:
    """Computes batches whole, and in halves, quarters and so on from the time that memory runs out.

    For what is computed for every image alone, so that parts give the same result.

    Attributes:
        limit: Largest number of images that are computed at once, or None as long as memory suffices.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self._unreported = False

    def compute(self, function: Callable[..., torch.Tensor], *images: torch.Tensor) -> torch.Tensor:
        """Call a function of tensors (n, ...) that gives a tensor (n, ...), with fewer images at a time if need be.

        Raises:
            RuntimeError: PyTorch's, if memory does not suffice for a single image.
        """
        while True:
            parts = list(zip(*(each.split(self.limit or max(1, len(each))) for each in images), strict=True))
            size = len(parts[0][0])
            try:
                found = [function(*part) for part in parts]
            except Exception as error:
                if size <= 1 or not is_out_of_memory(error):
                    raise
            else:
                return found[0] if len(found) == 1 else _joined(found)
            release_memory()  # only here, where the error no longer holds what the failed computation had made
            self.limit, self._unreported = size // 2, True

    def news(self) -> str | None:
        """What the user should know since the last call, or None."""
        if not self._unreported:
            return None
        self._unreported = False
        return f"Memory ran out: from now on, at most {self.limit} slice(s) are computed at once."


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat(parts)
