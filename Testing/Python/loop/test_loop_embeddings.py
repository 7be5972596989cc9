from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from ActiveSegmentationLib.loop import LoopSettings, embedders


def test_the_segmenter_embedding_is_that_of_the_whole_ensemble(tmp_path):
    wanted = np.array([2, 0])
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    model = SimpleNamespace(features=lambda stack, rows, *, device, progress: features[rows])
    options = {"cache": tmp_path, "device": "cpu"}
    available = embedders(None, np.arange(3), LoopSettings(), model=model, **options)
    assert np.array_equal(available["segmenter"](wanted), features[wanted])
    assert "segmenter" not in embedders(None, np.arange(3), LoopSettings(), model=None, **options)
