"""Overview of a study: its counts, its newest model, the size of its cache."""

from __future__ import annotations

from typing import Any

from ActiveSegmentationLib.segmentation import is_trained, trained_key
from ActiveSegmentationLib.study import Study


def study_overview(study: Study) -> dict[str, Any]:
    """The counts of ``Study.status``, the newest model and the size of the cache, as JSON values; reads no image and no
    weights.

    Returns:
        The status, "cache bytes" and "model": None before the first training, otherwise its "round", its "key", and the
        number of "slices" it was trained on, which is None if the training was interrupted before it was recorded.
    """
    return study.status() | {"model": _newest_model(study), "cache bytes": study.cache_size()}


def trained_rounds(study: Study) -> list[int]:
    """Numbers of the rounds that have a finished model; 0 is a training before the first request."""
    rounds = (0, *study.requests.rounds())
    return [number for number in rounds if is_trained(study.requests.round_folder(number) / "model")]


def _newest_model(study: Study) -> dict[str, Any] | None:
    trained = trained_rounds(study)
    if not trained:
        return None
    key = trained_key(study.requests.round_folder(max(trained)) / "model")
    config = study.requests.read_record(max(trained), "config") or {}
    slices = config.get("annotated slices") if config.get("model") == key else None
    return {"round": max(trained), "slices": slices, "key": key}
