"""Uncertainty of a model: samplers of predictions, statistics over their draws, maps and scores of slices."""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
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
    )
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
