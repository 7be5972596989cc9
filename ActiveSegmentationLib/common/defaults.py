"""Defaults that the command line, the library and the Slicer module share."""

from __future__ import annotations

DEFAULT_STRATEGY = "recommended"
"""Name of the strategy that is used unless another is chosen."""

DEFAULT_LEARNER = "unet"
"""Name of the learner that is used if none is named."""

FITTING_LEARNER = "auto"
"""Name of the learner of new studies with scribbles or large slices, if none is named."""

LARGE_SIDE = 160
"""Pixels of the longer side of a slice above which it is large: learning from whole slices takes long on a CPU."""
