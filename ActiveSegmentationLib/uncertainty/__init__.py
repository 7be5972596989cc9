"""How sure a model is: samplers of predictions, statistics over their draws, maps and scores."""

from ActiveSegmentationLib.uncertainty.accumulation import Accumulator, accumulate
from ActiveSegmentationLib.uncertainty.samplers import Deterministic, Dropout, EnsembleSampler, dropout_active
from ActiveSegmentationLib.uncertainty.scores import SCORES, entropy_map, slice_scores, uncertainty_volume

__all__ = [
    "SCORES",
    "Accumulator",
    "Deterministic",
    "Dropout",
    "EnsembleSampler",
    "accumulate",
    "dropout_active",
    "entropy_map",
    "slice_scores",
    "uncertainty_volume",
]
