import math
from statistics import mean, stdev

import numpy as np
import pytest

from ActiveSegmentationLib.evaluation import (
    ResultRow,
    best_at_budgets,
    budget_table,
    class_table,
    cohorts_of,
    comparisons,
    format_percent,
    format_text,
    headline,
    learning_curves,
    showcase_volumes,
    summary,
    summary_table,
)


def make_rows(gains=None, *, seeds=(0, 1, 2), volumes=8, budgets=(10, 20, 40), cohort="heart", noise=0.002):
    """Dice that grows with the budget, with volumes of their own difficulty and strategies of their own gain."""
    rng = np.random.default_rng(0)
    gains = {"random": 0.0, "coreset": 0.05} if gains is None else gains
    rows = []
    for strategy, gain in gains.items():
        for seed in seeds:
            for number, annotated in enumerate(budgets, start=1):
                for volume in range(volumes):
                    for class_name, offset in (("LV", 0.1), ("RV", -0.1)):
                        value = 0.5 + 0.004 * annotated + 0.02 * volume + gain + offset + rng.normal(0, noise)
                        cells = (
                            cohort,
                            strategy,
                            seed,
                            number,
                            annotated,
                            annotated / 2,
                            f"p{volume}",
                            f"v{volume}",
                            class_name,
                        )
                        rows.append(ResultRow(*cells, "dice", float(value)))
    return rows


def change(row, **changes):
    return ResultRow(**({name: getattr(row, name) for name in ResultRow.__slots__} | changes))


def test_curves_equal_literal_means():
    rows = make_rows()
    for curve in learning_curves(rows):
        for place, annotated in enumerate(curve.annotated):
            own = [r for r in rows if r.strategy == curve.strategy and r.annotated_slices == annotated]
            assert curve.mean[place] == pytest.approx(mean(r.value for r in own))
            of_seeds = [mean(r.value for r in own if r.seed == seed) for seed in (0, 1, 2)]
            assert curve.sd_over_seeds[place] == pytest.approx(stdev(of_seeds))
            assert curve.percent[place] == annotated / 2


def test_comparisons_and_standard_errors_draw_patients():
    rows = make_rows(noise=0.02)
    pairs = [change(row, patient=f"p{int(row.volume[1:]) // 2}") for row in rows]
    alone, paired = comparisons(rows)[0], comparisons(pairs)[0]
    assert (alone.area.patients, paired.area.patients, paired.area.volumes) == (8, 4, 8)
    assert alone.area.mean == pytest.approx(paired.area.mean)
    errors, wider = ([row.two_se for row in summary(some)] for some in (rows, pairs))
    assert np.mean(wider) > 1.1 * np.mean(errors)  # neighbours are alike: volume n is harder than n - 1


def test_undefined_values_are_left_out_and_counted():
    rows = make_rows({"random": 0.0}, seeds=(0,), volumes=2, budgets=(10,), noise=0.0)
    rows[0] = change(rows[0], value=math.nan)  # v0 has no LV left: its score is that of its RV alone
    found = summary(rows)[0]
    assert found.dice == pytest.approx(mean([0.44, mean([0.66, 0.46])]))
    assert (found.left_out, found.volumes, found.seeds) == (1, 2, 1)
    assert math.isnan(found.sd)


def test_the_order_of_rows_changes_nothing():
    rows = make_rows()
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    assert format_text(summary_table(summary(shuffled))) == format_text(summary_table(summary(rows)))
    assert headline(shuffled) == headline(rows)


def test_distances_and_misses_stand_next_to_dice():
    rows = make_rows({"random": 0.0}, seeds=(0,), budgets=(10,))
    rows += [change(row, metric="hd95", value=4.0) for row in rows]
    rows += [change(row, metric="missed", value=float(row.volume == "v0")) for row in rows if row.metric == "dice"]
    found = summary(rows)[0]
    assert found.hd95 == pytest.approx(4)
    assert found.missed == pytest.approx(1 / 8)
    assert "12.5 %" in format_text(summary_table([found]))


def test_several_cohorts_stay_apart():
    rows = make_rows() + make_rows(cohort="brain", budgets=(5, 6))
    assert cohorts_of(rows) == ["brain", "heart"]
    with pytest.raises(ValueError, match="several cohorts"):
        learning_curves(rows)
    assert {(row.cohort, row.annotated_slices) for row in summary(rows)} == {
        ("brain", 5),
        ("brain", 6),
        ("heart", 10),
        ("heart", 20),
        ("heart", 40),
    }
    assert "cohort" in summary_table(summary(rows)).header
    assert "cohort" not in summary_table(summary(make_rows())).header


