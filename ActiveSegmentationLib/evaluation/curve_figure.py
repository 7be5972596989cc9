"""The figure of learning curves, with the names of the strategies next to or below the lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.evaluation.curves import Curve, cohorts_of, format_percent, learning_curves, upper_bounds
from ActiveSegmentationLib.evaluation.drawing import (
    FAINT,
    INK,
    LINE_COLORS,
    LINE_STYLES,
    MARKERS,
    from_zero,
    new_figure,
    tidy,
    to_png,
)
from ActiveSegmentationLib.evaluation.results import ResultRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_curve(rows: Iterable[ResultRow], *, narrow: bool = False, metric: str = "dice") -> bytes:
    """The figure of ``draw_learning_curve`` as PNG bytes."""
    return to_png(draw_learning_curve(rows, narrow=narrow, metric=metric))


def draw_learning_curve(rows: Iterable[ResultRow], *, narrow: bool = False, metric: str = "dice") -> Figure:
    """Mean 3D Dice over the number of annotated slices, one line per strategy; bands are one SD over seeds.

    A dotted line is the upper bound: a model trained on the whole pool.

    Args:
        rows: Result rows; each cohort has a panel of its own.
        narrow: Whether to draw for a narrow screen, with larger letters and the names below the lines.
        metric: Name of the metric to draw.

    Raises:
        ValueError: If no row has a value of the metric.
    """
    rows = list(rows)
    panels = [curves for cohort in cohorts_of(rows) if (curves := learning_curves(rows, metric, cohort=cohort))]
    if not panels:
        raise ValueError(f"There is no value of {metric} to draw.")
    strategies = sorted({curve.strategy for curves in panels for curve in curves})
    names_below = 0.22 * len(strategies) + 0.2 if narrow else 0.0
    width, height = (4.6, 3.2) if narrow else (9.0, 4.8)
    figure = new_figure(width, height * len(panels) + names_below)
    for place, curves in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, place + 1)
        _draw_curves(axes, curves, strategies, metric)
        _draw_upper_bound(axes, list(upper_bounds(rows, metric, cohort=curves[0].cohort).values()))
        if len(panels) > 1:
            axes.set_title(curves[0].cohort, loc="left", fontsize=12, fontweight="bold", color=INK, pad=14)
    if narrow:
        lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
        handles = [lines[strategy] for strategy in strategies]
        figure.set_layout_engine("constrained")
        figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=10, handlelength=3)
    else:
        figure.tight_layout(rect=(0, 0, 1 - _widest_label(figure, strategies), 1))
        for axes, curves in zip(figure.axes, panels, strict=True):
            _label_lines(axes, curves, strategies)
    return figure


def _draw_upper_bound(axes: Axes, bounds: Sequence[float]) -> None:
    known = [bound for bound in bounds if not np.isnan(bound)]
    if known:
        height = float(np.mean(known))
        axes.axhline(height, color=FAINT, linestyle=":", linewidth=1.5, label="_upper bound")
        place = axes.get_yaxis_transform()
        axes.text(0.01, height, "all slices annotated", transform=place, fontsize=9, color=FAINT, va="top")


def _draw_curves(axes: Axes, curves: Sequence[Curve], strategies: Sequence[str], metric: str) -> None:
    for curve in curves:
        place, present = strategies.index(curve.strategy), curve.present
        color = LINE_COLORS[place % len(LINE_COLORS)]
        style = LINE_STYLES[place // len(LINE_COLORS) % len(LINE_STYLES)]
        x, mean, sd = curve.annotated[present], curve.mean[present], np.nan_to_num(curve.sd_over_seeds[present])
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(x, mean, style, color=color, marker=marker, markersize=5.5, linewidth=2, label=curve.strategy)
        if sd.any():
            low = np.maximum(mean - sd, 0)  # no metric is negative
            axes.fill_between(x, low, mean + sd, color=color, alpha=0.13, linewidth=0)
    tidy(axes)
    from_zero(axes)
    axes.set_xlabel("annotated slices", fontsize=11, color=INK)
    label = {"dice": "mean 3D Dice", "dice2d": "mean 2D Dice", "hd95": "HD95 (mm)"}.get(metric, metric)
    axes.set_ylabel(label, fontsize=11, color=INK)
    _budget_axes(axes, curves[0])


def _budget_axes(axes: Axes, curve: Curve) -> None:
    """Ticks at the budgets below, and in percent of the pool above."""
    budgets, percent = curve.annotated.astype(float), curve.percent
    span = float(np.ptp(budgets))
    top = axes.secondary_xaxis("top")
    top.tick_params(colors=FAINT, labelsize=10, labelcolor=INK)
    top.set_xlabel("percent of the pool", fontsize=10, color=FAINT)
    chosen = [0]
    for place in range(1, len(budgets)):
        if budgets[place] - budgets[chosen[-1]] >= 0.09 * span:
            chosen.append(place)
    if span == 0:
        axes.set_xlim(budgets[0] - 4, budgets[0] + 1)
    axes.set_xticks(budgets[chosen], [f"{budget:.0f}" for budget in budgets[chosen]])
    top.set_xticks(budgets[chosen], [f"{format_percent(value)} %" for value in percent[chosen]])


def _widest_label(figure: Figure, strategies: Sequence[str]) -> float:
    """Width of the longest name as a share of the figure's width."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [figure.text(0, 0, strategy, fontsize=10) for strategy in strategies]
    widest = max(text.get_window_extent(renderer).width for text in texts)
    for text in texts:
        text.remove()
    return float(min(0.45, (widest + 0.3 * figure.dpi) / figure.bbox.width))


def _label_lines(axes: Axes, curves: Sequence[Curve], strategies: Sequence[str]) -> None:
    """Write each name next to the end of its line, moved up or down where names would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) * 15 * axes.figure.dpi / 72 / axes.get_window_extent().height
    ends = sorted(((float(c.mean[c.present][-1]), c.strategy, c) for c in curves), key=lambda end: end[:2])
    heights = spread([end[0] for end in ends], gap, (low, high))
    for (end, strategy, curve), place in zip(ends, heights, strict=True):
        color = LINE_COLORS[strategies.index(strategy) % len(LINE_COLORS)]
        last = float(curve.annotated[curve.present][-1])
        axes.annotate(
            strategy,
            xy=(last, end),
            xytext=(1.015, place),
            textcoords=("axes fraction", "data"),
            fontsize=10,
            color=INK,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.9,
                "linestyle": (0, (2, 2)),
                "shrinkA": 1,
                "shrinkB": 5,
                "relpos": (0, 0.5),
            },
        )


def spread(places: Sequence[float], gap: float, limits: tuple[float, float]) -> list[float]:
    """Move sorted numbers apart until neighbours differ by at least ``gap``, keeping their order.

    Args:
        places: Increasing numbers.
        gap: Smallest difference wanted.
        limits: Lowest and highest number wanted; ignored where the numbers do not fit.

    Returns:
        As many numbers; those with enough room are unchanged, the others are spread about their mean.
    """
    low, high = limits

    def centre(group: list[float]) -> float:
        reach = gap * (len(group) - 1) / 2
        return max(low + reach, min(high - reach, sum(group) / len(group)))

    groups: list[list[float]] = []
    for place in places:
        group = [place]
        while groups and centre(group) - centre(groups[-1]) < gap * (len(group) + len(groups[-1])) / 2:
            group = groups.pop() + group
        groups.append(group)
    return [centre(group) + gap * (i - (len(group) - 1) / 2) for group in groups for i in range(len(group))]
