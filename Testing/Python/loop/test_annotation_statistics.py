"""What a strategy knows from annotations and reference masks."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.loop import pool_statistics, true_classes
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation

LABELS = LabelSet.from_names({3: "liver", 7: "spleen"})


def annotation(index, plane, seconds):
    return SliceAnnotation(
        slice=SliceId("v", index),
        labels=np.array(plane, dtype=np.uint8),
        kind=AnnotationKind.SCRIBBLE,
        annotator="a",
        round=1,
        seconds=seconds,
        committed_at="2026-01-01T00:00:00+00:00",
    )


def test_pixels_are_counted_by_class_without_the_unlabelled():
    found = [annotation(0, [[3, 3], [255, 0]], 4.0), annotation(1, [[7, 255], [255, 255]], 0.0)]
    known = pool_statistics({a.slice: a for a in found}, LABELS, extents={"v": (0, 1)})
    assert known.class_pixels[SliceId("v", 0)].tolist() == [1, 2, 0]
    assert known.class_pixels[SliceId("v", 1)].tolist() == [0, 0, 1]
    assert known.seconds == {SliceId("v", 0): 4.0}
    assert known.class_names == ("background", "liver", "spleen")
    assert known.extents == {"v": (0, 1)}
    assert known.truth is None


def test_the_truth_is_which_classes_a_slice_shows():
    class Stack:
        def slice_id(self, row):
            return SliceId("v", row)

        def truth(self, volume_id, kind):
            return np.array([[[0, 3]], [[0, 0]], [[7, 3]]], dtype=np.uint8)

    found = true_classes(Stack(), LABELS)(np.array([2, 0, 1]))
    assert found.tolist() == [[False, True, True], [True, True, False], [True, False, False]]
