"""How the losses of the learned metric are combined; settings need this without PyTorch."""

from __future__ import annotations

from typing import Literal, NamedTuple

Anchors = Literal["paper", "all"]
"""Which views are anchors of the group loss; see ``group_contrastive_loss``."""


class LossWeights(NamedTuple):
    """Weights of Eq. 5: NT-Xent and the group losses of patients, of volumes and of neighbouring slices."""

    ntxent: float
    patient: float
    volume: float
    slice: float
