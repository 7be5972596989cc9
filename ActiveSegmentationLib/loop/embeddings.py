"""The embeddings a strategy may ask for, each computed when asked and kept on disk where that is dear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.acquisition.pool import Embedder
from ActiveSegmentationLib.cohort import SliceStack
from ActiveSegmentationLib.common.files import hash_json, read_json, write_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.embedding import (
    EMBEDDING_PRESETS,
    Encoder,
    cached_embeddings,
    load_encoder,
    named_settings,
    pixel_features,
    train_encoder,
)
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import Ensemble


def learned_encoder(
    kind: str,
    stack: SliceStack,
    rows: np.ndarray,
    settings: LoopSettings,
    *,
    cache: Path,
    device: str,
    progress: Progress | None = None,
) -> Encoder:
    """The encoder behind the embedding ``kind``: trained once a cohort, then it serves volumes that come or go as well.

    The first encoder of these settings stays the cohort's until the cache is cleared, so that distances of different
    rounds can be compared and a volume left out costs no new training.

    Args:
        kind: "learned" for the settings' own weights of the losses, "learned:NAME" for those that ``named_settings``
            gives for the name.
        stack: The cohort's slices.
        rows: Rows to learn from; no label is looked at.
        settings: Settings of the loop.
        cache: Folder of what can be computed again.
        device: Torch device.
        progress: Told of every training step.
    """
    _, _, preset = kind.partition(":")
    embedding = settings.embedding
    if preset:
        embedding = named_settings(preset, embedding)
    folder = cache / "encoders"
    name = hash_json([embedding.to_json(), settings.seed, stack.channels, stack.settings.to_json()])[:24]
    pointer = folder / f"cohort-{name}.json"
    if pointer.is_file():
        known = read_json(pointer)
        if known["slices"] != len(rows):
            or_silent(progress).message(
                f"The metric learned from {known['slices']} slices serves the present {len(rows)} too; "
                f"remove {folder} to learn it anew."
            )
        return load_encoder(folder / known["key"])
    encoder = train_encoder(stack, rows, embedding, seed=settings.seed, folder=folder, device=device, progress=progress)
    write_json(pointer, {"key": encoder.key, "slices": len(rows)})
    return encoder


def embedders(
    stack: SliceStack,
    rows: np.ndarray,
    settings: LoopSettings,
    *,
    model: Ensemble | None,
    cache: Path,
    device: str,
    kinds: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Embedder]:
    """Functions for every kind of embedding that can be had now.

    Args:
        stack: The cohort's slices.
        rows: Rows that the learned metric is trained on.
        settings: Settings of the loop.
        model: The model of the round before, or None.
        cache: Folder of what can be computed again.
        device: Torch device.
        kinds: Kinds that are asked for; those with free weights of the losses are offered for them only.
        progress: Told of training and embedding.
    """

    def learned(kind: str) -> Embedder:
        def embed(wanted: np.ndarray) -> np.ndarray:
            encoder = learned_encoder(kind, stack, rows, settings, cache=cache, device=device, progress=progress)

            def compute() -> np.ndarray:
                return encoder.embed(stack, np.arange(len(stack)), device=device, progress=progress)

            return cached_embeddings(cache / "embeddings", f"{encoder.key}-{stack.key}", compute)[wanted]

        return embed

    weighted = [kind for kind in kinds if kind.startswith("learned:")]
    presets = [f"learned:{name}" for name in EMBEDDING_PRESETS]
    available = {kind: learned(kind) for kind in ("learned", *presets, *weighted)}
    available["pixels"] = lambda wanted: pixel_features(stack, wanted)
    if model is not None:
        available["segmenter"] = lambda wanted: model.features(stack, wanted, device=device, progress=progress)
    return available
