"""Defaults that the command line, the library and the Slicer module share."""

from __future__ import annotations

DEFAULT_STRATEGY = "recommended"
"""Name of the strategy that is used unless another is chosen."""

DEFAULT_LEARNER = "unet"
"""Name of the learner that is used if none is named."""
