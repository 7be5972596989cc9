from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from ActiveSegmentationLib.embedding import LossWeights
from ActiveSegmentationLib.loop import LoopSettings, embedders
from ActiveSegmentationLib.loop import embeddings as library


def test_the_segmenter_embedding_is_that_of_the_whole_ensemble(tmp_path):
    wanted = np.array([2, 0])
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    model = SimpleNamespace(features=lambda stack, rows, *, device, progress: features[rows])
    options = {"cache": tmp_path, "device": "cpu"}
    available = embedders(None, np.arange(3), LoopSettings(), model=model, **options)
    assert np.array_equal(available["segmenter"](wanted), features[wanted])
    assert "segmenter" not in embedders(None, np.arange(3), LoopSettings(), model=None, **options)


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
    available = embedders(Stack(), np.arange(3), settings, model=None, cache=tmp_path, device="cpu", kinds=(kind,))
    assert available[kind](np.array([1])).shape == (1, 2)
    assert trained == [replace(settings.embedding, weights=LossWeights(1, 0, 0.5, 0))]
