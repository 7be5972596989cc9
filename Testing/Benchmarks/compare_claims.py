"""Claims of the papers against results of experiments: a table in Markdown, and a figure with the intervals.

    activesegmentation experiment run Testing/Benchmarks/claims/hippocampus.toml --cohort DATA/hippocampus \\
        --out results/hippocampus
    python Testing/Benchmarks/compare_claims.py results --figure claims.png

Each folder of results is named by its protocol (``hippocampus``, ``acdc-groups``, ...). Claims whose results are
missing are left out. Differences are paired by seed and test volume; the interval is the t interval over seeds and
patients of docs/statistics.md, for each claim alone.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.evaluation import (
    Curve,
    Difference,
    ResultRow,
    area_under_learning_curve,
    cohorts_of,
    learning_curves,
    paired_difference,
    read_results_csv,
)
from ActiveSegmentationLib.evaluation.drawing import INK, LINE_COLORS, new_figure, tidy, to_png

CLAIMS = Path(__file__).with_name("claims") / "claims.toml"
VERDICTS = {1: "reproduced", -1: "the opposite", 0: "cannot be told"}


@dataclass(frozen=True)
class Finding:
    """What came out for a claim.

    Attributes:
        text: The claim.
        paper: Who made it.
        results: Name of the experiment.
        first: 3D Dice of what is claimed to be better.
        second: Of what it is compared with.
        by_seed: Their difference for each seed.
        difference: Their difference, with its interval.
    """

    text: str
    paper: str
    results: str
    first: float
    second: float
    by_seed: tuple[float, ...]
    difference: Difference

    @property
    def verdict(self) -> str:
        """In words."""
        return VERDICTS[self.difference.verdict]


def scores_of(rows: Sequence[ResultRow], side: str | dict[str, Any]) -> tuple[np.ndarray, Curve]:
    """(seeds, volumes) Dice of a side of a claim at its number of slices, or the area under its learning curve."""
    wanted = {"strategy": side} if isinstance(side, str) else side
    arm = f", {wanted['arm']}" if "arm" in wanted else ""
    curves = [curve for name in cohorts_of(rows) if name.endswith(arm) for curve in learning_curves(rows, cohort=name)]
    found = [curve for curve in curves if curve.strategy == wanted["strategy"]]
    if len(found) != 1:
        raise SystemExit(f"The results have {len(found)} curves of {wanted}, not one.")
    (curve,) = found
    if "slices" in wanted:
        return curve.scores[..., int(np.flatnonzero(curve.annotated == wanted["slices"])[0])], curve
    present = curve.present
    return area_under_learning_curve(curve.annotated[present], curve.scores[..., present]), curve


def found_for(claim: dict[str, Any], results: Path) -> Finding | None:
    """What the results say about a claim; None if there are none."""
    path = results / claim["results"] / "results.csv"
    if not path.is_file():
        return None
    rows = read_results_csv(path)
    sides = [claim[side] for side in ("first", "second") if isinstance(claim[side], dict)]
    arms = {side["arm"] for side in sides if "arm" in side}
    if not all(any(name.endswith(f", {arm}") for name in cohorts_of(rows)) for arm in arms):
        return None
    (first, curve), (second, other) = (scores_of(rows, claim[side]) for side in ("first", "second"))
    if (curve.seeds, curve.volumes) != (other.seeds, other.volumes):
        raise SystemExit(f"{path}: the sides of '{claim['text']}' have other seeds or volumes.")
    difference = paired_difference(first, second, patients=curve.patients)
    by_seed = np.nanmean(first - second, axis=1)
    both = ~np.isnan(first - second)
    means = (float(values[both].mean()) for values in (first, second))
    about = (claim["text"], claim["paper"], claim["results"])
    return Finding(*about, *means, tuple(by_seed[~np.isnan(by_seed)].tolist()), difference)


def table(findings: Sequence[Finding]) -> str:
    """The findings in Markdown."""
    lines = [
        "| claim | paper | Dice | compared with | difference, 95 % interval | by seed | |",
        "| --- | --- | ---: | ---: | --- | --- | --- |",
    ]
    for each in findings:
        difference = f"{each.difference.mean:+.3f}, {each.difference.low:+.3f} to {each.difference.high:+.3f}"
        seeds = ", ".join(f"{value:+.3f}" for value in each.by_seed)
        cells = [each.text, each.paper, f"{each.first:.3f}", f"{each.second:.3f}", difference, seeds, each.verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(findings: Sequence[Finding], path: Path) -> None:
    """Write a figure: the difference of each claim with its interval, a panel for each experiment."""
    experiments = list(dict.fromkeys(each.results for each in findings))
    groups = [[each for each in findings if each.results == name] for name in experiments]
    figure = new_figure(9.5, 0.9 * len(groups) + 0.3 * len(findings))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[1 + len(group) for group in groups])
    for name, group, axes in zip(experiments, groups, panels[:, 0], strict=True):
        for row, each in enumerate(group):
            axes.plot([each.difference.low, each.difference.high], [row, row], color=LINE_COLORS[0], linewidth=2)
            axes.plot(each.difference.mean, row, "o", color=LINE_COLORS[0], markersize=6)
            axes.plot(each.by_seed, [row] * len(each.by_seed), "|", color=INK, markersize=9)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(group)), [f"{each.text} ({each.paper})" for each in group])
        axes.set_ylim(len(group) - 0.5, -0.5)
        axes.set_title(name, loc="left", color=INK, fontsize=10)
        tidy(axes)
    figure.supxlabel("difference of 3D Dice with 95 % interval over seeds and patients; bars: seeds", fontsize=9)
    path.write_bytes(to_png(figure, dpi=110))


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of the experiments' folders")
    parser.add_argument("--claims", type=Path, default=CLAIMS, metavar="FILE", help="default: claims/claims.toml")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="also draw the differences")
    options = parser.parse_args()
    claims = tomllib.loads(options.claims.read_text(encoding="utf-8"))["claim"]
    findings = [found for claim in claims if (found := found_for(claim, options.results)) is not None]
    if not findings:
        raise SystemExit(f"{options.results} has no results of these claims.")
    print(table(findings))
    if options.figure:
        draw(findings, options.figure)


if __name__ == "__main__":
    main()
