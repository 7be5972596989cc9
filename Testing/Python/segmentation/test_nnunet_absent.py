"""What is said where nnU-Net is not installed."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import TrainingSettings, describe_learner, lacking, learner_class


@pytest.fixture
def absent(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "nnunetv2" else find(name))
    monkeypatch.delitem(sys.modules, "nnunetv2", raising=False)


@pytest.mark.parametrize("name", ["nnunet-2d", "nnunet-3d"])
def test_the_message_names_the_line_that_installs_it(absent, name):
    line = r"-m pip install 'nnunetv2>=2\.8'"  # Slicer's extension is not a package that pip knows
    with pytest.raises(BadInput, match=line):
        learner_class(name)
    info = describe_learner(name)
    assert info.missing == ("nnunetv2>=2.8",)
    assert "Not installed" in info.unavailable_reason
    assert "augmentation" in lacking(TrainingSettings(learner=name))
