from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from recorded_progress import RecordedProgress

from ActiveSegmentationLib.cohort import StackSettings
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.embedding import EmbeddingSettings, LossWeights
from ActiveSegmentationLib.loop import Embeddings, LoopSettings
from ActiveSegmentationLib.loop import embeddings as library


class TinyStack:
    """Six noisy slices of two volumes."""

    key, channels, grid_shape, settings = "tiny", 1, (32, 32), StackSettings()
    volume_number = patient_number = np.repeat([0, 1], 3)
    index = np.tile(np.arange(3), 2)

    def __len__(self):
        return 6

    def batches(self, rows, device="cpu"):
        images = torch.rand((6, 1, 32, 32), generator=torch.Generator().manual_seed(0))
        return images[torch.as_tensor(rows)].to(device)


def test_the_features_are_those_of_the_whole_ensemble(tmp_path):
    wanted = np.array([2, 0])
    features = np.arange(12, dtype=np.float32).reshape(3, 4)

    def features_of(stack, rows, *, compute, flatten=False):
        return np.repeat(features[rows], 9, axis=1) if flatten else features[rows]

    model = SimpleNamespace(features=features_of)
    embeddings = Embeddings(None, np.arange(3), LoopSettings(), tmp_path, Compute())
    available = embeddings.embedders(model)
    assert np.array_equal(available["segmenter"](wanted), features[wanted])
    assert available["segmenter-map"](wanted).shape == (2, 36)
    assert "segmenter" not in embeddings.embedders(None)


def test_free_weights_of_the_losses_keep_the_studys_training(tmp_path, monkeypatch):
    trained = []

    def train(stack, rows, settings, *, folder, **_):
        trained.append(settings)
        return SimpleNamespace(key="encoder", embed=lambda *_, **__: np.zeros((3, 2), np.float32))

    class Stack:
        channels, key, settings = 1, "stack", SimpleNamespace(to_json=dict)

        def __len__(self):
            return 3

    monkeypatch.setattr(library, "train_encoder", train)
    settings = LoopSettings()
    kind = "learned:nt-xent=1+volume=0.5"
    available = Embeddings(Stack(), np.arange(3), settings, tmp_path, Compute()).embedders(None, (kind,))
    assert available[kind](np.array([1])).shape == (1, 2)
    assert trained == [replace(settings.embedding, weights=LossWeights(1, 0, 0.5, 0))]


def test_the_autoencoder_is_trained_once_and_serves_a_changed_cohort(tmp_path):
    settings = LoopSettings(embedding=EmbeddingSettings(steps=2))
    first = Embeddings(TinyStack(), np.arange(6), settings, tmp_path, Compute()).network("infovae")
    assert first.settings.steps == 2
    listener = RecordedProgress()
    compute = Compute(progress=listener)
    available = Embeddings(TinyStack(), np.arange(5), settings, tmp_path, compute).embedders(None)
    assert available["infovae"](np.array([4, 1])).shape == (2, first.settings.latent)
    assert {stage for stage, _, _ in listener.reports} == {"Embedding slices"}
    assert "used for the present 5" in listener.messages[0]
    assert set(library.LEARNED) <= set(available)
    assert {"learned", "infovae", "infovae:ozdemir2021"} <= set(library.LEARNED)


def test_parts_of_a_large_cohort_are_the_embeddings_of_the_whole(tmp_path, monkeypatch):
    settings = LoopSettings(embedding=EmbeddingSettings(steps=1))
    whole = Embeddings(TinyStack(), np.arange(6), settings, tmp_path / "whole", Compute(batch_size=2))
    wanted = np.array([5, 0, 3])
    expected = whole.embedders(None)["learned"](wanted)
    monkeypatch.setattr(library, "PART", 4)
    parts = replace(whole, cache=tmp_path / "parts")
    assert not parts.is_embedded("learned", 1)
    assert parts.embed_part("learned", 1).shape[0] == 2
    assert [parts.is_embedded("learned", part) for part in range(parts.parts)] == [False, True]
    assert np.array_equal(parts.embedders(None)["learned"](wanted), expected)
    assert len(list((tmp_path / "parts" / "embeddings").glob("*-part?of2.npz"))) == 2
