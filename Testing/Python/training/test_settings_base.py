"""Settings classes: checked whenever one is made, with errors that name the setting in plain words."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, ClassVar, Literal

import pydantic
import pytest
from pydantic import Field

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.training import Settings, settings


@settings
class Inner(Settings):
    where: ClassVar[str] = "inner settings"
    later: ClassVar[Mapping[str, Any]] = {"added": 0}

    angle: float = Field(default=1.0, ge=0)
    added: int = 0


@settings
class Outer(Settings):
    where: ClassVar[str] = "outer settings"

    steps: int = Field(default=5, ge=1)
    size: float | None = Field(default=None, gt=0, lt=9)
    kind: Literal["round", "square"] = "round"
    widths: tuple[int, ...] = Field(default=(8, 16), min_length=1)
    on: bool = True
    inner: Inner = field(default_factory=Inner)

    @pydantic.model_validator(mode="after")
    def _as_wide_as_long(self):
        if len(self.widths) > self.steps:
            raise ValueError("'widths' must not have more numbers than 'steps'.")
        return self


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"steps": 0}, "'steps' must be at least 1, not 0."),
        ({"steps": "x"}, "'steps' must be a whole number, not 'x'."),
        ({"steps": 2.5}, "'steps' must be a whole number, not 2.5."),
        ({"steps": True}, "'steps' must be a whole number, not True."),
        ({"size": 0}, "'size' must be greater than 0, not 0."),
        ({"size": 9.5}, "'size' must be less than 9, not 9.5."),
        ({"kind": "oval"}, "'kind' must be one of round, square, not 'oval'."),
        ({"widths": []}, "'widths' must be a list of 1 or more values"),
        ({"widths": 3}, "'widths' must be a list, not 3."),
        ({"widths": [1, "x"]}, "'widths' must be a whole number, not 'x'."),
        ({"widths": [1, 2, 3], "steps": 2}, "'widths' must not have more numbers than 'steps'."),
        ({"on": 1}, "'on' must be true or false, not 1."),
        ({"inner": {"angle": -1}}, "'inner.angle' must be at least 0, not -1."),
        ({"inner": {"angel": 1}}, "Unknown settings: inner.angel."),
        ({"inner": 3}, "'inner': 3 is not a section with named settings."),
        ({"stepps": 3, "knd": 1}, "Unknown settings: knd, stepps."),
        ([], "[] is not a section with named settings."),
    ],
)
def test_bad_values_are_refused_by_name(value, words):
    with pytest.raises(BadInput) as caught:
        Outer.from_json(value)
    assert words in caught.value.message
    assert caught.value.where == "outer settings"


def test_a_bad_argument_is_refused_as_a_bad_file_is():
    with pytest.raises(BadInput, match="'steps' must be at least 1, not 0"):
        Outer(steps=0)
    with pytest.raises(BadInput, match="'steps' must be at least 1, not -3"):
        replace(Outer(), steps=-3)
    with pytest.raises(BadInput, match="Unknown settings: knd"):
        Outer(knd="round")


def test_settings_survive_json_pickle_and_replace():
    some = Outer(steps=7, size=2, kind="square", widths=[4, 5], inner=Inner(angle=3))
    assert some.widths == (4, 5)
    assert Outer.from_json(json.loads(json.dumps(some.to_json()))) == some
    assert pickle.loads(pickle.dumps(some)) == some
    assert replace(some, steps=7) == some
    assert hash(replace(some, steps=7)) == hash(some)
    with pytest.raises(AttributeError):
        some.steps = 3


def test_missing_settings_take_their_defaults_and_later_ones_are_written_only_where_they_differ():
    assert Outer.from_json({}) == Outer()
    assert Inner().to_json() == {"angle": 1.0}
    assert Inner(added=2).to_json() == {"angle": 1.0, "added": 2}
    assert Inner.from_json({"angle": 2}) == Inner(angle=2.0)
