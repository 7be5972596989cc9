"""Slice-based active learning for 3D medical image segmentation."""

import os
import sys
from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

__version__ = "0.1.0"

if sys.platform == "darwin":  # what an Apple GPU cannot compute, PyTorch computes on the CPU; read when it is imported
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

if TYPE_CHECKING:
    from ActiveSegmentationLib.acquisition import create_strategy
    from ActiveSegmentationLib.api import (
        annotate,
        benchmark,
        choose_learner,
        create_study,
        evaluate,
        export,
        export_model,
        predict,
        suggest,
        train,
    )
    from ActiveSegmentationLib.cohort import discover, write_phantom
    from ActiveSegmentationLib.study import Study
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
