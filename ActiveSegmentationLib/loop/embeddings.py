"""Embeddings for strategies, computed on demand and cached on disk if slow to compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.acquisition.round_inputs import Embedder
from ActiveSegmentationLib.cohort import SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.files import hash_json, read_fields, write_json
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
from ActiveSegmentationLib.embedding.cache import cache_file
from ActiveSegmentationLib.loop.device import resolve_device
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.segmentation import Ensemble

LEARNED = (
    "learned",
    *(f"learned:{name}" for name in EMBEDDING_PRESETS),
    "infovae",
    *(f"infovae:{name}" for name in INFO_VAE_PRESETS),
)
"""Kinds of embedding whose network is trained once per cohort; "learned" takes free weights of the losses as well."""


PART = 1 << 16
"""Slices that are embedded at a time and kept on disk; a multiple of the batches, so that these stay the same."""


def is_learned(kind: str) -> bool:
    """Whether the network of an embedding is trained once per cohort."""
    return kind.partition(":")[0] in ("learned", "infovae")


@dataclass
class Embeddings:
    """The embeddings of a cohort's slices.

    Attributes:
        stack: The cohort's slices.
        rows: Rows that the learned metric and the autoencoder are trained on, without labels.
        settings: Settings of the loop.
        cache: Folder of the cache, which can be computed again.
        compute: Device and progress reporter.
        keys: Keys of the trained networks used so far, by kind of embedding.
    """

    stack: SliceStack
    rows: np.ndarray
    settings: LoopSettings
    cache: Path
    compute: Compute
    keys: dict[str, str] = field(default_factory=dict)

    def network(self, kind: str) -> Encoder | InfoVae:
        """The trained network of an embedding: trained once per cohort, and kept when volumes are added or excluded.

        The first network of these settings stays the cohort's until the cache is cleared. Distances of different rounds
        can therefore be compared, and leaving a volume out needs no new training. Two processes never train the same
        network.

        Args:
            kind: A kind for which ``is_learned`` is true: "learned" for the learned metric with the settings' own
                weights of the losses, "learned:NAME" for those that ``named_settings`` gives for the name, "infovae"
                and "infovae:PRESET" for the autoencoder.
        """
        chosen, pointer = self._network_settings(kind), self._pointer(kind)
        folder = pointer.parent
        if pointer.is_file():
            known = read_fields(pointer, "key", "slices")
            self._report_reuse(known["slices"], folder)
            load = load_info_vae if isinstance(chosen, InfoVaeSettings) else load_encoder
            return load(folder / known["key"])
        trained = self._train(chosen, folder)
        write_json(pointer, {"key": trained.key, "slices": len(self.rows)})
        return trained

    def is_trained(self, kind: str) -> bool:
        """Whether the network of an embedding is on disk."""
        return self._pointer(kind).is_file()

    def _pointer(self, kind: str) -> Path:
        """File that names the cohort's network of these settings."""
        chosen, stack = self._network_settings(kind), self.stack
        folder = self.cache / ("autoencoders" if isinstance(chosen, InfoVaeSettings) else "encoders")
        name = hash_json([chosen.to_json(), self.settings.seed, stack.channels, stack.settings.to_json()])[:24]
        return folder / f"cohort-{name}.json"

    def embedders(self, model: Ensemble | None, kinds: Sequence[str] = ()) -> dict[str, Embedder]:
        """A function for every kind of embedding that is available now.

        Args:
            model: The model of the previous round, or None.
            kinds: Kinds that are needed; free weights of the losses are available only if they are named here.
        """
        available = {kind: partial(self._learned, kind) for kind in (*LEARNED, *filter(is_learned, kinds))}
        found: dict[str, Embedder] = {**available, "pixels": partial(pixel_features, self.stack)}
        if model is not None:
            features = partial(model.features, self.stack, compute=self.compute)
            found |= {"segmenter": features, "segmenter-map": partial(features, flatten=True)}
        return found

    def _learned(self, kind: str, wanted: np.ndarray) -> np.ndarray:
        network = self.network(kind)
        self.keys[kind] = network.key
        return np.concatenate([self._embedded(network, part) for part in range(self.parts)])[wanted]

    @property
    def parts(self) -> int:
        """Number of parts in which the cohort is embedded."""
        return -(-len(self.stack) // PART)

    def embed_part(self, kind: str, part: int) -> np.ndarray:
        """Embeddings of a part of the cohort, (n, d) float32: from disk, or computed and kept there.

        Args:
            kind: A kind for which ``is_learned`` is true.
            part: Number of the part, from 0; each has ``PART`` slices, the last one the rest.
        """
        return self._embedded(self.network(kind), part)

    def _embedded(self, network: Encoder | InfoVae, part: int) -> np.ndarray:
        rows = np.arange(part * PART, min((part + 1) * PART, len(self.stack)))
        name = self._part_name(network.key, part)
        folder = self.cache / "embeddings"
        return cached_embeddings(folder, name, lambda: network.embed(self.stack, rows, self.compute))

    def is_embedded(self, kind: str, part: int) -> bool:
        """Whether the embeddings of a part are on disk."""
        if not self.is_trained(kind):
            return False
        name = self._part_name(read_fields(self._pointer(kind), "key")["key"], part)
        return cache_file(self.cache / "embeddings", name).is_file()

    def _part_name(self, key: str, part: int) -> str:
        name = f"{key}-{self.stack.key}"
        return name if self.parts == 1 else f"{name}-part{part + 1}of{self.parts}"

    def reporting_to(self, progress: Progress | None) -> Embeddings:
        """The same embeddings with another progress reporter, on the device of the computer that computes."""
        device = resolve_device(self.compute.device)
        return replace(self, compute=replace(self.compute, device=device, progress=or_silent(progress)))

    def _network_settings(self, kind: str) -> EmbeddingSettings | InfoVaeSettings:
        head, _, preset = kind.partition(":")
        own = self.settings.embedding
        if head == "infovae":
            chosen = INFO_VAE_PRESETS[preset or "auto"]
            return chosen if own.steps is None else replace(chosen, steps=own.steps)
        return named_settings(preset, own) if preset else own

    def _train(self, chosen: EmbeddingSettings | InfoVaeSettings, folder: Path) -> Encoder | InfoVae:
        seed, compute = self.settings.seed, self.compute
        if isinstance(chosen, InfoVaeSettings):
            return train_info_vae(self.stack, self.rows, chosen, seed=seed, folder=folder, compute=compute)
        return train_encoder(self.stack, self.rows, chosen, seed=seed, folder=folder, compute=compute)

    def _report_reuse(self, slices: int, folder: Path) -> None:
        if slices != len(self.rows):
            self.compute.progress.message(
                f"The network trained on {slices} slices is used for the present {len(self.rows)} too; "
                f"remove {folder} to train it again."
            )
