"""How far a study is: its counts, its newest model, the size of its cache."""

from __future__ import annotations

from typing import Any

from ActiveSegmentationLib.segmentation import trained_key
from ActiveSegmentationLib.study import Study


def study_overview(study: Study) -> dict[str, Any]:
    """What ``Study.status`` counts, the newest model and the cache, as JSON values; reads no image and no weights.

    Returns:
        Also "model" (None before the first training; its "round", the "slices" it was trained on, which is None for a
        training that was broken off before it said so, and its "key") and "cache bytes".
    """
    return study.status() | {"model": _newest_model(study), "cache bytes": study.cache_size()}


def _newest_model(study: Study) -> dict[str, Any] | None:
    for number in sorted((0, *study.requests.rounds()), reverse=True):
        key = trained_key(study.requests.round_folder(number) / "model")
        if key is not None:
            config = study.requests.read_record(number, "config") or {}
            slices = config.get("annotated slices") if config.get("model") == key else None
            return {"round": number, "slices": slices, "key": key}
    return None
