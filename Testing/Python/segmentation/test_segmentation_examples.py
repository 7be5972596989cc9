"""Examples and settings: from annotations to what is trained on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    TRAINING_PRESETS,
    Examples,
    TrainingSettings,
    closed_background,
    examples_from_annotations,
)


def annotation(value: int, kind: AnnotationKind = AnnotationKind.MASK) -> SimpleNamespace:
    return SimpleNamespace(labels=np.full((30, 36), value, dtype=np.uint8), kind=kind)


def test_annotations_become_classes_on_the_grid_sorted_by_row(stack, labels):
    given = {
        SliceId("b", 3): annotation(85, AnnotationKind.SCRIBBLE),
        SliceId("a", 7): annotation(5),
        SliceId("a", 0): annotation(0),
    }
    examples = examples_from_annotations(stack, given, labels)
    assert examples.rows.tolist() == [0, 7, 11]
    assert examples.rows.dtype == np.int64
    assert examples.dense.tolist() == [True, True, False]
    assert [int(plane[10, 10]) for plane in examples.labels] == [0, 1, 2]
    assert (examples.labels[:, :2] == 255).all()
    backwards = examples_from_annotations(stack, dict(reversed(given.items())), labels)
    assert backwards.key == examples.key


SCRIBBLES = {".": 255, "o": 0, "x": 1, "#": 2}


def drawing(text: str) -> np.ndarray:
    return np.array([[SCRIBBLES[c] for c in line] for line in text.split()], dtype=np.uint8)


def test_a_closed_background_stroke_decides_what_lies_beyond_it():
    circled = drawing("....... ..ooo.. .o...o. .o.x.o. .o...o. ..ooo.. .......")  # the corners touch diagonally
    closed = drawing("ooooooo ooooooo oo...oo oo.x.oo oo...oo ooooooo ooooooo")
    assert np.array_equal(closed_background(circled), closed)
    two = drawing("..o.... .xo.... ..ooooo ..o..#. ..o....")
    assert np.array_equal(closed_background(two), drawing("..ooooo .xooooo ..ooooo ..o..#. ..o...."))


@pytest.mark.parametrize("text", ["..o.. ..... ..x..", "..o.. ..o.. ..o..", "..... .xx..", "....."])
def test_open_strokes_and_slices_without_drawn_foreground_decide_nothing_more(text):
    before = drawing(text)
    assert np.array_equal(closed_background(before), before)


def test_only_scribbles_are_closed_and_only_when_asked(stack, labels):
    values = np.full((30, 36), 255, dtype=np.uint8)
    values[:, 20], values[5, 5] = 0, 85
    given = {
        SliceId("a", 0): SimpleNamespace(labels=values, kind=AnnotationKind.SCRIBBLE),
        SliceId("a", 1): SimpleNamespace(labels=values, kind=AnnotationKind.MASK),
    }
    asked = examples_from_annotations(stack, given, labels, close_background=True)
    plain = examples_from_annotations(stack, given, labels)
    assert (asked.labels[0, 2:-2, 22:-2] == 0).all()
    assert asked.labels[0, 10, 10] == 255
    assert np.array_equal(asked.labels[1], plain.labels[1])
    assert np.array_equal(plain.labels[0], plain.labels[1])


def test_without_annotations_there_are_no_examples_and_no_training(stack, labels):
    examples = examples_from_annotations(stack, {}, labels)
    assert examples.labels.shape == (0, 34, 40)
    with pytest.raises(BadInput, match="at least one slice"):
        examples.check(3, stack.grid_shape)


def test_nothing_labelled_and_unknown_classes_are_refused(stack):
    rows, dense = np.array([4]), np.array([True])
    with pytest.raises(BadInput, match="is labelled"):
        Examples(rows, np.full((1, 34, 40), 255, np.uint8), dense).check(3, stack.grid_shape)
    with pytest.raises(BadInput, match="7"):
        Examples(rows, np.full((1, 34, 40), 7, np.uint8), dense).check(3, stack.grid_shape)


def test_the_key_changes_with_any_difference(stack):
    examples = stack.examples([1, 5])
    keys = {
        examples.key,
        stack.examples([1, 6]).key,
        stack.examples([1, 5], dense=False).key,
        replace(examples, dense=np.array([True, False])).key,
        replace(examples, rows=np.array([1, 6])).key,
    }
    assert len(keys) == 5


def test_rows_must_ascend():
    with pytest.raises(ValueError, match="ascending"):
        Examples(np.array([2, 2]), np.zeros((2, 4, 4), np.uint8), np.ones(2, bool))


@pytest.mark.parametrize("name", sorted(TRAINING_PRESETS))
def test_presets_survive_json(name):
    assert TrainingSettings.from_json(TRAINING_PRESETS[name].to_json()) == TRAINING_PRESETS[name]


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"dropout": [0.1]}, {"select": "worst"}, {"norm": "layer"}, {"learning_rate": -1}, {"colour": 3}],
)
def test_wrong_settings_are_refused_by_name(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        TrainingSettings.from_json(wrong)


def test_the_rate_rises_and_falls():
    settings = TrainingSettings(steps=100, warm_up=0.1, learning_rate=1.0)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[:11] == sorted(rates[:11])
    assert max(rates) == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001
    poly = replace(settings, schedule="poly", warm_up=0.0)
    assert poly.rate(50) == pytest.approx(0.5**0.9)
    assert replace(settings, schedule="constant").rate(99) == 1


def test_classes_as_acquired_are_kept_where_they_are_asked_for_and_count_in_the_key(stack, labels):
    fine = np.zeros((30, 36), dtype=np.uint8)
    fine[4, 5] = 85
    given = {
        SliceId("b", 3): SimpleNamespace(labels=fine, kind=AnnotationKind.MASK),
        SliceId("a", 1): annotation(5),
    }
    plain = examples_from_annotations(stack, given, labels)
    kept = examples_from_annotations(stack, given, labels, acquired=True)
    assert plain.acquired == ()
    assert [plane.shape for plane in kept.acquired] == [(30, 36), (30, 36)]
    assert kept.acquired[1][4, 5] == 2
    assert (kept.acquired[0] == 1).all()
    assert kept.key != plain.key
    with pytest.raises(ValueError, match="one plane for each row"):
        replace(kept, acquired=kept.acquired[:1])
