"""A strategy declares all that it asks of a model, so that a learner that cannot give it is refused beforehand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from acquisition_fakes import FakeStack, fake_model, fake_pool, random_features
from test_conformance import NAMES, VARIANTS

from ActiveSegmentationLib.acquisition import Situation, check_choices, create_strategy
from ActiveSegmentationLib.acquisition.base import MODEL_EMBEDDINGS, NEEDS
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices
from ActiveSegmentationLib.segmentation import CAPABILITIES, Ensemble, Predictor
from ActiveSegmentationLib.segmentation.learner import AUGMENTATION, DROPOUT, FEATURES, GRADIENTS, LOSS_HEAD
from ActiveSegmentationLib.uncertainty.samplers import DROPOUTS


class Notes:
    """What is asked of the members of an ensemble: keys of ``CAPABILITIES``, and the inputs that they gave."""

    def __init__(self):
        self.asked, self.given = set(), []


class Asked(Predictor):
    """A model that notes what is asked of it.

    - Inputs that no member gave are other pictures: augmentation.
    - Dropout that is on while it predicts: dropout.
    - A forward pass whose gradients are kept: gradients.
    """

    def __init__(self, model, notes):
        self._model, self._notes = copy.deepcopy(model), notes
        for network in self._model.networks():
            network.register_forward_pre_hook(self._on_forward)

    def _on_forward(self, network, images):
        if torch.is_grad_enabled():
            self._notes.asked.add(GRADIENTS)

    @property
    def classes(self):
        return self._model.classes

    @property
    def key(self):
        return self._model.key

    @property
    def capabilities(self):
        return self._model.capabilities

    def networks(self):
        return self._model.networks()

    def batches(self, *args, **options):
        for batch in self._model.batches(*args, **options):
            self._notes.given.append(batch.inputs)
            yield batch

    def predict(self, inputs):
        if not any(inputs is given for given in self._notes.given):
            self._notes.asked.add(AUGMENTATION)
        modules = [module for network in self.networks() for module in network.modules()]
        if any(isinstance(module, DROPOUTS) and module.training for module in modules):
            self._notes.asked.add(DROPOUT)
        return self._model.predict(inputs)

    def predict_loss(self, images):
        self._notes.asked.add(LOSS_HEAD)
        return self._model.predict_loss(images)

    def features(self, *args, **options):
        self._notes.asked.add(FEATURES)
        return self._model.features(*args, **options)


def asked_by(name):
    """What a strategy asks of a model, in the middle of a study; keys of ``CAPABILITIES``."""
    strategy, stack, notes = create_strategy(name), FakeStack(4, 6), Notes()
    model = Ensemble(tuple(Asked(member, notes) for member in fake_model().members))
    features = random_features(stack)
    embedders = {kind: lambda rows: features[rows] for kind in ("pixels", *strategy.embeddings)}
    of_model = {kind: lambda rows: model.features(stack, rows) for kind in MODEL_EMBEDDINGS.intersection(embedders)}
    annotated = [SliceId("volume00", 2), SliceId("volume02", 5)]
    pool = fake_pool(stack, strategy=strategy, model=model, embedders=embedders | of_model, annotated=annotated)
    check_choices(choose_slices(strategy, pool, 3, generator(0, "test")), pool, 3)
    return notes.asked


def declared_by(name):
    """What it declares: what a study must be able to give before the strategy is offered."""
    strategy = create_strategy(name)
    everything = Situation(members=2, extents=True, experiment=True)
    assert not strategy.unavailable_reason(everything)
    found = {lack for lack in CAPABILITIES if lack != DROPOUT and strategy.unavailable_reason(without(lack))}
    without_dropout = Situation(members=2, dropout=False, extents=True, experiment=True)
    return found | ({DROPOUT} if strategy.unavailable_reason(without_dropout) else set())


def without(capability):
    return Situation(members=2, extents=True, experiment=True, lacks=frozenset({capability}))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in VARIANTS or ":" in name])
def test_what_a_strategy_asks_of_the_model_is_what_it_declares(name):
    assert asked_by(name) == declared_by(name)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("entropy", set()),
        ("bald/passes=2", {DROPOUT}),
        ("tta-jsd/passes=2", {AUGMENTATION}),
        ("coreset", {FEATURES}),
        ("badge/parameters=50", {GRADIENTS}),
        ("learning-loss", {LOSS_HEAD}),
        ("usim-fisher/parameters=50/queries=20", {DROPOUT, GRADIENTS}),
        ("product:coreset+bald/passes=2", {DROPOUT, FEATURES}),
    ],
)
def test_every_need_is_noticed(name, needed):
    assert asked_by(name) == needed == declared_by(name)


def test_every_capability_is_a_need_with_its_words():
    assert set(CAPABILITIES) <= set(NEEDS)
    for capability in CAPABILITIES:
        assert NEEDS[capability][1].endswith(".")
    assert np.all([words.startswith("Needs ") for _, words in NEEDS.values() if "experiments" not in words])
