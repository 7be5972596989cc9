"""Learning curves of many strategies as small multiples: each in a panel of its own, before all the others in grey."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ActiveSegmentationLib.evaluation import learning_curves, read_results_csv
from ActiveSegmentationLib.evaluation.drawing import INK, LINE_COLORS, new_figure, tidy, to_png

COLUMNS = 6


def main() -> None:
    """Draw the Dice of a benchmark's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="output folder of benchmark")
    parser.add_argument("--baseline", default="balanced-random", help="drawn dashed in every panel")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    options = parser.parse_args()
    curves = learning_curves(read_results_csv(options.folder / "results.csv"))
    full = max(int(curve.present.sum()) for curve in curves)
    curves = [curve for curve in curves if int(curve.present.sum()) == full]
    curves.sort(key=lambda curve: -curve.area)
    baseline = next(curve for curve in curves if curve.strategy == options.baseline)
    lines = -(-len(curves) // COLUMNS)
    figure = new_figure(2.1 * COLUMNS, 1.75 * lines + 0.3)
    means = np.concatenate([curve.mean[curve.present] for curve in curves])
    low, high = float(np.nanmin(means)) - 0.02, float(np.nanmax(means)) + 0.02
    for place, curve in enumerate(curves):
        axes = figure.add_subplot(lines, COLUMNS, place + 1)
        for other in curves:
            axes.plot(other.annotated[other.present], other.mean[other.present], color="#dddddd", linewidth=0.7)
        axes.plot(baseline.annotated[baseline.present], baseline.mean[baseline.present], "--", color=INK, linewidth=1.0)
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
    figure.set_layout_engine("tight")
    options.out.write_bytes(to_png(figure))


if __name__ == "__main__":
    main()
