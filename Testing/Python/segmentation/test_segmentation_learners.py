"""Learners by name: that of the library, those of packages, and what cannot be used."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from ActiveSegmentationLib.common import plugins
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import LEARNERS, NetworkLearner, TrainingTask, learner_class, learner_names
from ActiveSegmentationLib.segmentation import learners as learners_module


def test_the_librarys_own_learners_come_first(monkeypatch):
    points = [EntryPoint(name, "x:y", learners_module.ENTRY_POINT_GROUP) for name in ("b", "a")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    assert learner_names() == [*LEARNERS, "a", "b"]
    assert learner_names()[0] == "unet"
    assert learner_class("unet") is NetworkLearner


def test_an_unknown_learner_is_refused_with_the_known_ones(stack, tiny):
    with pytest.raises(BadInput, match=r"no learner called 'vnet'\. Choose one of: unet"):
        TrainingTask(stack, stack.examples([0]), 3, replace(tiny, learner="vnet"), seed=0)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no_such_module:Learner", "cannot be loaded (ModuleNotFoundError"),
        ("pathlib:Path", "is not a subclass of SegmentationLearner"),
        ("math:pi", "is not a subclass of SegmentationLearner"),
    ],
)
def test_a_learner_that_cannot_be_used_is_named_with_its_package(monkeypatch, value, told):
    points = [EntryPoint("mine", value, learners_module.ENTRY_POINT_GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    with pytest.raises(BadInput, match=re.escape(f"The learner 'mine' {told}")):
        learner_class("mine")


def test_keys_of_models_of_the_librarys_learner_stay_the_same(tiny):
    assert "learner" not in tiny.to_json()
    assert replace(tiny, learner="mine").to_json()["learner"] == "mine"
