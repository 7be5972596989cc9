"""A device too small for a batch: training and predictions go on in smaller parts, and the user is informed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded_progress import RecordedProgress

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.segmentation import TrainingTask, fit
from ActiveSegmentationLib.segmentation.network import UNet
from ActiveSegmentationLib.uncertainty import Deterministic, slice_scores
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings


@pytest.fixture
def room(monkeypatch):
    """Sets how many images a network can compute at once."""
    encode = UNet.encode

    def most(count):
        def limited(network, images):
            if len(images) > count:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return encode(network, images)

        monkeypatch.setattr(UNet, "encode", limited)

    return most


@pytest.fixture
def task(stack, tiny):
    """A training whose parts add up: nothing in it looks at several slices together."""
    settings = replace(tiny, norm="instance", dice_share=0.0, dropout=(0.0,) * 5, decoder_dropout=(0.0,) * 4, steps=5)
    return TrainingTask(stack, stack.examples(range(8)), 3, settings, seed=0)


def test_a_training_goes_on_with_parts_of_its_batches(task, tmp_path, room):
    whole, progress = fit(task, folder=tmp_path / "whole"), RecordedProgress()
    room(1)
    found = fit(task, folder=tmp_path / "parts", compute=Compute(progress=progress))
    assert [message for message in progress.messages if "Memory" in message] == [
        f"Memory ran out: from now on, each batch of 4 slices is computed in {parts} parts. Batch normalisation and "
        "the Dice loss then see fewer slices at once."
        for parts in (2, 4)
    ]
    assert found.record["parts of a batch"] == 4
    assert "parts of a batch" not in whole.record
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_training_that_cannot_do_with_less_fails(task, tmp_path, room):
    room(0)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        fit(task, folder=tmp_path)


def test_predictions_features_and_gradients_are_those_of_whole_batches(task, stack, tmp_path, room):
    model, rows = fit(task, folder=tmp_path), np.arange(12)

    def everything(compute):
        return (
            model.probabilities(stack, rows, compute),
            model.features(stack, rows, compute=compute),
            gradient_embeddings(model, stack, rows, layer="last", compute=compute),
        )

    expected = everything(None)
    progress = RecordedProgress()
    room(5)
    for found, before in zip(everything(Compute(progress=progress)), expected, strict=True):
        np.testing.assert_allclose(found, before, rtol=1e-4, atol=1e-5)
    assert progress.messages == ["Memory ran out: from now on, at most 3 slice(s) are computed at once."]


def test_scores_are_those_of_whole_batches(task, stack, tmp_path, room):
    model, rows = fit(task, folder=tmp_path), np.arange(12)
    expected = slice_scores(model, stack, rows, Deterministic())["entropy"]
    room(2)
    found = slice_scores(model, stack, rows, Deterministic())["entropy"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
