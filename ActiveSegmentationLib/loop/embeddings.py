"""The embeddings a strategy may ask for, each computed when asked and kept on disk where that is dear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.acquisition.pool import Embedder
from ActiveSegmentationLib.cohort import SliceStack
from ActiveSegmentationLib.common.files import hash_json, read_json, write_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.embedding import (
    EMBEDDING_PRESETS,
    INFO_VAE_PRESETS,
    Encoder,
    InfoVae,
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
    if kind.partition(":")[0] == "infovae":
        return _info_vae(kind, stack, rows, settings, cache=cache, device=device, progress=progress)
    _, _, preset = kind.partition(":")
    embedding = settings.embedding
    if preset:
        embedding = named_settings(preset, embedding)
    folder = cache / "encoders"
    name = hash_json([embedding.to_json(), settings.seed, stack.channels, stack.settings.to_json()])[:24]
    known = _of_cohort(folder, name, len(rows), progress)
    if known is not None:
        return load_encoder(known)
    encoder = train_encoder(stack, rows, embedding, seed=settings.seed, folder=folder, device=device, progress=progress)
    _keep_for_cohort(folder, name, encoder.key, len(rows))
    return encoder


def _info_vae(
    kind: str,
    stack: SliceStack,
    rows: np.ndarray,
    settings: LoopSettings,
    *,
    cache: Path,
    device: str,
    progress: Progress | None,
) -> InfoVae:
    chosen = INFO_VAE_PRESETS[kind.partition(":")[2] or "auto"]
    if settings.embedding.steps is not None:
        chosen = replace(chosen, steps=settings.embedding.steps)
    folder = cache / "autoencoders"
    name = hash_json([chosen.to_json(), settings.seed, stack.channels, stack.settings.to_json()])[:24]
    known = _of_cohort(folder, name, len(rows), progress)
    if known is not None:
        return load_info_vae(known)
    trained = train_info_vae(stack, rows, chosen, seed=settings.seed, folder=folder, device=device, progress=progress)
    _keep_for_cohort(folder, name, trained.key, len(rows))
    return trained


def _of_cohort(folder: Path, name: str, slices: int, progress: Progress | None) -> Path | None:
    """Folder of the cohort's network of these settings, or None before it is trained."""
    pointer = _pointer(folder, name)
    if not pointer.is_file():
        return None
    known = read_json(pointer)
    if known["slices"] != slices:
        or_silent(progress).message(
            f"The metric learned from {known['slices']} slices serves the present {slices} too; "
            f"remove {folder} to learn it anew."
        )
    return folder / known["key"]


def _keep_for_cohort(folder: Path, name: str, key: str, slices: int) -> None:
    write_json(_pointer(folder, name), {"key": key, "slices": slices})


def _pointer(folder: Path, name: str) -> Path:
    return folder / f"cohort-{name}.json"


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
        rows: Rows that the learned metric and the autoencoder are trained on.
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

    available = {kind: learned(kind) for kind in (*LEARNED, *filter(is_learned, kinds))}
    available["pixels"] = lambda wanted: pixel_features(stack, wanted)
    if model is not None:
        available["segmenter"] = lambda wanted: model.features(stack, wanted, device=device, progress=progress)
    return available
