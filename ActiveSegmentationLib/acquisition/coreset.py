"""Coreset: the slices that leave nothing in the cohort far from an annotated one."""

from __future__ import annotations

from ActiveSegmentationLib.acquisition.k_center_strategy import KCenterStrategy
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.spaces import parse_space


@register
class Coreset(KCenterStrategy):
    """k-center greedy coreset (Sener and Savarese 2018; the baseline "Coreset" of Vepa 2024 and Foellmer 2024).

    The argument names the space in which slices are compared: "segmenter", the globally averaged coarsest features of
    the last trained model (of several models those of each, side by side); "segmenter-map", the same without averaging,
    as Foellmer et al. have it; "pixels", 32 x 32 pixels (the released program of Vepa et al. takes all of them);
    "learned" or "learned:NAME", the group-contrastive metric, with the names of "group-contrastive-coreset". Plain
    "coreset" is "coreset:segmenter". Before the first model is trained there are no such features and pixels stand in
    for them; each choice's reason says so. Needs: the embedding; cost O((annotated + budget) n d).

    Raises:
        BadInput: If the argument names no such space.
    """

    name = "coreset"
    summary = "Slices unlike any annotated one, by the model's features (coreset:pixels and coreset:learned also)."

    def _take_argument(self, argument: str | None) -> None:
        self.space = parse_space(argument, "segmenter", self.name)
        self.embeddings = self.space.embeddings
