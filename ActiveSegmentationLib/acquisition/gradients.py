"""Gradients of a loss with respect to the model's weights, per item of a pool."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool

Parameters = Annotated[int, Option("weights of the model whose gradients are kept of each slice", least=1)]
"""Option of all of them; Foellmer 2024 keeps 10,000."""

Entries = Literal["random", "first"]


def gradients_of(
    pool: Pool,
    layer: str,
    parameters: int,
    rng: np.random.Generator,
    *,
    loss: str = "likelihood",
    entries: Entries = "random",
) -> np.ndarray:
    """Gradients of every item of a pool that has a model; for volumes, the means over their slices.

    Args:
        pool: The slices to choose from.
        layer: Layer, see ``SegmentationNetwork.convolutions``.
        parameters: Maximum number of parameters to keep.
        rng: Source of the random subset of parameters.
        loss: Name from ``uncertainty.gradients.LOSSES``.
        entries: Which parameters to keep, see ``choose_parameters``.

    Returns:
        (n, d) float32, d <= ``parameters``.

    Raises:
        BadInput: If a value is not finite, or the model gives no gradients.
    """
    from ActiveSegmentationLib.uncertainty.gradients import choose_parameters, parameter_count

    columns = choose_parameters(parameter_count(pool.require_model(), layer), parameters, entries, rng)
    return gradients_at(pool, layer, columns, loss=loss)


def gradients_at(pool: Pool, layer: str, columns: np.ndarray, *, loss: str = "likelihood") -> np.ndarray:
    """The same for given parameters (k,) of the layer: (n, k) float32."""
    from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings

    model = pool.require_model()

    def compute(rows: np.ndarray) -> np.ndarray:
        return gradient_embeddings(
            model,
            pool.stack,
            rows,
            layer=layer,
            loss=loss,
            columns=columns,
            compute=pool.compute,
        )

    return pool.per_item(("gradients", layer, loss, columns.tobytes()), compute)
