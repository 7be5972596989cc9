"""DMPLS: its network, its loss against a literal version, its pseudo labels, and what it says about them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded_progress import RecordedProgress
from torch.nn import functional

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS, TrainingSettings, TrainingTask, fit
from ActiveSegmentationLib.segmentation.dmpls import DmplsLearner


@pytest.fixture
def small(tiny) -> TrainingSettings:
    return replace(TRAINING_PRESETS["dmpls"], features=(4, 4, 8, 8, 8), steps=12, batch_size=3, select="last")


def learner_of(stack, small, *, dense: bool = False) -> DmplsLearner:
    return DmplsLearner(stack, stack.examples([0, 3, 9], dense=dense), 3, small, seed=4, device="cpu")


def test_the_main_branch_has_as_many_weights_as_the_papers_network():
    preset = TRAINING_PRESETS["dmpls"]
    network = DmplsLearner.build_network(1, 4, preset, seed=0)
    main = sum(p.numel() for name, p in network.named_parameters() if "auxiliary" not in name)
    before_norm = 2 * sum(preset.features) + 2 * sum(preset.features[:-1])  # biases that the normalisation cancels
    assert main + before_norm == 1_813_764


def literal_loss(outputs, labels, share) -> float:
    """The paper's loss of scribbles, pixel by pixel where it matters."""
    known = labels != 255
    p, q = (torch.softmax(logits, 1) for logits in outputs)
    cross_entropies = []
    for each in (p, q):
        logs = [-torch.log(each[n, labels[n, y, x], y, x]) for n, y, x in known.nonzero().tolist()]
        cross_entropies.append(sum(logs) / len(logs))
    pseudo = (share * p + (1 - share) * q).argmax(1)
    dices = []
    for each in (p, q):
        for c in range(p.shape[1]):
            both = (each[:, c] * (pseudo == c)).sum()
            total = (each[:, c] ** 2).sum() + (pseudo == c).sum()
            dices.append(1 - (2 * both + 1e-5) / (total + 1e-5))
    return float(sum(cross_entropies) / 2 + 0.5 * sum(dices) / len(dices))


def test_the_loss_of_scribbles_equals_the_literal_one(stack, small):
    learner = learner_of(stack, small)
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn((3, 3, 9, 7), generator=generator) for _ in range(2)]
    labels = torch.randint(0, 3, (3, 9, 7), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.8] = 255
    labels[0, :, :3] = 2  # more labels on one slice, which then counts more
    pseudo = learner.pseudo_labels(outputs, 5)
    mixes = [(share * outputs[0].softmax(1) + (1 - share) * outputs[1].softmax(1)) for share in np.linspace(0, 1, 2001)]
    share = next(s for s, mix in zip(np.linspace(0, 1, 2001), mixes, strict=True) if torch.equal(mix.argmax(1), pseudo))
    found = learner.loss(outputs, labels.to(torch.uint8), torch.zeros(3, dtype=torch.bool), 5)
    assert float(found) == pytest.approx(literal_loss(outputs, labels, share), abs=1e-5)


def test_without_any_stroke_only_the_pseudo_labels_count(stack, small):
    learner = learner_of(stack, small)
    outputs = [torch.randn((2, 3, 5, 5)).requires_grad_() for _ in range(2)]
    nothing = torch.full((2, 5, 5), 255, dtype=torch.uint8)
    loss = learner.loss(outputs, nothing, torch.zeros(2, dtype=torch.bool), 0)
    assert 0 < float(loss.detach()) <= 0.5
    loss.backward()
    assert all(torch.isfinite(logits.grad).all() and logits.grad.any() for logits in outputs)


def test_every_step_mixes_anew_and_repeatably(stack, small):
    learner = learner_of(stack, small)
    ramp = torch.linspace(0, 1, 1001)
    main = torch.zeros(1, 2, 1, 1001)
    main[0, 0] = torch.logit(ramp, eps=1e-6)  # class 0 with probability t by the main decoder, never by the other
    auxiliary = torch.tensor([-20.0, 20.0])[None, :, None, None].expand(1, 2, 1, 1001)
    shares = [float((learner.pseudo_labels([main, auxiliary], step) == 0).float().mean()) for step in range(300)]
    assert shares == [float((learner.pseudo_labels([main, auxiliary], s) == 0).float().mean()) for s in range(300)]
    # class 0 wins where share * t > 1/2
    drawn = np.array([0.5 / (1 - s) for s in shares if s > 0])
    assert len(drawn) / 300 == pytest.approx(0.5, abs=0.1)  # b > 1/2 on every other step
    assert drawn.mean() == pytest.approx(0.75, abs=0.03)
    assert drawn.max() > 0.97