def test_a_clear_difference_is_stated():
    rows = make_rows()
    pair = comparisons(rows)[0]
    assert (pair.first, pair.second, pair.wins, pair.ties, pair.losses) == ("coreset", "random", 3, 0, 0)
    assert pair.area.mean == pytest.approx(0.05, abs=0.005)
    assert [best.best for best in best_at_budgets(rows)] == ["coreset"] * 3
    first, second = headline(rows)
    assert first.startswith("heart: coreset has the highest score")
    assert "10 to 40 annotated slices (5 to 20 % of the pool)" in first
    assert second.startswith("It is better than random (+0.0")


def test_no_difference_is_stated_where_there_is_none():
    rows = make_rows({"a": 0.0, "b": 0.0005}, noise=0.05)
    assert any(sentence.startswith("There are too few seeds to compare it with") for sentence in headline(rows))
    assert "too few seeds" in format_text(budget_table(best_at_budgets(rows)))
    rows = make_rows({"a": 0.0, "b": 0.0005}, noise=0.05, seeds=range(6))
    assert any(sentence.startswith("It is not significantly different from") for sentence in headline(rows))
    assert "not significant" in format_text(budget_table(best_at_budgets(rows)))


def test_the_best_of_many_equal_strategies_is_not_called_better():
    wrong = 0
    for draw in range(40):
        rng = np.random.default_rng(draw)
        rows = [
            ResultRow(
                "c", f"s{strategy}", seed, 1, 10, 1.0, f"p{volume}", f"v{volume}", "A", "dice", 0.7 + effect + noise
            )
            for strategy in range(6)
            for seed in range(3)
            for effect in [rng.normal(0, 0.02)]
            for volume, noise in enumerate(rng.normal(0, 0.03, 8))
        ]
        wrong += any(sentence.startswith("It is better") for sentence in headline(rows))
    assert wrong <= 6
    pair = comparisons(rows)[0]
    assert pair.pairs == 15
    assert pair.joint.high - pair.joint.low > pair.area.high - pair.area.low
    assert headline(rows)[-1] == "The intervals hold for all 15 pairs of strategies together."


def test_one_strategy_one_seed_or_nothing():
    assert "the only strategy" in headline(make_rows({"random": 0.0}))[0]
    assert headline(make_rows(seeds=(0,)))[-1].startswith("There are too few seeds to compare it with random (+0.0")
    assert "interval" not in headline(make_rows(seeds=(0,)))[-1]
    assert comparisons(make_rows({"random": 0.0})) == []
    assert headline([]) == []
    undefined = [change(row, value=math.nan) for row in make_rows()]
    assert headline(undefined) == ["heart: there is no 3D Dice to compare."]
    assert summary(undefined) == best_at_budgets(undefined) == comparisons(undefined) == []


def test_unfinished_runs_are_compared_where_both_are():
    rows = [r for r in make_rows() if not (r.strategy == "coreset" and r.annotated_slices == 40)]
    pair = comparisons(rows)[0]
    assert (pair.first, pair.wins) == ("coreset", 2)
    assert "10 to 20 annotated slices" in headline(rows)[0]


def test_tables_for_terminals():
    rows = make_rows()
    text = format_text(summary_table(summary(rows)))
    lines = text.splitlines()
    assert lines[0].split() == [
        "strategy",
        "slices",
        "%",
        "Dice",
        "SD",
        "2",
        "SE",
        "seeds",
        "volumes",
        "left",
        "out",
        "AULC",
    ]
    assert len(lines) == 1 + 6
    assert len({line.index(".") for line in lines[1:]}) == 1
    assert class_table(rows).header == ("strategy", "slices", "LV", "RV")
    assert format_text(summary_table([])).count("\n") == 1


@pytest.mark.parametrize(("percent", "text"), [(1.99, "2"), (9.64, "9.6"), (100.0, "100"), (0.1205, "0.12"), (0, "0")])
def test_percentages_for_people(percent, text):
    assert format_percent(percent) == text


def test_showcase_is_best_median_worst():
    rows = make_rows({"random": 0.0}, seeds=(0,), volumes=5, budgets=(10,), noise=0)
    assert [(name, volume) for name, volume, _ in showcase_volumes(rows)] == [
        ("best", "v4"),
        ("median", "v2"),
        ("worst", "v0"),
    ]
    assert [name for name, *_ in showcase_volumes(r for r in rows if r.volume in ("v0", "v1"))] == ["best", "median"]
    assert showcase_volumes([]) == []
