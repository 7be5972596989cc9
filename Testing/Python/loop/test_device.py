"""Which device is used: a CUDA GPU, an Apple GPU that can train, or the CPU; and how it is named."""

from __future__ import annotations

import pytest
import torch

from ActiveSegmentationLib.common.compute import double, on_device
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.loop import describe_device, device, resolve_device
from ActiveSegmentationLib.training import private_randomness


@pytest.fixture
def machine(monkeypatch):
    """Sets whether there is a CUDA GPU, whether there is an Apple GPU, and on which device the latter's trial runs."""

    def having(*, cuda: bool, mps: bool, trial: str = "cpu"):
        trains_on = device._trains_on
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(device, "_trains_on", lambda name: trains_on(trial))

    device.apple_gpu_works.cache_clear()
    yield having
    device.apple_gpu_works.cache_clear()


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")],
)
def test_auto_prefers_cuda_then_an_apple_gpu_then_the_cpu(machine, cuda, mps, chosen):
    machine(cuda=cuda, mps=mps)
    assert resolve_device("auto") == chosen


def test_an_apple_gpu_that_lacks_an_operation_is_not_chosen(machine):
    machine(cuda=False, mps=True, trial="meta")  # no value can be read from this device
    assert resolve_device("auto") == "cpu"


def test_an_apple_gpu_is_named_with_what_is_computed_elsewhere():
    assert describe_device("mps") == "Apple GPU (MPS); what needs double precision is computed on the CPU"


def test_a_device_that_is_not_there_is_refused_with_those_that_may_be():
    with pytest.raises(BadInput, match="Use --device auto, cpu, cuda or mps"):
        resolve_device("abacus")


def test_the_generator_of_an_apple_gpu_is_as_before_after_a_training(monkeypatch):
    states = [torch.tensor([1, 2, 3])]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    with private_randomness("mps"):
        states.append(torch.tensor([9, 9, 9]))
    assert states[-1].tolist() == [1, 2, 3]


def test_values_are_moved_unchanged():
    values = torch.arange(6).reshape(2, 3)
    assert torch.equal(on_device(values.numpy(), "cpu"), values)
    assert on_device(values, "meta").device.type == "meta"
    assert double(values.float()).dtype == torch.float64


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU (MPS)")
def test_an_apple_gpu_trains():
    device.apple_gpu_works.cache_clear()
    assert device.apple_gpu_works()
    assert double(torch.ones(2, device="mps")).device.type == "cpu"
