"""Measurements of gpu_check.py: steps a second, waits for the GPU, full precision, little memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ActiveSegmentationLib.segmentation.network import UNet

WARM_UP = 3
"""Steps that are neither timed nor searched for waits: in the first ones PyTorch chooses its algorithms."""

PRETENDED = 12
"""Images that a CPU computes at once where it pretends to have little memory."""


def measured(step: Callable[[int], Any], device: str, seconds: float) -> tuple[float, dict[str, float]]:
    """Steps a second, and how often a step waits for the GPU, by place.

    Args:
        step: Does a step, given its number.
        device: PyTorch device.
        seconds: Time to measure for.
    """
    warm_up = WARM_UP if device.startswith("cuda") else 1
    for number in range(warm_up):
        step(number)
    finish(device)
    begun, done = time.perf_counter(), 0
    while not done or time.perf_counter() - begun < seconds:
        step(warm_up + done)
        done += 1
    finish(device)
    rate = done / (time.perf_counter() - begun)
    if not device.startswith("cuda"):
        return rate, {}
    with counted_waits(device) as places:
        for number in range(WARM_UP):
            step(number)
    return rate, {place: count / WARM_UP for place, count in places.items()}


def finish(device: str) -> None:
    """Wait until the device has finished everything that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


@contextmanager
def counted_waits(device: str) -> Iterator[dict[str, int]]:
    """Within the block PyTorch reports every wait for a CUDA GPU; the dictionary has their number by place."""
    places: dict[str, int] = {}
    torch.cuda.synchronize(device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for each in caught:
        if "synchroniz" in str(each.message):
            place = f"{Path(each.filename).name}:{each.lineno}"
            places[place] = places.get(place, 0) + 1


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Within the block convolutions on a GPU have full single precision, not TF32's 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def little_memory(wanted: int, device: str) -> Iterator[None]:
    """Within the block memory is short.

    Args:
        wanted: Bytes that the GPU may give in addition to what is allocated. A CPU pretends: U-Nets refuse more than
            ``PRETENDED`` images at once.
        device: PyTorch device.
    """
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        share = (torch.cuda.memory_allocated(device) + wanted) / total
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
        return
    encode = UNet.encode

    def limited(network: UNet, images: torch.Tensor) -> list[torch.Tensor]:
        if len(images) > PRETENDED:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (pretended).")
        return encode(network, images)

    setattr(UNet, "encode", limited)  # noqa: B010 - mypy forbids assigning to a method
    try:
        yield
    finally:
        setattr(UNet, "encode", encode)  # noqa: B010
