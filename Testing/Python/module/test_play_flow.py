"""The comparison of ``Testing/Slicer/play_flow.py`` finds differences."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from module.module_helpers import ROOT

SPACING = np.array([2.0, 1.0])


@pytest.fixture
def drawing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "Testing" / "Slicer"))
    yield __import__("drawing")
    sys.modules.pop("drawing", None)


def drawn(drawing, *strokes):
    """Strokes and the slice that they make, voxel by voxel."""
    made = [
        drawing.Stroke(value, drawing.path(np.array(start, float), np.array(end, float)), radius)
        for value, start, end, radius in strokes
    ]
    labels = np.zeros((20, 30), np.uint8)
    for stroke in made:
        for row, column in np.ndindex(labels.shape):
            distances = np.linalg.norm(((row, column) - stroke.points) * SPACING, axis=1)
            if distances.min() <= stroke.radius:
                labels[row, column] = stroke.value
    return made, labels


def test_what_was_drawn_is_accepted(drawing):
    strokes, labels = drawn(drawing, (1, (5, 5), (5, 20), 2.5), (2, (3, 12), (9, 12), 2.5))
    assert (labels == 1).sum() > 30
    assert (labels == 2).sum() > 20
    assert not drawing.differences(labels, np.zeros_like(labels), strokes, SPACING)


@pytest.mark.parametrize(("place", "value"), [((5, 6), 0), ((5, 6), 2), ((15, 25), 1), ((5, 12), 1)])
def test_a_single_wrong_voxel_is_found(drawing, place, value):
    strokes, labels = drawn(drawing, (1, (5, 5), (5, 20), 2.5), (2, (3, 12), (9, 12), 2.5))
    labels[place] = value
    assert drawing.differences(labels, np.zeros_like(labels), strokes, SPACING)


def test_what_was_there_before_must_stay(drawing):
    strokes, labels = drawn(drawing, (1, (5, 5), (5, 20), 2.5))
    before = np.zeros_like(labels)
    before[15:18, 15:18] = 2
    stored = np.where(before > 0, before, labels)
    assert not drawing.differences(stored, before, strokes, SPACING)
    stored[16, 16] = 1
    assert drawing.differences(stored, before, strokes, SPACING)
