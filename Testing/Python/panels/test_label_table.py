"""The table of labels of a new study shows terms in words and keeps their entries."""

from __future__ import annotations

from dataclasses import replace

from ActiveSegmentationLib.panels.labelTable import TERMINOLOGY
from ActiveSegmentationLib.study import LabelSet
from ActiveSegmentationLib.study.terminology import terminology_for


def test_terms_are_shown_in_words_and_their_entries_are_kept(module):
    table, labels = module.ui.labelsTable, module.wiring.study.labels
    kidney, other = LabelSet.from_names({1: "left kidney", 2: "my own structure"}).labels
    wanted = (replace(kidney, terminology=terminology_for(kidney.name)), other)
    labels.show(wanted)
    assert [table.item(row, TERMINOLOGY).text() for row in range(2)] == ["Kidney, Left", "none"]
    assert table.item(0, TERMINOLOGY).toolTip() == wanted[0].terminology
    assert "Double-click" in table.item(1, TERMINOLOGY).toolTip()
    assert [(label.name, label.terminology) for label in labels.labels()] == [
        (label.name, label.terminology) for label in wanted
    ]
