"""Learning loss: a head on the network predicts the loss of each slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ActiveSegmentationLib.acquisition.base import ScoreStrategy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import percentile_text


@dataclass(frozen=True)
class LearningLoss(ScoreStrategy):
    """The predicted loss of a slice, by a head on the encoder's maps that learned to rank the losses of annotated
    slices (Yoo and Kweon 2019, Eq. 2-3; the baseline "Learning loss" of Gaillochet 2023, where it harmed the
    segmentation).

    Scores may be negative: only their order is meaningful. Ensemble members are averaged. Needs a model trained with
    the setting "loss_head", which is switched on for every training after a request of this strategy. Cost: slightly
    longer training, and one pass of every slice through the encoder.
    """

    name = "learning-loss"
    summary = "Slices on which an additional head expects the model to be wrong; experimental."
    source = "Gaillochet (Yoo and Kweon 2019)"
    requires = "a model trained with the head"
    loss_head = True
    only_order = True

    def not_ready_reason(self, pool: Pool) -> str:
        """Not ready without a model that has the head; the next training adds it. See ``Strategy.not_ready_reason``."""
        reason = super().not_ready_reason(pool)
        if reason or pool.model is None:
            return reason
        has_head = all(getattr(network, "loss_head", None) is not None for network in pool.model.networks())
        return "" if has_head else "The current model has no head that predicts its loss; the next model will have one"

    def score(self, pool: Pool) -> np.ndarray:
        """Predicted losses; see ``ScoreStrategy.score``."""
        return pool.per_item("predicted loss", lambda rows: _predicted(pool, rows))

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How the slice compares to the others; see ``ScoreStrategy.reason``."""
        others = percentile_text(self.score(pool), position)
        return f"The model is expected to be more wrong on this slice than on {others}."


def _predicted(pool: Pool, rows: np.ndarray) -> np.ndarray:
    return pool.require_model().predicted_losses(pool.stack, rows, pool.compute)
