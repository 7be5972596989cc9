from __future__ import annotations

import math

import pytest
import torch

from ActiveSegmentationLib.embedding import (
    BatchIds,
    LossWeights,
    contrastive_losses,
    group_contrastive_loss,
    nt_xent,
    scaled_similarity,
)

TAU = 0.5
STRUCTURES = 50


def exponentials(z):
    """exp(sim(z_i, z_k) / tau) of every pair, one by one."""

    def pair(i, k):
        return torch.exp((z[i] * z[k]).sum() / (z[i].norm() * z[k].norm()) / TAU)

    return [[pair(i, k) for k in range(len(z))] for i in range(len(z))]


def eq_4(z, groups, patients):
    """Eq. 4 of Vepa et al. 2024, term by term: i over the standard slices, j over the augmented ones."""
    n, e = len(groups), exponentials(z)
    g, p = [*groups, *groups], [*patients, *patients]
    mean_size = n / len(set(groups))
    terms = []
    for i in range(n):
        for j in range(n, 2 * n):
            if g[j] == g[i]:
                compared = [e[i][k] for k in range(2 * n) if (k != i and g[k] == g[i]) or p[k] != p[i]]
                terms.append(torch.log(e[i][j] / torch.stack(compared).sum()))
    return -torch.stack(terms).sum() / (n * mean_size)


def eq_4_of_all_views(z, groups, patients):
    """The symmetric reading: every view an anchor, the mean over its positives, the mean over anchors."""
    g, p, e = [*groups, *groups], [*patients, *patients], exponentials(z)
    views = range(len(g))
    means = []
    for i in views:
        terms = []
        for j in views:
            if j != i and g[j] == g[i]:
                compared = [e[i][k] for k in views if k != i and (g[k] == g[i] or p[k] != p[i])]
                terms.append(-torch.log(e[i][j] / torch.stack(compared).sum()))
        means.append(torch.stack(terms).mean())
    return torch.stack(means).mean()


def literal_nt_xent(z):
    n, e = len(z) // 2, exponentials(z)
    others = [torch.stack([e[i][k] for k in range(2 * n) if k != i]).sum() for i in range(2 * n)]
    return torch.stack([-torch.log(e[i][(i + n) % (2 * n)] / others[i]) for i in range(2 * n)]).mean()


LITERAL = {"paper": eq_4, "all": eq_4_of_all_views}


def random_structure(number):
    """Embeddings, groups and patients: 1 or 2 groups a patient, 1 to 3 slices a group, two or three patients."""
    rng = torch.Generator().manual_seed(number)

    def draw(low, high):
        return int(torch.randint(low, high, (1,), generator=rng))

    groups, patients, group = [], [], 0
    for patient in range(draw(2, 4)):
        for _ in range(draw(1, 3)):
            size = draw(1, 4)
            groups += [group * 7 + 3] * size  # ids need not be 0, 1, 2 ...
            patients += [patient * 5] * size
            group += 1
    order = torch.randperm(len(groups), generator=rng).tolist()
    z = torch.randn(2 * len(groups), 6, generator=rng, dtype=torch.float64)
    return z, [groups[i] for i in order], [patients[i] for i in order]


def fast(z, groups, patients, anchors):
    groups, patients = torch.tensor(groups), torch.tensor(patients)
    return group_contrastive_loss(scaled_similarity(z, TAU), groups, patients, anchors=anchors)


@pytest.mark.parametrize("anchors", ["paper", "all"])
def test_group_loss_and_its_gradient_equal_equation_4_term_by_term(anchors):
    for number in range(STRUCTURES):
        z, groups, patients = random_structure(number)
        ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
        loss, expected = fast(ours, groups, patients, anchors), LITERAL[anchors](theirs, groups, patients)
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-10)


def test_the_two_readings_differ():
    z, groups, patients = random_structure(1)
    assert abs(fast(z, groups, patients, "paper") - fast(z, groups, patients, "all")) > 1e-3


