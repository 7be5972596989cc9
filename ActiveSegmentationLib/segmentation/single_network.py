"""What models of one network share: their key, what they can do, and the list of their networks."""

from __future__ import annotations

from typing import Any

import torch

from ActiveSegmentationLib.segmentation.learner import LOSS_HEAD
from ActiveSegmentationLib.segmentation.learners import learner_class
from ActiveSegmentationLib.segmentation.predictor import TrainedModel


class SingleNetworkModel(TrainedModel):
    """A trained model that consists of one network.

    Attributes:
        network: The network; its ``loss_head`` is None if it was trained without one.
        identity: Hash of everything it was made from.
    """

    network: Any
    identity: str

    @property
    def key(self) -> str:
        """Hash of examples, settings, seed, stack and initial model."""
        return self.identity

    @property
    def capabilities(self) -> frozenset[str]:
        """What its learner can do with its settings; the loss head only if it was trained with one."""
        found = learner_class(self.settings.learner).capabilities(self.settings)
        return found if self.network.loss_head is not None else found - {LOSS_HEAD}

    def networks(self) -> list[torch.nn.Module]:
        """The one network, in a list."""
        return [self.network]
