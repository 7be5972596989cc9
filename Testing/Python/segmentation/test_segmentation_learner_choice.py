"""Choosing a learner by name: its settings, its options as people write them, what is refused, how it is described."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ActiveSegmentationLib.common import plugins
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    CAPABILITIES,
    LEARNERS,
    TRAINING_PRESETS,
    TrainingSettings,
    check_learner,
    describe_learner,
    describe_learners,
    lacking,
    learner_class,
    training_for,
    with_options,
)
from ActiveSegmentationLib.segmentation import learners as learners_module
from ActiveSegmentationLib.segmentation.learner import LOSS_HEAD

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "learner" / "residual_unet.py"
NAME = "residual-unet"


@pytest.fixture
def added(monkeypatch):
    """Learners as installed packages add them: the example of the documentation, and a broken one."""
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    values = {NAME: "residual_unet:ResidualUNetLearner", "broken": "no_such_module:Learner"}
    points = [EntryPoint(name, value, learners_module.ENTRY_POINT_GROUP) for name, value in values.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


@pytest.fixture
def masks_only(added, monkeypatch):
    monkeypatch.setattr(learner_class(NAME), "needs_masks", True)


def without(monkeypatch, *modules):
    """Modules that this Python does not have."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else found(name))


def test_without_a_name_the_default_preset_is_used():
    assert training_for() == TRAINING_PRESETS["default"]
    assert training_for("vepa2024") == training_for("vepa2024", "unet") == TRAINING_PRESETS["vepa2024"]


def test_a_learner_has_the_preset_of_its_name_and_otherwise_the_default_one(monkeypatch):
    own = TrainingSettings(learner="mine", steps=7, options={"a": 1})
    monkeypatch.setitem(TRAINING_PRESETS, "mine", own)
    assert training_for(learner="mine") == training_for("mine") == training_for("mine", "mine") == own
    other = training_for(learner="other")
    assert (other.learner, other.steps, other.options) == ("other", TRAINING_PRESETS["default"].steps, {})
    both = training_for("gaillochet2023", "mine")
    assert (both.learner, both.steps, both.options) == ("mine", TRAINING_PRESETS["gaillochet2023"].steps, {})


def test_a_preset_of_another_learner_is_refused(monkeypatch):
    monkeypatch.setitem(TRAINING_PRESETS, "mine", TrainingSettings(learner="mine"))
    with pytest.raises(BadInput, match="'mine' belongs to the learner 'mine', not to 'other'"):
        training_for("mine", "other")
    with pytest.raises(BadInput, match=r"no training preset called 'yours'\. Choose one of: auto, "):
        training_for("yours")


def test_options_are_read_by_their_type(added):
    training = with_options(training_for(learner=NAME), {"width": "8", "dropout": "0"})
    assert dict(training.options) == {"width": 8, "dropout": 0.0}
    assert with_options(training, {"dropout": "0.5"}).options == {"width": 8, "dropout": 0.5}
    assert with_options(training, {}) is training
    assert TrainingSettings.from_json(training.to_json()) == training


@pytest.mark.parametrize(
    ("learner", "texts", "told"),
    [
        (NAME, {"width": "wide"}, "options of residual-unet: 'width' must be a whole number, not 'wide'"),
        (NAME, {"width": "0"}, "options of residual-unet: 'width' must be at least 1, not '0'"),
        (NAME, {"depth": "3"}, f"'{NAME}' has no option 'depth'. It has: dropout, width."),
        ("unet", {"depth": "3"}, "'unet' has no option 'depth'. It has none."),
        ("vnet", {"depth": "3"}, "There is no learner called 'vnet'. Choose one of: unet"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name(added, learner, texts, told):
    with pytest.raises(BadInput, match=re.escape(told)):
        with_options(training_for(learner=learner), texts)


@pytest.mark.parametrize(
    ("training", "told"),
    [
        (TrainingSettings(learner="vnet"), "There is no learner called 'vnet'"),
        (TrainingSettings(learner=NAME, options={"width": 0}), "'width' must be at least 1"),
        (TrainingSettings(learner=NAME, options={"width": "8"}), "'width' must be a whole number"),
        (TrainingSettings(learner=NAME, options={"depth": 8}), "Unknown settings: depth"),
        (TrainingSettings(learner=NAME, loss_head=True), "cannot be trained with a head that predicts its loss"),
        (TrainingSettings(options={"depth": 8}), "Unknown settings: depth"),
    ],
)
def test_a_learner_is_checked_before_anything_is_built(added, training, told):
    with pytest.raises(BadInput, match=told):
        check_learner(training)


def test_a_learner_that_needs_masks_is_refused_for_scribbles(masks_only):
    check_learner(TrainingSettings(learner=NAME), "mask")
    with pytest.raises(BadInput, match="cannot learn from scribbles"):
        check_learner(TrainingSettings(learner=NAME), "scribble")
    assert describe_learner(NAME).needs_masks


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    entry = learners_module.LearnerEntry(("nowhere", "Learner"), "One.", packages={"nnunetv2": "nnunetv2>=2.5"})
    monkeypatch.setitem(LEARNERS, "far", entry)
    without(monkeypatch, "nnunetv2")
    line = f"{sys.executable} -m pip install 'nnunetv2>=2.5'"
    with pytest.raises(BadInput) as refused:
        check_learner(TrainingSettings(learner="far"))
    assert str(refused.value).endswith(f"Install it: {line}")
    info = describe_learner("far", options=True)
    assert (info.missing, info.options) == (("nnunetv2>=2.5",), {})
    assert info.to_json()["install"] == line
    assert line in info.unavailable_reason


def test_learners_are_described_in_their_order_with_what_they_lack_and_their_options(added):
    found = {info.name: info for info in describe_learners(options=True)}
    assert list(found) == [*LEARNERS, "broken", NAME]
    example = found[NAME]
    assert example.summary == "U-Net of residual blocks, trained as the library trains its U-Net."
    assert (example.lacks, example.unavailable_reason) == ((LOSS_HEAD,), "")
    assert example.options["width"].default == 16
    assert example.options["width"].meaning.startswith("Channels of the finest level; each level")
    assert "cannot be loaded (ModuleNotFoundError" in found["broken"].unavailable_reason
    with pytest.raises(BadInput, match="no learner called 'vnet'"):
        describe_learner("vnet")


@pytest.mark.parametrize("name", list(LEARNERS))
def test_the_table_says_what_the_class_says(name):
    if describe_learner(name).missing:
        pytest.skip(describe_learner(name).unavailable_reason)
    training, cls = training_for(learner=name), learner_class(name)
    assert training.learner == name
    assert lacking(training) == frozenset(CAPABILITIES) - cls.capabilities(training)
    assert LEARNERS[name].needs_masks == cls.needs_masks
    assert LEARNERS[name].summary.endswith(".")
    cls.check(training)
    for key, option in describe_learner(name, options=True).options.items():
        assert option.meaning.endswith("."), key
        assert option.default is None or isinstance(option.default, bool | int | float | str), key
