"""Upper bound, best member, diagnostics and their tables, in comparisons that take a second."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from ActiveSegmentationLib.cohort import Role, with_roles
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json
from ActiveSegmentationLib.evaluation import CostModel, read_results_csv
from ActiveSegmentationLib.experiment import run_benchmark
from ActiveSegmentationLib.experiment.diagnostics import read_planes


def test_the_upper_bound_is_trained_on_every_slice_and_can_be_added_later(make_options):
    options = make_options(seeds=(0, 1))
    run_benchmark(options)
    before = {path: path.stat().st_mtime_ns for path in options.out.glob("runs/*/round-*.json")}
    outcome = run_benchmark(replace(options, upper_bound=True))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    rows = read_results_csv(options.out / "results.csv")
    bound = [row for row in rows if row.strategy == "upper-bound"]
    assert {(row.seed, row.percent, row.round) for row in bound} == {(0, 100.0, 1), (1, 100.0, 1)}
    assert {row.strategy for row in outcome.rows} == {"random"}
    with open(options.out / "requests.csv", encoding="utf-8") as file:
        assert {row["strategy"] for row in csv.DictReader(file)} == {"random"}
    report = (options.out / "report.html").read_text(encoding="utf-8")
    assert "Gap to the upper bound" in report
    assert "Foreground efficiency" in report
    run_benchmark(options)  # without asking again, it stays in the tables
    assert read_results_csv(options.out / "results.csv") == rows


def test_diagnostics_are_recorded_and_shown(make_options):
    settings = make_options().settings
    settings = replace(settings, training=replace(settings.training, steps=30))
    options = make_options(strategies=("random", "entropy"), rounds="2,4,6", diagnostics=True, settings=settings)
    run_benchmark(replace(options, costs=CostModel(mask=60)))
    for strategy in ("random", "entropy"):
        records = [read_json(options.out / "runs" / f"{strategy}-seed0" / f"round-{n}.json") for n in (1, 2, 3)]
        assert ["batch uncertainty" in record for record in records] == [False, True, True]
        assert all(record["batch uncertainty"] > 0 for record in records[1:])
        assert all(record["uncertainty against error"]["slices"] > 0 for record in records)
        for number in (1, 2, 3):
            planes = read_planes(options.out / "runs" / f"{strategy}-seed0" / f"planes-{number}.npz")
            assert len(planes) == 2
            assert all(plane.dtype == np.uint8 and plane.ndim == 2 for plane in planes.values())
    report = (options.out / "report.html").read_text(encoding="utf-8")
    for part in (
        "Uncertainty against error",
        "Mean pairwise absolute deviation",
        "(hours)",
        "Requested slices of each",
    ):
        assert part in report


def test_the_best_member_on_validation_is_scored(make_options):
    settings = make_options().settings
    settings = replace(settings, ensemble_members=2, training=replace(settings.training, steps=20))
    options = make_options(rounds="3", settings=settings)
    patients = sorted({v.patient for v in options.cohort.volumes if v.role == Role.POOL})
    cohort = with_roles(
        options.cohort, {Role.TEST: ("patient004",), Role.VALIDATION: patients[:1], Role.POOL: patients[1:]}
    )
    runs = {}
    for scored in ("ensemble", "best"):
        out = options.out.with_name(scored)
        run_benchmark(replace(options, cohort=cohort, out=out, scored=scored))
        runs[scored] = [row.value for row in read_results_csv(out / "results.csv")]
        records = [read_json(path) for path in sorted(out.rglob("round-1.json"))]
        assert [("scored" in record) for record in records] == [scored == "best"] * len(records)
    assert runs["best"] != runs["ensemble"]
    for record in records:
        chosen, dice = record["scored"]["member"], record["scored"]["validation Dice"]
        assert len(dice) == 2
        assert dice[chosen] == max(dice)
    with pytest.raises(BadInput, match="no validation volume"):
        run_benchmark(replace(options, scored="best", out=options.out.with_name("none")))


def test_costs_are_the_mean_seconds_of_a_study(tmp_path, phantom_cohort):
    from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, discover
    from ActiveSegmentationLib.experiment import measured_costs
    from ActiveSegmentationLib.study import SliceAnnotation, Study, label_set_for

    cohort = discover(phantom_cohort)
    study = Study.create(tmp_path / "study", cohort, label_set_for(cohort, "1=RV,2=MYO,3=LV"), AnnotationKind.SCRIBBLE)
    volume = cohort.volumes[0]
    with pytest.raises(BadInput, match="has a time"):
        measured_costs(tmp_path / "study")
    shape = np.delete(np.array(volume.geometry.size)[::-1], 2 - volume.axis)
    labels = np.full(shape, 255, np.uint8)
    labels[0, 0] = 1
    for index, seconds in ((0, 4.0), (1, 8.0), (2, 0.0)):
        slice_id, kind = SliceId(volume.id, index), AnnotationKind.SCRIBBLE
        found = SliceAnnotation(slice_id, labels, kind, "a", None, seconds, "2026-01-01T00:00:00+00:00")
        study.commit([found])
    costs = measured_costs(tmp_path / "study")
    assert (costs.scribble, costs.mask, costs.of_slice("mask")) == (6, 0, 90)
