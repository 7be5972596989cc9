"""Learning loss: a head beside the model predicts where the model will be wrong."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.acquisition.base import ScoreStrategy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import standing
from ActiveSegmentationLib.common.errors import BadInput


@register
class LearningLoss(ScoreStrategy):
    """The predicted loss of a slice, by a head on the encoder's maps that learned to rank the losses of annotated
    slices (Yoo and Kweon 2019, Eq. 2-3; the baseline "Learning loss" of Gaillochet 2023, where it did harm to the
    segmentation).

    Scores may be negative: only their order means anything. Of several models, the mean. Needs a model trained with the
    setting "loss_head", which every training after a request by this strategy has; before, balanced random slices are
    drawn. Cost: somewhat longer training, and the encoder's half of one prediction of every slice.
    """

    name = "learning-loss"
    summary = "Slices on which a second network expects the model to be wrong; experimental, trains a head of its own."
    loss_head = True
    only_order = True

    def hold(self, pool: Pool) -> str:
        """No model, or one without the head: the next training then gets one; see ``ModelStrategy.hold``."""
        why_not = super().hold(pool)
        if why_not or pool.model is None:
            return why_not
        has_head = all(getattr(network, "loss_head", None) is not None for network in pool.model.networks())
        return "" if has_head else "The present model has no head that predicts its loss, the next will have one"

    def score(self, pool: Pool) -> np.ndarray:
        """Predicted losses; see ``ScoreStrategy.score``."""
        return pool.per_item("predicted loss", lambda rows: _predicted(pool, rows))

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How the slice stands among the others; see ``ScoreStrategy.reason``."""
        return f"The model is expected to be more wrong on this slice than on {standing(self.score(pool), position)}."


def _predicted(pool: Pool, rows: np.ndarray) -> np.ndarray:
    if pool.model is None:
        advice = "Train a model first, or choose a strategy that needs none."
        raise BadInput("No model is trained yet.", where="acquisition", advice=advice)
    return pool.model.predicted_losses(pool.stack, rows, pool.compute)
