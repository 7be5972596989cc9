"""An error that many volumes share is reported once, with the number of volumes."""

from __future__ import annotations

from ActiveSegmentationLib.cohort import Problem, grouped_problems, repeated


def test_problems_of_one_kind_are_reported_once():
    problems = [Problem(f"p{n}", f"i/p{n}.nii.gz: The image has {n + 2} time points.", "Split it.") for n in range(300)]
    problems += [
        Problem("a", "a_seg.nii.gz: The labels do not fit.", "Resample."),
        Problem("b", "Other.", "", "warning"),
    ]
    groups = grouped_problems(problems)
    assert [len(group.where) for group in groups] == [300, 1, 1]
    assert groups[0].text().startswith("error, 300 times (p0, p1, p2 and 297 more): i/p0.nii.gz: The image has 2")
    assert groups[1].text() == "error: a: a_seg.nii.gz: The labels do not fit. Resample."
    assert groups[0].to_json()["count"] == 300
    single, many = repeated(problems)
    assert [problem.where for problem in single] == ["a", "b"]
    assert [group.where for group in many] == [groups[0].where]


def test_problems_of_different_kinds_are_kept_apart():
    problems = [
        Problem("a", "There is no file x.nii.gz.", "Check."),
        Problem("b", "There is no file y.nii.gz.", "Check."),
        Problem("c", "There is no file y.nii.gz.", "Check.", "warning"),
        Problem("d", "There is no folder y.", "Check."),
    ]
    assert [group.where for group in grouped_problems(problems)] == [("a", "b"), ("c",), ("d",)]
