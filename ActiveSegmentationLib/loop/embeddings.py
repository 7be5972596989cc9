"""The embeddings a strategy may ask for, each computed when asked and kept on disk where that is dear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.acquisition.pool import Embedder
from ActiveSegmentationLib.cohort import SliceStack
from ActiveSegmentationLib.common.files import hash_json, read_json, write_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.embedding import (
    EMBEDDING_PRESETS,
    INFO_VAE_PRESETS,
    EmbeddingSettings,
    Encoder,
    InfoVae,
    InfoVaeSettings,
    cached_embeddings,
    load_encoder,
    load_info_vae,
    named_settings,
    pixel_features,
    train_encoder,
    train_info_vae,
)
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import Ensemble

LEARNED = (
    "learned",
    *(f"learned:{name}" for name in EMBEDDING_PRESETS),
    "infovae",
    *(f"infovae:{name}" for name in INFO_VAE_PRESETS),
)
"""Kinds of embedding whose network is trained once a cohort, see ``learned_encoder``; "learned" takes free weights of
the losses as well."""


def is_learned(kind: str) -> bool:
    """Whether the network of an embedding is trained once a cohort."""
    return kind.partition(":")[0] in ("learned", "infovae")


def learned_encoder(
    kind: str,
    stack: SliceStack,
    rows: np.ndarray,
    settings: LoopSettings,
    *,
    cache: Path,
    device: str,
    progress: Progress | None = None,
) -> Encoder | InfoVae:
    """The network behind the embedding ``kind``: trained once a cohort, then it serves volumes that come or go as well.

    The first network of these settings stays the cohort's until the cache is cleared, so that distances of different
    rounds can be compared and a volume left out costs no new training. No two processes train the same one.

    Args:
        kind: One that ``is_learned``: "learned" for the metric with the settings' own weights of the losses,
            "learned:NAME" for those that ``named_settings`` gives for the name; "infovae" and "infovae:PRESET" for the
            autoencoder.
        stack: The cohort's slices.
        rows: Rows to learn from; no label is looked at.
        settings: Settings of the loop.
        cache: Folder of what can be computed again.
        device: Torch device.
        progress: Told of every training step.
    """
    head, _, preset = kind.partition(":")
    chosen: EmbeddingSettings | InfoVaeSettings
    if head == "infovae":
        chosen, folder = INFO_VAE_PRESETS[preset or "auto"], cache / "autoencoders"
        if settings.embedding.steps is not None:
            chosen = replace(chosen, steps=settings.embedding.steps)
    else:
        chosen, folder = settings.embedding, cache / "encoders"
        if preset:
            chosen = named_settings(preset, chosen)
    name = hash_json([chosen.to_json(), settings.seed, stack.channels, stack.settings.to_json()])[:24]
    pointer = folder / f"cohort-{name}.json"
    if pointer.is_file():
        known = read_json(pointer)
        if known["slices"] != len(rows):
            or_silent(progress).message(
                f"The metric learned from {known['slices']} slices serves the present {len(rows)} too; "
                f"remove {folder} to learn it anew."
            )
        load = load_info_vae if head == "infovae" else load_encoder
        return load(folder / known["key"])
    options: dict[str, Any] = {"seed": settings.seed, "folder": folder, "device": device, "progress": progress}
    trained: Encoder | InfoVae
    if isinstance(chosen, InfoVaeSettings):
        trained = train_info_vae(stack, rows, chosen, **options)
    else:
        trained = train_encoder(stack, rows, chosen, **options)
    write_json(pointer, {"key": trained.key, "slices": len(rows)})
    return trained


def embedders(
    stack: SliceStack,
    rows: np.ndarray,
    settings: LoopSettings,
    *,
    model: Ensemble | None,
    cache: Path,
    device: str,
    kinds: Sequence[str] = (),
    keys: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Embedder]:
    """Functions for every kind of embedding that can be had now.

    Args:
        stack: The cohort's slices.
        rows: Rows that the learned metric and the autoencoder are trained on.
        settings: Settings of the loop.
        model: The model of the round before, or None.
        cache: Folder of what can be computed again.
        device: Torch device.
        kinds: Kinds that are asked for; those with free weights of the losses are offered for them only.
        keys: Filled with the key of every learned network that is used, by kind.
        progress: Told of training and embedding.
    """
    used = {} if keys is None else keys

    def learned(kind: str) -> Embedder:
        def embed(wanted: np.ndarray) -> np.ndarray:
            encoder = learned_encoder(kind, stack, rows, settings, cache=cache, device=device, progress=progress)
            used[kind] = encoder.key

            def compute() -> np.ndarray:
                return encoder.embed(stack, np.arange(len(stack)), device=device, progress=progress)

            return cached_embeddings(cache / "embeddings", f"{encoder.key}-{stack.key}", compute)[wanted]

        return embed

    available = {kind: learned(kind) for kind in (*LEARNED, *filter(is_learned, kinds))}
    available["pixels"] = lambda wanted: pixel_features(stack, wanted)
    if model is not None:
        features = partial(model.features, stack, device=device, progress=progress)
        available |= {"segmenter": features, "segmenter-map": partial(features, flatten=True)}
    return available
