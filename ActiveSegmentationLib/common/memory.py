"""Recognise errors that mean that memory ran out."""

from __future__ import annotations

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
