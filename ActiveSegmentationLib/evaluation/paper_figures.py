"""Figures of the statistics that the papers show: penalties, boxes, time, maps of slices, agreement, uncertainty."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.evaluation.batches import BatchFacts, mean_over_seeds
from ActiveSegmentationLib.evaluation.costs import CostCurve
from ActiveSegmentationLib.evaluation.curves import Curve
from ActiveSegmentationLib.evaluation.drawing import (
    FAINT,
    INK,
    LINE_COLORS,
    LINE_STYLES,
    MARKERS,
    from_zero,
    grey_levels,
    new_figure,
    tidy,
)
from ActiveSegmentationLib.evaluation.figures import foreground_window
from ActiveSegmentationLib.evaluation.paired_tests import PenaltyMatrix
from ActiveSegmentationLib.evaluation.statistics import mean_without_nan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHI = "loses on average (Φ)"

LIGHT = "#d0d0d0"
"""Colour of frames."""

BOXES: dict[str, Any] = {"patch_artist": True, "manage_ticks": False}
"""Options of all box plots."""

AGREE, DISAGREE = (0.10, 0.35, 0.95), (0.95, 0.15, 0.15)
"""Colours of pixels where prediction and reference agree and disagree (Vepa 2024, Figure 3)."""


def penalty_figure(matrix: PenaltyMatrix) -> Figure:
    """How often the strategy of the row beats that of the column, and below how often each loses (Foellmer 2024,
    Figure 2 D).
    """
    count = len(matrix.strategies)
    names = [f"{name}  {number}" for number, name in enumerate(matrix.strategies, start=1)]
    cell, label = 0.48, 0.075 * max(map(len, [*names, PHI]))
    figure = new_figure(label + cell * count + 0.1, cell * (count + 1) + 0.55)
    axes = figure.add_axes((label / figure.get_figwidth(), 0.02, 1 - (label + 0.08) / figure.get_figwidth(), 0.9))
    cells = np.vstack([matrix.penalties, matrix.phi])
    top = max(float(cells.max()), 1e-9)
    axes.imshow(cells, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    for row, column in np.ndindex(cells.shape):
        dark = cells[row, column] > 0.6 * top
        text = "" if row == column else f"{cells[row, column]:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else INK)
    axes.axhline(count - 0.5, color="white", linewidth=4)
    axes.xaxis.tick_top()
    axes.set_xticks(range(count), [str(number) for number in range(1, count + 1)], fontsize=9)
    axes.set_yticks(range(count + 1), [*names, PHI], fontsize=9)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 2) - 0.5, minor=True)
    axes.grid(which="minor", color=LIGHT, linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color(LIGHT)
    return figure


def box_figure(curves: Sequence[Curve]) -> Figure:
    """Mean 3D Dice of every seed at every budget, as boxes (Gaillochet 2023, Figure 7).

    Boxes reach from the first to the third quartile, whiskers over all seeds within 1.5 times that range; a dot is a
    seed.

    Args:
        curves: Learning curves of one cohort.
    """
    budgets = curves[0].annotated
    figure = new_figure(max(5.0, 1.0 + 0.22 * len(budgets) * (len(curves) + 1)), 3.6 + 0.2 * len(curves))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(curves)
    for place, curve in enumerate(curves):
        color = LINE_COLORS[place % len(LINE_COLORS)]
        seeds = mean_without_nan(curve.scores, axis=1)
        data = [column[~np.isnan(column)] for column in seeds.T]
        at = np.arange(len(budgets)) + (place - (len(curves) - 1) / 2) * width
        drawn = axes.boxplot(data, positions=at, widths=0.85 * width, showfliers=False, **BOXES)
        for box in drawn["boxes"]:
            box.set(facecolor=color, alpha=0.55, edgecolor=color, hatch="//" if place >= len(LINE_COLORS) else None)
        for part in ("medians", "whiskers", "caps"):
            for line in drawn[part]:
                line.set(color=INK if part == "medians" else color)
        for place_of_budget, values in zip(at, data, strict=True):
            axes.plot(np.full(len(values), place_of_budget), values, ".", color=INK, markersize=4, zorder=3)
    axes.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    axes.set_xlabel("annotated slices", fontsize=11, color=INK)
    axes.set_ylabel("mean 3D Dice of a seed", fontsize=11, color=INK)
    tidy(axes)
    _legend(figure, [curve.strategy for curve in curves], boxes=True)
    return figure


def difference_figure(first: Curve, second: Curve) -> Figure:
    """Difference of two strategies at every budget, a box over seeds (Ozdemir 2021, Figure 4); stars are means."""
    differences = mean_without_nan(first.scores, axis=1) - mean_without_nan(second.scores, axis=1)
    data = [column[~np.isnan(column)] for column in differences.T]
    places = [place for place, column in enumerate(data) if len(column)]
    figure = new_figure(max(4.6, 1.2 + 0.5 * len(places)), 3.4)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=FAINT, linewidth=1)
    drawn = axes.boxplot(
        [data[place] for place in places],
        positions=range(len(places)),
        widths=0.5,
        showmeans=True,
        meanprops={"marker": "*", "markersize": 9, "markerfacecolor": INK, "markeredgecolor": "white"},
        **BOXES,
    )
    for box in drawn["boxes"]:
        box.set(facecolor=LINE_COLORS[0], alpha=0.4)
    for line in drawn["medians"]:
        line.set(color=LINE_COLORS[1], linewidth=2)
    axes.set_xticks(range(len(places)), [str(first.annotated[place]) for place in places])
    axes.set_xlabel("annotated slices", fontsize=11, color=INK)
    axes.set_ylabel("difference of 3D Dice", fontsize=11, color=INK)
    axes.set_title(f"{first.strategy}\nminus {second.strategy}", fontsize=10, color=INK, loc="left")
    tidy(axes)
    return figure


def cost_figure(curves: Sequence[CostCurve], unit: str) -> Figure:
    """Mean 3D Dice over the cost of annotations on a logarithmic axis (Vepa 2024, Figure 2).

    Args:
        curves: Curves of all cohorts.
        unit: Name of the cost, for the axis.
    """
    from matplotlib.ticker import LogLocator

    figure = new_figure(6.2, 3.8 + 0.2 * len(curves))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    names = []
    for place, one in enumerate(curves):
        present = one.curve.present
        sd = np.nan_to_num(one.curve.sd_over_seeds[present])
        x, mean = one.cost[present], one.curve.mean[present]
        _line(axes, place, x, mean)
        low, color = np.maximum(mean - sd, 0), LINE_COLORS[place % len(LINE_COLORS)]
        axes.fill_between(x, low, mean + sd, color=color, alpha=0.13, linewidth=0)
        names.append(f"{one.curve.cohort}: {one.curve.strategy}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"annotation time: {unit}", fontsize=11, color=INK)
    axes.set_ylabel("mean 3D Dice", fontsize=11, color=INK)
    tidy(axes)
    from_zero(axes)
    _legend(figure, names)
    return figure


def uncertainty_figure(facts: Sequence[BatchFacts]) -> Figure:
    """Summed uncertainty of the requested slices over rounds, mean over seeds (Foellmer 2024, Figure 5).

    Args:
        facts: Facts about batches of one cohort.
    """
    from matplotlib.ticker import MaxNLocator

    means = mean_over_seeds(facts, "uncertainty")
    names = sorted({strategy for _, strategy, _ in means})
    figure = new_figure(5.6, 3.2 + 0.2 * len(names))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        points = sorted((number, value) for (_, strategy, number), value in means.items() if strategy == name)
        known = [(number, value) for number, value in points if not np.isnan(value)]
        _line(axes, place, [number for number, _ in known], [value for _, value in known])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round", fontsize=11, color=INK)
    axes.set_ylabel("uncertainty, sum over the batch", fontsize=11, color=INK)
    axes.set_ylim(bottom=0)
    tidy(axes)
    _legend(figure, names)
    return figure


@dataclass(frozen=True)
class ClusterMap:
    """Slices as points in a plane, with their clusters.

    Attributes:
        name: What the points were computed from.
        places: (n, 2) float.
        clusters: (n,) int, cluster of each slice.
        silhouette: Mean silhouette of the clusters in the space that they were found in, -1..1; larger is clearer.
    """

    name: str
    places: np.ndarray
    clusters: np.ndarray
    silhouette: float


def cluster_figure(maps: Sequence[ClusterMap]) -> Figure:
    """Maps of slices by t-SNE, coloured by cluster, one panel each (Vepa 2024, Figure 4)."""
    from matplotlib import colormaps

    columns = min(3, len(maps))
    rows = -(-len(maps) // columns)
    figure = new_figure(2.5 * columns, 2.75 * rows)
    figure.set_layout_engine("constrained")
    for place, one in enumerate(maps):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.scatter(
            one.places[:, 0], one.places[:, 1], c=one.clusters % 20, cmap=colormaps["tab20"], s=5, linewidths=0
        )
        axes.set_title(f"{one.name}\nsilhouette {one.silhouette:.2f}", fontsize=9, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", "datalim")
        axes.spines[:].set_color(LIGHT)
    return figure


@dataclass(frozen=True)
class AgreementView:
    """Predictions of one plane by several strategies at several budgets.

    Attributes:
        title: Name of the plane.
        image: (H, W) float.
        truth: (H, W) uint8 label values, 255 where unlabelled.
        predictions: (H, W) uint8 label values by strategy and budget.
    """

    title: str
    image: np.ndarray
    truth: np.ndarray
    predictions: Mapping[tuple[str, int], np.ndarray]


def agreement_figure(view: AgreementView) -> Figure:
    """Where predictions agree with the reference (blue) and where not (red), by strategy and budget (Vepa 2024, Figure
    3); background on which both agree is left clear.
    """
    from matplotlib.patches import Patch

    strategies = list(dict.fromkeys(strategy for strategy, _ in view.predictions))
    budgets = sorted({budget for _, budget in view.predictions})
    window = foreground_window([view.truth, *view.predictions.values()])
    tall = float(np.clip(np.divide(*view.image[window].shape), 0.5, 1.6))
    side = 1.45
    figure = new_figure(side * len(budgets) + 1.0, side * tall * len(strategies) + 0.85 + 0.18 * len(strategies))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(strategies), len(budgets), squeeze=False)
    for row, strategy in enumerate(strategies):
        for column, budget in enumerate(budgets):
            at = axes[row, column]
            at.set_xticks([])
            at.set_yticks([])
            at.spines[:].set_visible(False)
            at.imshow(grey_levels(view.image[window]), cmap="gray", vmin=0, vmax=1)
            found = view.predictions.get((strategy, budget))
            if found is not None:
                at.imshow(agreement_overlay(view.truth[window], found[window]), interpolation="nearest")
            if row == 0:
                at.set_title(f"{budget} slices", fontsize=9, color=INK)
        axes[row, 0].set_ylabel(_short(strategy), fontsize=8, color=INK)
    figure.suptitle(view.title, fontsize=10, color=INK, x=0.01, ha="left")
    colors = {"as the reference": AGREE, "other than the reference": DISAGREE}
    handles = [Patch(facecolor=color, alpha=0.65, label=text) for text, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=9, handlelength=1.2)
    return figure


def agreement_overlay(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Colours over an image: (H, W, 4) float; clear where both are background or the reference is unlabelled.

    Args:
        truth: (H, W) uint8 label values.
        prediction: (H, W) uint8 label values.
    """
    overlay = np.zeros((*truth.shape, 4))
    counted = (truth != IGNORE_LABEL) & ((truth > 0) | (prediction > 0))
    overlay[counted & (truth == prediction)] = (*AGREE, 0.55)
    overlay[counted & (truth != prediction)] = (*DISAGREE, 0.65)
    return overlay


