"""The coreset in a metric that is learned from the cohort alone."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.k_center_strategy import KCenterStrategy
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.spaces import parse_space


@register
class GroupContrastiveCoreset(KCenterStrategy):
    """k-center greedy in a metric learned from the cohort alone (Vepa et al. 2024, "Ours"; Eq. 2-5).

    The encoder is trained without labels to bring slices of one patient, volume or neighbourhood together. It is
    trained once a cohort and serves every round, the first included. The argument picks the losses: a preset, among
    them every row of the paper's ablation ("ntxent", "patient", "volume", "slice", any of them joined by "-" in this
    order as in "ntxent-patient-volume", and "all"), or free weights as in
    "group-contrastive-coreset:nt-xent=1+patient=0.05+volume=0.35+slice=0", with which the study's own training is kept
    in all else. Needs: the learned embedding (minutes of training, once); cost O((annotated + budget) n d).

    Raises:
        BadInput: If the argument names no preset and no weights.
    """

    name = "group-contrastive-coreset"
    summary = "Slices unlike any annotated one, by a metric learned from your cohort; needs no label to start."

    def _take_argument(self, argument: str | None) -> None:
        self.space = parse_space("learned" if argument is None else f"learned:{argument}", "learned", self.name)
        self.embeddings = self.space.embeddings
