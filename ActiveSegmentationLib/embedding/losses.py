"""Group-based contrastive learning (Vepa et al., NeurIPS 2024, Eq. 4 and 5): pure functions of similarities and ids.

Every function counts the 2N views of a batch of N slices so: row i is the first view of slice i, row N + i its second.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from ActiveSegmentationLib.embedding.loss_weights import Anchors, LossWeights


class BatchIds(NamedTuple):
    """What the N slices of a batch belong to; (N,) int64 tensors each, equal numbers meaning the same thing.

    Attributes:
        slices: The slice itself; it differs from place to place unless a slice stands for a missing companion.
        patients: Its patient.
        volumes: Its volume.
        neighbours: Its pair of neighbouring slices, a number of its own for a slice that is in none.
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
        (2N, 2N), symmetric, between -1 / tau and 1 / tau; a vector of zeros is similar to nothing (0).
    """
    unit = functional.normalize(embeddings, dim=1, eps=1e-8)
    return unit @ unit.T / temperature


def nt_xent(similarity: torch.Tensor, slices: torch.Tensor | None = None) -> torch.Tensor:
    """Normalised temperature-scaled cross-entropy of SimCLR (Chen et al., ICML 2020), mean over all 2N views.

    Args:
        similarity: (2N, 2N) from ``scaled_similarity``.
        slices: (N,) ids; where a slice is in the batch twice, its copies are not pushed apart. None: all differ.

    Returns:
        Scalar: mean of -log(exp(s_ij) / sum_{k != i} exp(s_ik)), j being the other view of the slice of view i.
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

    A pair (i, j) of one group costs -log(exp(s_ij) / sum_k exp(s_ik)) where k runs over the views with k != i that are
    of the same group or of another patient. Other groups of the same patient are in no term, so that losses of several
    groupings can be added without working against each other.

    Eq. 4 lets i run over the N standard slices and j over the N augmented ones of the same group, and divides by N G
    with G the mean number of slices a group in the batch: with equal groups that is the number of its terms. This is
    ``anchors="paper"``, its literal reading. ``anchors="all"`` uses that the two views play the same part: i runs over
    all 2N views, j over all others of the group, and the value is the mean over i of the mean over j. Every similarity
    gets a gradient from both sides and groups of all sizes weigh the same for each anchor.

    With groups of one slice, one for each patient, "all" is NT-Xent and "paper" is the half of it whose anchors are
    the first views.

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
        members = same[:n, :n].sum(1).to(similarity.dtype)
        mean_size = n / members.reciprocal().sum()  # each group adds up to 1 in the sum: the number of groups
        return terms[:n, n:].masked_fill(~same[:n, n:], 0).sum() / (n * mean_size)
    return (terms.masked_fill(~alike, 0).sum(1) / alike.sum(1)).mean()


def contrastive_losses(
    embeddings: torch.Tensor, ids: BatchIds, weights: LossWeights, *, temperature: float, anchors: Anchors = "paper"
) -> dict[str, torch.Tensor]:
    """Loss of Vepa et al. 2024, Eq. 5, from one similarity matrix.

    Args:
        embeddings: (2N, D) output of the projection head.
        ids: What the N slices belong to.
        weights: A loss of weight 0 is not computed.
        temperature: tau, above 0.
        anchors: The reading of Eq. 4.

    Returns:
        Scalars: "loss" the weighted sum, and each loss in use by its name in ``LossWeights``, without its weight.
    """
    similarity = scaled_similarity(embeddings, temperature)
    groups = {"patient": ids.patients, "volume": ids.volumes, "slice": ids.neighbours}
    losses = {"ntxent": nt_xent(similarity, ids.slices)} if weights.ntxent else {}
    for name, group in groups.items():
        if getattr(weights, name):
            losses[name] = group_contrastive_loss(similarity, group, ids.patients, anchors=anchors)
    total = torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()
    return {"loss": total, **losses}