def test_nt_xent_equals_the_literal_sum():
    z = torch.randn(14, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(nt_xent(scaled_similarity(z, TAU)), literal_nt_xent(z), rtol=1e-12, atol=1e-12)


def test_groups_of_one_slice_a_patient_give_nt_xent():
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(fast(z, [*range(6)], [*range(6)], "all"), literal_nt_xent(z), rtol=1e-12, atol=1e-12)


def test_groups_of_one_slice_a_patient_give_the_first_half_of_nt_xent_as_the_paper_counts():
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    swapped = torch.cat([z[6:], z[:6]])
    both = fast(z, [*range(6)], [*range(6)], "paper") + fast(swapped, [*range(6)], [*range(6)], "paper")
    torch.testing.assert_close(both / 2, literal_nt_xent(z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("anchors", ["paper", "all"])
def test_patient_and_volume_loss_differ_when_a_patient_has_two_volumes(anchors):
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    patients, two_volumes = [0, 0, 0, 1, 1, 1], [0, 1, 1, 2, 3, 3]
    by_patient = fast(z, patients, patients, anchors)
    assert abs(by_patient - fast(z, two_volumes, patients, anchors)) > 1e-3
    torch.testing.assert_close(by_patient, fast(z, [4, 4, 4, 9, 9, 9], patients, anchors))


@pytest.mark.parametrize("anchors", ["paper", "all"])
def test_other_groups_of_the_same_patient_get_no_gradient_at_all(anchors):
    z, groups, patients = random_structure(5)
    similarity = scaled_similarity(z, TAU).requires_grad_()
    group_contrastive_loss(similarity, torch.tensor(groups), torch.tensor(patients), anchors=anchors).backward()
    g, p = torch.tensor(groups).repeat(2), torch.tensor(patients).repeat(2)
    left_out = (p[:, None] == p[None]) & (g[:, None] != g[None])
    assert left_out.any()
    assert torch.all(similarity.grad[left_out] == 0)
    others = p[:, None] != p[None]
    assert torch.all(similarity.grad[: len(groups)][others[: len(groups)]] > 0)


@pytest.mark.parametrize("anchors", ["paper", "all"])
def test_order_of_the_slices_does_not_matter(anchors):
    z, groups, patients = random_structure(7)
    n = len(groups)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    moved = torch.cat([z[:n][order], z[n:][order]])
    again = fast(moved, [groups[i] for i in order], [patients[i] for i in order], anchors)
    torch.testing.assert_close(again, fast(z, groups, patients, anchors), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("anchors", ["paper", "all"])
def test_gradient_agrees_with_finite_differences(anchors):
    ids = BatchIds(*(torch.tensor(v) for v in ([0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 1, 2], [0, 0, 1, 2])))
    weights = LossWeights(1, 0.3, 0.4, 0.2)
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64, requires_grad=True)

    def total(z):
        return contrastive_losses(z, ids, weights, temperature=TAU, anchors=anchors)["loss"]

    assert torch.autograd.gradcheck(total, (z,))


def test_total_is_equation_5():
    z, groups, patients = random_structure(11)
    n = len(groups)
    ids = BatchIds(torch.arange(n), torch.tensor(patients), torch.tensor(groups), torch.arange(n))
    losses = contrastive_losses(z, ids, LossWeights(1, 0.05, 0.35, 0.2), temperature=TAU)
    parts = (nt_xent(scaled_similarity(z, TAU)), eq_4(z, patients, patients), eq_4(z, groups, patients))
    alone = eq_4(z, list(range(n)), patients)
    expected = parts[0] + 0.05 * parts[1] + 0.35 * parts[2] + 0.2 * alone
    torch.testing.assert_close(losses["loss"], expected, rtol=1e-10, atol=1e-10)
    assert set(losses) == {"loss", "ntxent", "patient", "volume", "slice"}


def test_losses_of_weight_zero_are_not_computed():
    z, groups, patients = random_structure(11)
    ids = BatchIds(*(torch.tensor(v) for v in (list(range(len(groups))), patients, groups, groups)))
    losses = contrastive_losses(z, ids, LossWeights(0, 0, 1, 0), temperature=TAU)
    assert set(losses) == {"loss", "volume"}
    assert losses["loss"] == losses["volume"]


def test_copies_of_a_slice_are_not_pushed_apart_by_nt_xent():
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    similarity = scaled_similarity(z, TAU).requires_grad_()
    nt_xent(similarity, torch.tensor([8, 8, 2])).backward()
    copies = [(0, 1), (0, 4), (1, 0), (1, 3), (3, 1), (3, 4), (4, 0), (4, 3)]
    assert all(similarity.grad[pair] == 0 for pair in copies)
    assert similarity.grad[0, 3] < 0 < similarity.grad[0, 2]


def test_extreme_similarities_stay_finite():
    z = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]], requires_grad=True)
    ids = BatchIds(*(torch.tensor([0, 1]) for _ in range(4)))
    loss = contrastive_losses(z, ids, LossWeights(1, 1, 1, 1), temperature=0.001)["loss"]
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(z.grad).all()


def test_vectors_of_zeros_give_a_finite_gradient():
    z = torch.zeros(4, 3, requires_grad=True)
    nt_xent(scaled_similarity(z, TAU)).backward()
    assert torch.isfinite(z.grad).all()
