from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study.names import (
    STUDY_STEM,
    annotator_stem,
    check_record_name,
    check_volume_ids,
    clean_annotator,
)

names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)


def same_person(one: str, other: str) -> bool:
    def fold(name):
        return unicodedata.normalize("NFC", clean_annotator(name).casefold())

    return fold(one) == fold(other)


@given(names, names)
def test_two_people_never_share_a_file(one, other):
    assert (annotator_stem(one) == annotator_stem(other)) == same_person(one, other)


@given(names)
def test_a_stem_is_a_plain_file_name(name):
    stem = annotator_stem(name)
    assert stem
    assert stem != STUDY_STEM
    assert not set(stem) & set('./\\:*?"<>| \x00')


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Anna", "anna"),
        ("  Dr.  House ", "dr%2E+house"),
        ("../../etc/passwd", "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd"),
        ("_study", "%5Fstudy"),
        ("CON", "%63on"),
        ("Zoë", "zoë"),
        ("Zoe\u0308", "zoë"),
        ("李雷", "李雷"),
    ],
)
def test_stems(name, stem):
    assert annotator_stem(name) == stem


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "tab\x07"])
def test_empty_names_are_refused(name):
    with pytest.raises(BadInput, match="annotator"):
        annotator_stem(name)


def test_a_name_too_long_for_a_file_is_refused():
    with pytest.raises(BadInput, match="too long"):
        annotator_stem("x" * 121)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "C:", "a\x00", ".hidden", "a\nb"])
def test_volume_ids_that_are_not_folder_names_are_refused(name):
    with pytest.raises(BadInput, match="volume id"):
        check_volume_ids(["fine", name])


@pytest.mark.parametrize("name", ["request", "", "../x", "A", "a.b", "a/b", "1a"])
def test_record_names_that_are_not_a_word_are_refused(name):
    with pytest.raises(BadInput, match="record"):
        check_record_name(name)
