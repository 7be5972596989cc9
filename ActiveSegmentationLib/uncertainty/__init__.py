"""How sure a model is: samplers of predictions, statistics over their draws, maps and scores."""

from ActiveSegmentationLib.segmentation import Predictor, Sampler
from ActiveSegmentationLib.uncertainty.accumulation import Accumulator, MaskingSampler, accumulate
from ActiveSegmentationLib.uncertainty.samplers import (
    Deterministic,
    Dropout,
    EnsembleSampler,
    TestTimeAugmentation,
    dropout_active,
    seeded,
)
from ActiveSegmentationLib.uncertainty.scores import (
    AGGREGATES,
    CLASS_SCORES,
    SCORES,
    entropy_map,
    slice_scores,
    uncertainty_volume,
)

__all__ = [
    "AGGREGATES",
    "CLASS_SCORES",
    "SCORES",
    "Accumulator",
    "Deterministic",
    "Dropout",
    "EnsembleSampler",
    "MaskingSampler",
    "Predictor",
    "Sampler",
    "TestTimeAugmentation",
    "accumulate",
    "dropout_active",
    "entropy_map",
    "seeded",
    "slice_scores",
    "uncertainty_volume",
]
