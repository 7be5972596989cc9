from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Label, LabelSet

label_values = st.lists(st.integers(1, 254), min_size=1, max_size=8, unique=True)


def literal_classes(array: np.ndarray, values: list[int]) -> np.ndarray:
    out = np.zeros_like(array)
    for position, value in np.ndenumerate(array):
        out[position] = 255 if value == 255 else 0 if value == 0 else values.index(value) + 1
    return out


@given(label_values, st.integers(0, 2**32 - 1))
def test_classes_and_values_are_the_literal_mapping_and_its_inverse(values, seed):
    labels = LabelSet(tuple(Label(value, f"name {value}", (1.0, 0.0, 0.0)) for value in values))
    array = np.random.default_rng(seed).choice(np.array([0, 255, *values], np.uint8), (3, 4, 5))
    classes = labels.to_classes(array)
    assert classes.dtype == np.uint8
    assert np.array_equal(classes, literal_classes(array, values))
    assert np.array_equal(labels.to_values(classes), array)
    assert np.array_equal(labels.to_values(classes.astype(np.int64)), array)


def test_unknown_values_are_listed_with_the_allowed_ones():
    labels = LabelSet.from_names({5: "heart", 85: "liver"})
    with pytest.raises(BadInput, match=r"4, 77.*5 \(heart\), 85 \(liver\)"):
        labels.to_classes(np.array([[0, 5, 77], [4, 85, 255]], np.uint8))


@pytest.mark.parametrize("classes", [[3], [-1], [254]])
def test_classes_that_do_not_exist_are_refused(classes):
    with pytest.raises(BadInput, match="do not exist"):
        LabelSet.from_names({5: "heart", 85: "liver"}).to_values(np.array(classes))


@given(label_values)
def test_json_round_trip_and_background_value(values):
    labels = LabelSet.from_names({value: f"name {value}" for value in values})
    assert LabelSet.from_json(labels.to_json()) == labels
    assert labels.values == tuple(sorted(values))
    assert labels.classes == len(values) + 1
    assert labels.background_value not in {0, 255, *values}
    assert all(value in values for value in range(labels.background_value + 1, 255))


def test_colours_differ():
    labels = LabelSet.from_names({value: str(value) for value in range(1, 41)})
    assert len({label.color for label in labels.labels}) == 40


@pytest.mark.parametrize("value", [0, 255, -1, 256, 1.0, True, "1"])
def test_value_out_of_range_is_refused(value):
    with pytest.raises(BadInput, match="label value"):
        Label(value, "heart", (1, 0, 0))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "Background", "undecided "])
def test_impossible_name_is_refused(name):
    with pytest.raises(BadInput, match="label name"):
        Label(1, name, (1, 0, 0))


@pytest.mark.parametrize("color", [(1, 0), (1, 0, 1.5), (0, 0, float("nan"))])
def test_impossible_colour_is_refused(color):
    with pytest.raises(BadInput, match="colour"):
        Label(1, "heart", color)


def test_terminology_cannot_break_the_tag():
    with pytest.raises(BadInput, match="terminology"):
        Label(1, "heart", (1, 0, 0), terminology="a|b")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "0 labels"),
        ({value: str(value) for value in range(1, 255)}, "254 labels"),
        ({1: "heart", 2: "Heart"}, "share the name heart"),
    ],
)
def test_impossible_sets_are_refused(names, message):
    with pytest.raises(BadInput, match=message):
        LabelSet.from_names(names)


def test_the_largest_possible_set_keeps_a_value_for_drawn_background():
    labels = LabelSet.from_names({value: str(value) for value in range(2, 255)})
    assert labels.background_value == 1


def test_two_labels_with_one_value_are_refused():
    with pytest.raises(BadInput, match="share the value 1"):
        LabelSet((Label(1, "a", (1, 0, 0)), Label(1, "b", (1, 0, 0))))
