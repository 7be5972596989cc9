"""What the two Jensen-Shannon divergences share."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.options import Option

FORMULA = Option(
    "minus",
    "minus for the divergence of the paper, plus for half the sum of both entropies as its released program has it",
    choices=("minus", "plus"),
)

MAPS = {"minus": "mutual-information", "plus": "half-sum-of-entropies"}
"""Name of the map that each formula averages."""
