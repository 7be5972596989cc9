"""Memory that ran out is recognised, and batches are then computed in smaller parts."""

from __future__ import annotations

import pytest
import torch

from ActiveSegmentationLib.common.memory import SmallerParts, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_mean_out_of_memory(error, expected):
    assert is_out_of_memory(error) == expected


class Small:
    """A device on which more than ``most`` images do not fit; keeps the sizes that were asked for."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, []

    def __call__(self, images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(images))
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return images + others


def test_batches_are_halved_until_they_fit_and_the_user_is_told_once():
    parts, small = SmallerParts(), Small(3)
    images, others = torch.arange(20.0).reshape(10, 2), torch.ones(10, 2)
    assert torch.equal(parts.compute(small, images, others), images + others)
    assert small.asked == [10, 5, 2, 2, 2, 2, 2]
    assert parts.news() == "Memory ran out: from now on, at most 2 slice(s) are computed at once."
    small.asked.clear()
    assert torch.equal(parts.compute(small, images, others), images + others)
    assert small.asked == [2, 2, 2, 2, 2]
    assert parts.news() is None


def test_batches_that_fit_are_computed_whole_empty_ones_too():
    parts, small = SmallerParts(), Small(10)
    for n in (10, 1, 0):
        assert parts.compute(small, torch.ones(n, 2), torch.ones(n, 2)).shape == (n, 2)
    assert (small.asked, parts.news()) == ([10, 1, 0], None)


def test_an_image_that_does_not_fit_and_other_errors_are_raised():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        SmallerParts().compute(Small(0), torch.ones(4, 1), torch.ones(4, 1))
    with pytest.raises(RuntimeError, match="must match"):
        SmallerParts().compute(Small(9), torch.ones(4, 3), torch.ones(4, 2))
