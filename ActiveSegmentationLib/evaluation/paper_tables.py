"""Tables of the statistics that the papers report: penalties, gaps to the upper bound, batches, efficiency."""

from __future__ import annotations

from collections.abc import Sequence

from ActiveSegmentationLib.evaluation.batches import BatchFacts, Deviations, mean_over_seeds
from ActiveSegmentationLib.evaluation.costs import CostCurve, ForegroundEfficiency
from ActiveSegmentationLib.evaluation.curves import format_percent
from ActiveSegmentationLib.evaluation.paired_tests import PenaltyMatrix
from ActiveSegmentationLib.evaluation.tables import Table, make_table, number_text, percent_text
from ActiveSegmentationLib.evaluation.upper_bound import Gap


def penalty_table(matrix: PenaltyMatrix) -> Table:
    """How often the strategy of the row beats that of the column significantly, and how often each loses."""
    cells = [[f"{value:.2f}" for value in row] for row in matrix.penalties]
    rows = [(name, *own) for name, own in zip(matrix.strategies, cells, strict=True)]
    rows.append(("loses (Φ)", *(f"{value:.2f}" for value in matrix.phi)))
    count = len(matrix.settings)
    caption = (
        "Pairwise penalty matrix: share of the budgets at which the strategy of the row beats that of the column in a "
        f"paired t-test over seeds (5 %, not corrected), summed over {count} cohort{'s' if count > 1 else ''}. Φ is "
        "the mean of a column; lower is better."
    )
    return Table(("beats", *matrix.strategies), tuple(rows), (False, *(True for _ in matrix.strategies)), caption)


def gap_table(gaps: Sequence[Gap]) -> Table:
    """How far each strategy is below a model trained on the whole pool, in percent of Dice."""
    columns = [
        ("cohort", False, [gap.cohort for gap in gaps]),
        ("strategy", False, [gap.strategy for gap in gaps]),
        ("slices", True, [str(gap.annotated_slices) for gap in gaps]),
        ("%", True, [format_percent(gap.percent) for gap in gaps]),
        ("gap", True, [percent_text(gap.mean) for gap in gaps]),
        ("SD", True, [percent_text(gap.sd) for gap in gaps]),
        ("seeds", True, [str(gap.seeds) for gap in gaps]),
    ]
    caption = (
        "Gap to the upper bound: mean 3D Dice of a model trained on all slices of the pool minus that of the strategy, "
        "for the same seed; mean and standard deviation over seeds. Lower is better."
    )
    return make_table(columns, caption)


def batch_table(facts: Sequence[BatchFacts]) -> Table:
    """What the requested slices of each round are like, means over seeds; columns without any value are left out."""
    names = ("patients", "largest_share", "neighbours", "foreground", "class_entropy", "foreground_percent")
    found = {name: mean_over_seeds(facts, name) for name in (*names, "slices", "uncertainty")}
    keys = list(found["slices"])
    shares = {"largest of a volume": "largest_share", "next to another": "neighbours", "with foreground": "foreground"}
    columns = [
        ("cohort", False, [cohort for cohort, _, _ in keys]),
        ("strategy", False, [strategy for _, strategy, _ in keys]),
        ("round", True, [str(number) for _, _, number in keys]),
        ("slices", True, [f"{found['slices'][key]:.0f}" for key in keys]),
        ("patients", True, [f"{found['patients'][key]:.1f}" for key in keys]),
        *((head, True, [percent_text(found[name][key]) for key in keys]) for head, name in shares.items()),
        ("class entropy", True, [number_text(found["class_entropy"][key], 2) for key in keys]),
        ("foreground so far", True, [percent_text(found["foreground_percent"][key] / 100) for key in keys]),
        ("uncertainty", True, [number_text(found["uncertainty"][key], 2) for key in keys]),
    ]
    caption = (
        "Requested slices of each round, means over seeds. Largest of a volume: share of the slices from the volume "
        "with most of them; next to another: share with an annotated or requested neighbour (both show redundancy). "
        "Class entropy: 1 if all labels have equally many pixels in the batch, 0 if one has all. Foreground so far: "
        "percent of the pool's foreground pixels annotated. Uncertainty: sum over the slices by the model of the round "
        "before."
    )
    return make_table(columns, caption)


def efficiency_table(rows: Sequence[ForegroundEfficiency]) -> Table:
    """How fast each strategy turns annotated foreground into Dice."""
    columns = [
        ("cohort", False, [row.cohort for row in rows]),
        ("strategy", False, [row.strategy for row in rows]),
        ("efficiency", True, [number_text(row.beta, 3) for row in rows]),
        ("standard error", True, [number_text(row.error, 3) for row in rows]),
        ("upper bound", True, [number_text(row.ceiling, 3) for row in rows]),
    ]
    caption = (
        "Foreground efficiency: rate at which Dice approaches the upper bound, per percent of the pool's foreground "
        "pixels annotated, fitted to the mean curve of each strategy. Larger is better."
    )
    return make_table(columns, caption)


def deviation_table(found: Sequence[tuple[str, Deviations]]) -> Table:
    """How different slices are within groups, by cohort."""
    columns = [
        ("cohort", False, [name for name, _ in found]),
        ("whole pool", True, [number_text(each.dataset, 3) for _, each in found]),
        ("within patients", True, [number_text(each.patient, 3) for _, each in found]),
        ("within volumes", True, [number_text(each.volume, 3) for _, each in found]),
        ("neighbouring slices", True, [number_text(each.adjacent, 3) for _, each in found]),
    ]
    caption = (
        "Mean pairwise absolute deviation of pixel values (each volume scaled to 0..1) between slices of the pool and "
        "within groups. The smaller a group's value, the more alike its slices are."
    )
    return make_table(columns, caption)


def correlation_table(rows: Sequence[tuple[str, str, int, float]]) -> Table:
    """How well uncertainty predicts errors: cohort, strategy, round, and the correlation (mean over seeds)."""
    columns = [
        ("cohort", False, [row[0] for row in rows]),
        ("strategy", False, [row[1] for row in rows]),
        ("round", True, [str(row[2]) for row in rows]),
        ("correlation", True, [number_text(row[3], 2) for row in rows]),
    ]
    caption = (
        "Uncertainty against error: Pearson's correlation of the uncertainty of slices of the pool that are not "
        "annotated with their number of misclassified pixels, by the model after each round, mean over seeds."
    )
    return make_table(columns, caption)


def cost_table(curves: Sequence[CostCurve], unit: str) -> Table:
    """Dice over the cost of annotations."""
    lines = [
        (one.curve.cohort, one.curve.strategy, one.curve.annotated[place], cost, one.curve.mean[place])
        for one in curves
        for place, cost in enumerate(one.cost)
        if one.curve.present[place]
    ]
    columns = [
        ("cohort", False, [line[0] for line in lines]),
        ("strategy", False, [line[1] for line in lines]),
        ("slices", True, [str(line[2]) for line in lines]),
        (unit, True, [format_percent(float(line[3])) for line in lines]),
        ("Dice", True, [number_text(float(line[4]), 3) for line in lines]),
    ]
    return make_table(columns, f"Mean 3D Dice by the time spent on annotations ({unit}).")
