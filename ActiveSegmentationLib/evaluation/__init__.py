"""Evaluation: metrics of predictions, statistics of comparisons, result files, figures and the report.

Everything here works on arrays and result rows, without cohorts, models or strategies.
"""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.evaluation.batches import (
        BatchFacts,
        Deviations,
        batch_facts,
        class_entropy,
        correlation,
        group_deviations,
        mean_over_seeds,
        mean_pairwise_deviation,
    )
    from ActiveSegmentationLib.evaluation.costs import (
        CostCurve,
        CostModel,
        ForegroundEfficiency,
        cost_curves,
        foreground_rate,
    )
    from ActiveSegmentationLib.evaluation.curve_figure import draw_learning_curve, learning_curve
    from ActiveSegmentationLib.evaluation.curves import (
        UPPER_BOUND,
        Curve,
        cohorts_of,
        format_percent,
        learning_curves,
        showcase_volumes,
        upper_bounds,
    )
    from ActiveSegmentationLib.evaluation.drawing import to_png, to_svg
    from ActiveSegmentationLib.evaluation.figures import (
        PredictionView,
        SliceView,
        prediction_gallery,
        slice_picture,
    )
    from ActiveSegmentationLib.evaluation.metrics import (
        METRICS,
        AbsentRule,
        MetricValue,
        check_metrics,
        dice,
        surface_distances,
        volume_metrics,
    )
    from ActiveSegmentationLib.evaluation.paired_tests import (
        PenaltyMatrix,
        curve_p_value,
        pairwise_penalties,
        penalty_matrix,
        permutation_p_value,
    )
    from ActiveSegmentationLib.evaluation.paper_figures import (
        AgreementView,
        ClusterMap,
        agreement_figure,
        agreement_overlay,
        box_figure,
        cluster_figure,
        cost_figure,
        difference_figure,
        penalty_figure,
        uncertainty_figure,
    )
    from ActiveSegmentationLib.evaluation.paper_tables import (
        batch_table,
        correlation_table,
        cost_table,
        deviation_table,
        efficiency_table,
        gap_table,
        penalty_table,
    )
    from ActiveSegmentationLib.evaluation.report import CONVENTIONS, Picture, Report, RequestKey, write_report
    from ActiveSegmentationLib.evaluation.results import (
        RequestRow,
        ResultRow,
        read_requests_csv,
        read_results_csv,
        write_requests_csv,
        write_results_csv,
    )
    from ActiveSegmentationLib.evaluation.statistics import (
        FEW_SEEDS,
        ClusteredMean,
        Difference,
        area_under_learning_curve,
        bootstrap_standard_error,
        clustered_mean,
        mean_without_nan,
        paired_area_difference,
        paired_difference,
        wins_ties_losses,
    )
    from ActiveSegmentationLib.evaluation.summaries import (
        BestAtBudget,
        Comparison,
        SummaryRow,
        best_at_budgets,
        comparisons,
        headline,
        summary,
    )
    from ActiveSegmentationLib.evaluation.tables import (
        Table,
        budget_table,
        class_table,
        comparison_table,
        format_text,
        summary_table,
    )
    from ActiveSegmentationLib.evaluation.upper_bound import Gap, gaps
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
