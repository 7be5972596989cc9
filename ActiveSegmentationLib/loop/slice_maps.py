"""Map of slices: all slices of a cohort as points in a plane, in which similar slices are close."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.cohort import Role
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_bytes
from ActiveSegmentationLib.embedding import cached_embeddings
from ActiveSegmentationLib.loop.embeddings import Embeddings
from ActiveSegmentationLib.loop.study_loop import StudyLoop

METHODS = ("pca", "tsne")
"""Methods of the map: principal components (fast, global), t-SNE (slow, shows neighbourhoods)."""

EMBEDDINGS = ("pixels", "segmenter", "learned")
"""Embeddings that the map can be computed from."""

MOST_COMPONENTS = 50
"""Number of dimensions to which PCA reduces the input of t-SNE, as its authors advise."""


@dataclass(frozen=True)
class SliceMap:
    """Positions of slices in a plane.

    Attributes:
        volumes: Id of the volume of each slice.
        indices: 0-based index of each slice in its volume.
        places: (n, 2) float32, without unit.
        embedding: Embedding that they were computed from.
    """

    volumes: tuple[str, ...]
    indices: tuple[int, ...]
    places: np.ndarray
    embedding: str


def slice_map(loop: StudyLoop, *, method: str = "pca", embedding: str = "auto") -> SliceMap:
    """Compute the map of the pool's slices.

    Args:
        loop: The study.
        method: One of ``METHODS``.
        embedding: One of ``EMBEDDINGS``. "auto" uses the model's features if a model is trained, otherwise down-sampled
            pixels, neither of which needs a training.

    Raises:
        BadInput: If an option is unknown, or the model's features are requested before the first training.
    """
    model = loop.latest_model()
    if embedding == "auto":
        embedding = "pixels" if model is None else "segmenter"
    for value, known, where in ((method, METHODS, "method"), (embedding, EMBEDDINGS, "embedding")):
        if value not in known:
            raise BadInput(f"There is no {where} '{value}'.", where=where, advice=f"Choose one of: {', '.join(known)}.")
    rows = loop.rows(Role.POOL)
    cache = loop.study.cache_folder
    available = Embeddings(loop.stack, rows, loop.settings, cache, loop.compute).embedders(model)
    if embedding not in available:
        raise BadInput("No model is trained yet.", where="embedding", advice="Train first, or use pixels.")
    vectors = np.asarray(available[embedding](rows), dtype=np.float32)
    places = _cached_places(vectors, method, loop.settings.seed, cache / "maps", loop)
    slices = loop.stack.slice_ids(rows)
    return SliceMap(tuple(s.volume for s in slices), tuple(s.index for s in slices), places, embedding)


def _cached_places(vectors: np.ndarray, method: str, seed: int, folder: Path, loop: StudyLoop) -> np.ndarray:
    key = hash_bytes(np.ascontiguousarray(vectors).tobytes(), method, str(seed))[:24]
    stage = {"pca": "Computing principal components", "tsne": "Computing t-SNE"}[method]
    loop.progress.update(stage, 0, 1)
    places = cached_embeddings(folder, key, lambda: _places(vectors, method, seed))
    loop.progress.update(stage, 1, 1)
    return places


def _places(vectors: np.ndarray, method: str, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(vectors) < 3:
        return np.column_stack([np.arange(len(vectors)), np.zeros(len(vectors))]).astype(np.float32)
    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(vectors).astype(np.float32)
    reduced = PCA(min(MOST_COMPONENTS, *vectors.shape), random_state=seed).fit_transform(vectors)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced).astype(np.float32)
