"""Contrastive losses of the learned metric (Vepa et al., NeurIPS 2024, Eq. 4 and 5).

A batch of N slices has 2N views: row i is the first view of slice i, row N + i its second view.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from ActiveSegmentationLib.embedding.loss_weights import Anchors, LossWeights


class BatchIds(NamedTuple):
    """Which group the N slices of a batch belong to: (N,) int64 tensors, in which equal numbers mean the same group.

    Attributes:
        slices: The slice itself; numbers are equal where a slice replaces a missing companion.
        patients: Its patient.
        volumes: Its volume.
        neighbours: Its pair of neighbouring slices; a number of its own for a slice without a pair.
    """

    slices: torch.Tensor
    patients: torch.Tensor
    volumes: torch.Tensor
    neighbours: torch.Tensor


def scaled_similarity(embeddings: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cosine similarity of all pairs of views, divided by the temperature.

    Args:
        embeddings: (2N, D) floating point.
        temperature: tau, above 0.

    Returns:
        (2N, 2N), symmetric, between -1 / tau and 1 / tau; a vector of zeros has similarity 0.
    """
    unit = functional.normalize(embeddings, dim=1, eps=1e-8)
    return unit @ unit.T / temperature


def nt_xent(similarity: torch.Tensor, slices: torch.Tensor | None = None) -> torch.Tensor:
    """Normalised temperature-scaled cross-entropy of SimCLR (Chen et al., ICML 2020), mean over all 2N views.

    Args:
        similarity: (2N, 2N) from ``scaled_similarity``.
        slices: (N,) ids; where a slice is in the batch twice, its copies do not repel. Default: all slices differ.

    Returns:
        Scalar: mean of -log(exp(s_ij) / sum_{k != i} exp(s_ik)), where j is the other view of the slice of view i.
    """
    views = torch.arange(len(similarity), device=similarity.device)
    other = views.roll(len(similarity) // 2)
    itself = views if slices is None else slices.repeat(2)
    left_out = itself[:, None] == itself[None, :]
    left_out[views, other] = False
    left_out.fill_diagonal_(True)
    denominator = torch.logsumexp(similarity.masked_fill(left_out, -torch.inf), 1)
    return (denominator - similarity[views, other]).mean()


def group_contrastive_loss(
    similarity: torch.Tensor, groups: torch.Tensor, patients: torch.Tensor, *, anchors: Anchors = "paper"
) -> torch.Tensor:
    """Group loss of Vepa et al. 2024, Eq. 4: slices of a group attract, slices of other patients repel.

    The loss of a pair (i, j) of one group is -log(exp(s_ij) / sum_k exp(s_ik)), where k runs over the views with k != i
    that are of the same group or of another patient. Other groups of the same patient are in no term, so that losses of
    several groupings can be added without conflict.

    - ``anchors="paper"`` is the literal reading of Eq. 4: i runs over the first views, j over the second views of the
      same group, and the sum is divided by N G, where G is the mean number of slices in a group of the batch. With
      groups of equal size, that is the number of terms.
    - ``anchors="all"`` uses that the two views are equivalent: i runs over all 2N views, j over all others of the
      group, and the value is the mean over i of the mean over j. Every similarity gets a gradient from both sides, and
      groups of all sizes have the same weight for each anchor.

    With groups of one slice, one for each patient, "all" is NT-Xent, and "paper" is the half of NT-Xent whose anchors
    are the first views.

    Args:
        similarity: (2N, 2N) from ``scaled_similarity``.
        groups: (N,) id of each slice's group.
        patients: (N,) id of each slice's patient; a group lies within one patient.
        anchors: The reading of Eq. 4.

    Returns:
        Scalar.
    """
    n = len(groups)
    group, patient = groups.repeat(2), patients.repeat(2)
    same = group[:, None] == group[None, :]
    alike = same.clone().fill_diagonal_(False)
    compared = alike | (patient[:, None] != patient[None, :])
    denominator = torch.logsumexp(similarity.masked_fill(~compared, -torch.inf), 1, keepdim=True)
    terms = denominator - similarity
    if anchors == "paper":
        sizes = same[:n, :n].sum(1).to(similarity.dtype)
        mean_size = n / sizes.reciprocal().sum()  # the sum is the number of groups, since each group adds 1
        return terms[:n, n:].masked_fill(~same[:n, n:], 0).sum() / (n * mean_size)
    return (terms.masked_fill(~alike, 0).sum(1) / alike.sum(1)).mean()


def contrastive_losses(
    embeddings: torch.Tensor, ids: BatchIds, weights: LossWeights, *, temperature: float, anchors: Anchors = "paper"
) -> dict[str, torch.Tensor]:
    """Loss of Vepa et al. 2024, Eq. 5, from one similarity matrix.

    Args:
        embeddings: (2N, D) output of the projection head.
        ids: Groups of the N slices.
        weights: A loss of weight 0 is not computed.
        temperature: tau, above 0.
        anchors: The reading of Eq. 4.

    Returns:
        Scalars by name: "loss" is the weighted sum; each loss in use has its name in ``LossWeights`` and no weight.
    """
    similarity = scaled_similarity(embeddings, temperature)
    groups = {"patient": ids.patients, "volume": ids.volumes, "slice": ids.neighbours}
    losses = {"ntxent": nt_xent(similarity, ids.slices)} if weights.ntxent else {}
    for name, group in groups.items():
        if getattr(weights, name):
            losses[name] = group_contrastive_loss(similarity, group, ids.patients, anchors=anchors)
    total = torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()
    return {"loss": total, **losses}