def _line(axes: Axes, place: int, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> None:
    color, style = LINE_COLORS[place % len(LINE_COLORS)], LINE_STYLES[place // len(LINE_COLORS) % len(LINE_STYLES)]
    axes.plot(x, y, style, color=color, marker=MARKERS[place % len(MARKERS)], markersize=5, linewidth=2)


def _legend(figure: Figure, names: Sequence[str], *, boxes: bool = False) -> None:
    """The names below the figure, with the colours and lines of their places."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = []
    for place, name in enumerate(names):
        color = LINE_COLORS[place % len(LINE_COLORS)]
        style: Any = LINE_STYLES[place // len(LINE_COLORS) % len(LINE_STYLES)]
        marker = MARKERS[place % len(MARKERS)]
        hatch = "//" if place >= len(LINE_COLORS) else None
        box = Patch(facecolor=color, alpha=0.55, edgecolor=color, hatch=hatch, label=name)
        line = Line2D([], [], color=color, linestyle=style, marker=marker, linewidth=2, label=name)
        handles.append(box if boxes else line)
    figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=9, handlelength=2.5)


def _short(name: str, most: int = 18) -> str:
    """A name in lines of about ``most`` characters, broken after colons, slashes and hyphens."""
    parts = re.split(r"(?<=[:/])", name)
    return "\n".join(line for part in parts for line in textwrap.wrap(part, most, break_long_words=False))
