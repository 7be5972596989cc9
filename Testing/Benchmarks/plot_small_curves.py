"""Learning curves of many strategies as small multiples: each in its own panel, with all others in grey behind it."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ActiveSegmentationLib.evaluation import Curve, learning_curves, read_results_csv
from ActiveSegmentationLib.evaluation.drawing import INK, LINE_COLORS, new_figure, tidy, to_png

WIDTH, HEIGHT = 2.1, 1.75
"""Size of a panel in inches."""


def complete_curves(folder: Path) -> list[Curve]:
    """The curves of a benchmark that have all of its rounds, the largest area first."""
    curves = learning_curves(read_results_csv(folder / "results.csv"))
    full = max(int(curve.present.sum()) for curve in curves)
    return sorted((curve for curve in curves if int(curve.present.sum()) == full), key=lambda curve: -curve.area)


def draw(figure: Figure, curves: list[Curve], baseline: str, lines: int, columns: int, place: int) -> None:
    """Draw the panels of one benchmark.

    Args:
        figure: What to draw on.
        curves: Its curves.
        baseline: Strategy that is drawn dashed in every panel.
        lines: Rows of panels of the whole figure.
        columns: Panels of a row.
        place: Number of the first panel, from 1.
    """
    dashed = next(curve for curve in curves if curve.strategy == baseline)
    means = np.concatenate([curve.mean[curve.present] for curve in curves])
    low, high = float(np.nanmin(means)) - 0.02, float(np.nanmax(means)) + 0.02
    for number, curve in enumerate(curves):
        axes = figure.add_subplot(lines, columns, place + number)
        for other in curves:
            axes.plot(other.annotated[other.present], other.mean[other.present], color="#dddddd", linewidth=0.7)
        axes.plot(dashed.annotated[dashed.present], dashed.mean[dashed.present], "--", color=INK, linewidth=1.0)
        x, y = curve.annotated[curve.present], curve.mean[curve.present]
        deviation = np.nan_to_num(curve.sd_over_seeds[curve.present])
        axes.fill_between(x, y - deviation, y + deviation, color=LINE_COLORS[0], alpha=0.2, linewidth=0)
        axes.plot(x, y, "o-", color=LINE_COLORS[0], linewidth=1.6, markersize=3)
        tidy(axes)
        axes.tick_params(labelsize=7)
        axes.set_ylim(low, high)
        axes.set_xticks(list(x))
        name, _, rest = curve.strategy.partition("/")
        title = f"{name}{'*' if rest else ''}  {curve.area:.3f}"
        axes.set_title(title, fontsize=7.5 if len(title) < 28 else 6.2, color=INK, loc="left")


def main() -> None:
    """Draw the Dice of one or several benchmarks, each beginning a row of panels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="output folders of benchmark")
    parser.add_argument("--baseline", default="balanced-random", help="drawn dashed in every panel")
    parser.add_argument("--columns", type=int, default=6, help="panels of a row")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    options = parser.parse_args()
    all_curves = [complete_curves(folder) for folder in options.folders]
    columns = min(options.columns, max(len(curves) for curves in all_curves))
    heights = [-(-len(curves) // columns) for curves in all_curves]
    figure = new_figure(WIDTH * columns, HEIGHT * sum(heights) + 0.3)
    above = 0
    for curves, height in zip(all_curves, heights, strict=True):
        draw(figure, curves, options.baseline, sum(heights), columns, above * columns + 1)
        above += height
    figure.set_layout_engine("tight")
    options.out.write_bytes(to_png(figure))


if __name__ == "__main__":
    main()
