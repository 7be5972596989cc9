"""Predictions that are kept in the cache are taken only where they speak of the same planes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ActiveSegmentationLib.common.files import write_json
from ActiveSegmentationLib.loop.review import VolumeReview, known_review


@pytest.mark.parametrize(("overview", "taken"), [("grid", True), ("smaller", False)])
def test_a_prediction_of_the_centre_only_is_not_taken_for_one_of_the_whole_plane(tmp_path, overview, taken):
    prepared = SimpleNamespace(content="c" * 40, grid="grid", overview=overview)
    loop = SimpleNamespace(
        stack=SimpleNamespace(volume=lambda name: prepared), study=SimpleNamespace(cache_folder=tmp_path)
    )
    model, volume = SimpleNamespace(key="k" * 40), SimpleNamespace(id="v")
    record = tmp_path / "predictions" / ("k" * 16) / f"v-{'c' * 16}.json"  # as earlier versions named it
    write_json(record, VolumeReview("v", model.key, "", "", 0.5, (0.5,)).to_json())
    for ending in (".labels.nrrd", ".uncertainty.nrrd"):
        record.with_suffix(ending).write_bytes(b"")
    found = known_review(loop, model, volume)
    assert (found is not None) == taken