def test_only_the_auxiliary_decoder_sees_dropped_channels(stack, small):
    network = DmplsLearner.build_network(1, 3, small, seed=0).eval()
    seen: dict[str, list[torch.Tensor]] = {"main": [], "auxiliary": []}
    for name, holder in (("main", network.net), ("auxiliary", network.net.auxiliary)):
        for level in range(1, 5):
            block = getattr(holder, f"upcat_{level}")
            block.register_forward_hook(lambda _, given, __, name=name: seen[name].append(given[1]))
        holder.upcat_4.register_forward_hook(lambda _, given, __, name=name: seen[name].append(given[0]))
    torch.manual_seed(0)
    maps = network.encode(torch.randn(8, 1, 32, 32))
    network.decode(maps, (32, 32))
    network.decode_auxiliary(maps, (32, 32), 0.5)
    assert all(any(torch.equal(each, level) for level in maps) for each in seen["main"])
    assert len(seen["auxiliary"]) == 5
    for each in seen["auxiliary"]:
        whole = next(level for level in maps if level.shape == each.shape and _same_or_dropped(each, level))
        dropped = (each == 0).flatten(2).all(2) & (whole != 0).flatten(2).any(2)
        assert 0.2 < float(dropped.float().mean()) < 0.8


def _same_or_dropped(each: torch.Tensor, whole: torch.Tensor) -> bool:
    kept = (each != 0).flatten(2).any(2)[..., None, None]
    return torch.allclose(each, 2 * whole * kept)


def test_predictions_come_from_the_main_decoder(stack, small, tmp_path):
    model = fit(TrainingTask(stack, stack.examples([0, 3], dense=False), 3, small, seed=0), folder=tmp_path)
    before = model.probabilities(stack, np.arange(4))
    with torch.no_grad():
        for weight in model.network.net.auxiliary.parameters():
            weight.add_(1)
    assert np.array_equal(before, model.probabilities(stack, np.arange(4)))


def test_the_history_has_the_classes_of_the_pseudo_labels(stack, small, tmp_path):
    task = TrainingTask(stack, stack.examples([0, 3], dense=False), 3, replace(small, steps=21), seed=0)
    model = fit(task, folder=tmp_path, checkpoint_every=4)
    history = json.loads((tmp_path / "history.json").read_text())
    shares = history["pseudo labels"]["shares"]
    assert history["pseudo labels"]["every"] == 10
    assert len(shares) == 3
    assert all(sum(each) == pytest.approx(1, abs=1e-4) and len(each) == 3 for each in shares)
    assert model.record["shares of pseudo labels"] == shares[-1]


def test_classes_that_the_pseudo_labels_lost_are_named(stack, small, tmp_path):
    examples = stack.examples([0, 3], dense=False)
    listener = RecordedProgress()
    collapsed = replace(small, steps=60, learning_rate=0.05, options={"pseudo_weight": 5.0})
    # one pixel of each foreground class among hundreds of background
    for labels in examples.labels:
        for c in (1, 2):
            places = np.argwhere(labels == c)[1:]
            labels[tuple(places.T)] = 255
    task = TrainingTask(stack, examples, 3, collapsed, seed=0)
    fit(task, folder=tmp_path / "a", compute=Compute(progress=listener))
    last = json.loads((tmp_path / "a" / "history.json").read_text())["pseudo labels"]["shares"][-1]
    gone = [c for c in (1, 2) if last[c] == 0]
    assert gone
    assert len(listener.messages) == 1
    assert f"has class {', '.join(map(str, gone))}, although it is annotated" in listener.messages[0]


def test_masks_have_the_loss_of_masks_too(stack, small):
    learner = learner_of(stack, small, dense=True)
    outputs = [torch.randn((2, 3, 5, 5)) for _ in range(2)]
    labels = torch.randint(0, 3, (2, 5, 5))
    weightless = replace(small, options={"pseudo_weight": 0.0})
    learner = learner_of(stack, weightless, dense=True)
    found = learner.loss(outputs, labels.to(torch.uint8), torch.ones(2, dtype=torch.bool), 0)
    expected = 0.0
    for logits in outputs:
        p, target = logits.softmax(1), functional.one_hot(labels, 3).movedim(-1, 1).float()
        dice = 1 - (2 * (p * target).sum((0, 2, 3)) + 1e-5) / ((p**2 + target**2).sum((0, 2, 3)) + 1e-5)
        expected += float(0.5 * functional.cross_entropy(logits, labels) + 0.5 * dice.mean()) / 2
    assert float(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("options", "told"), [({"pseudo_weight": -1.0}, "pseudo_weight"), ({"mix": 1}, "mix")])
def test_wrong_options_are_refused_by_name(stack, small, options, told):
    with pytest.raises(BadInput, match=told):
        TrainingTask(stack, stack.examples([0]), 3, replace(small, options=options), seed=0)
