"""SNOMED CT terminology of labels: entries by name, written into files, the user's own choice kept."""

from __future__ import annotations

import pytest

from ActiveSegmentationLib.study.terminology import TISSUE, terminology_for

LEFT, RIGHT, NONE = "SCT^7771000^Left", "SCT^24028007^Right", "^^"


@pytest.mark.parametrize(
    ("name", "code", "modifier"),
    [
        ("LV", "87878005", NONE),
        ("left ventricle", "87878005", NONE),
        ("Left_Ventricle", "87878005", NONE),
        ("RV cavity", "53085002", NONE),
        ("MYO", "74281007", NONE),
        ("LV-MYO", "74281007", NONE),
        ("Myocardium", "74281007", NONE),
        ("left atrium", "82471001", NONE),
        ("liver", "10200004", NONE),
        ("liver tumour", "108369006", NONE),
        ("Tumor", "108369006", NONE),
        ("kidney_left", "64033007", LEFT),
        ("Right kidney", "64033007", RIGHT),
        ("rightKidney", "64033007", RIGHT),
        ("hippocampus", "5366008", NONE),
        ("Anterior hippocampus", "5366008", "SCT^255549009^Anterior"),
        ("caudate putamen", "31428008", NONE),
        ("gallbladder", "28231008", NONE),
        ("bladder", "89837001", NONE),
        ("L Thalamus", "119406000", LEFT),
    ],
)
def test_known_names(name, code, modifier):
    parts = terminology_for(name).split("~")
    assert len(parts) == 7
    assert parts[2].split("^")[:2] == ["SCT", code]
    assert parts[3] == modifier


@pytest.mark.parametrize("name", ["", "label 1", "one", "thing", "laboratory", "anterior", "left", "Ränder", "larva"])
def test_other_names_are_tissue(name):
    assert terminology_for(name) == TISSUE


def test_a_mere_part_belongs_to_the_cohort():
    for name, part in (("Anterior", "255549009"), ("posterior", "255551008")):
        entry = terminology_for(name, "Task04_Hippocampus")
        assert "^5366008^Hippocampus~" in entry
        assert f"~SCT^{part}^" in entry
    assert terminology_for("Anterior", "my data") == TISSUE
    assert terminology_for("tumour core", "liver").count("108369006") == 1
    assert terminology_for("something", "liver") == TISSUE
