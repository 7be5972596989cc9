"""How well uncertainty predicts errors: misclassified pixels of slices against the model's own uncertainty.

Foellmer et al. 2024, Appendix D, Figure 6: r = 0.84 for dropout and 0.68 for the length of the gradient at the coarsest
level (nnU-Net, first round on the hippocampus).
"""

from __future__ import annotations

import argparse

import numpy as np
from first_round import FirstRound, add_options, prepare

from ActiveSegmentationLib.acquisition import Pool, Sources, create_strategy
from ActiveSegmentationLib.cohort import IGNORE_LABEL
from ActiveSegmentationLib.common.files import write_bytes
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.evaluation.drawing import INK, LINE_COLORS, new_figure, tidy, to_png
from ActiveSegmentationLib.uncertainty import Deterministic, Dropout, slice_scores
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings

ROWS_AT_A_TIME = 128
"""Slices whose whole gradients are in memory at a time."""

RESAMPLES = 2000


def errors(first: FirstRound, rows: np.ndarray) -> np.ndarray:
    """Misclassified pixels of each slice on the stack's grid, beyond the image not counted: (n,) float64."""
    truth = first.truth(rows)
    found = np.empty(len(rows))
    done = 0
    for chosen, probabilities in first.model.iterate_probabilities(first.stack, rows, first.compute):
        own = truth[done : done + len(chosen)]
        found[done : done + len(chosen)] = ((probabilities.argmax(1) != own) & (own != IGNORE_LABEL)).sum((1, 2))
        done += len(chosen)
    return found


def lengths(first: FirstRound, rows: np.ndarray, layer: str) -> np.ndarray:
    """Length of the whole gradient of a layer: (n,) float64."""
    parts = [rows[start : start + ROWS_AT_A_TIME] for start in range(0, len(rows), ROWS_AT_A_TIME)]
    embed = (gradient_embeddings(first.model, first.stack, part, layer=layer, compute=first.compute) for part in parts)
    return np.concatenate([np.linalg.norm(found.astype(np.float64), axis=1) for found in embed])


def correlation(x: np.ndarray, y: np.ndarray, volumes: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Pearson's r and the ends of its 95 % interval by resampling whole volumes."""
    rng = generator(seed, "bootstrap")
    groups = [np.flatnonzero(volumes == volume) for volume in np.unique(volumes)]
    drawn = []
    for _ in range(RESAMPLES):
        places = np.concatenate([groups[n] for n in rng.integers(0, len(groups), len(groups))])
        drawn.append(np.corrcoef(x[places], y[places])[0, 1])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.corrcoef(x, y)[0, 1]), float(low), float(high)


def main() -> None:
    """Print the correlations and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    options = parser.parse_args()
    first = prepare(options)
    known = {first.stack.row(slice_id) for slice_id in first.annotated}
    rows = np.array([row for row in first.rows if row not in known])
    usim = create_strategy("usim-cosine")
    pool = Pool(
        first.stack,
        first.rows,
        annotated=first.annotated,
        statistics=first.statistics,
        sources=Sources(first.model, compute=first.compute),
    )
    place_of = {int(row): place for place, row in enumerate(pool.rows)}
    places = [place_of[int(row)] for row in rows]
    sampler = Dropout(passes=10, p=0.1)
    compute, names = first.compute, ("class-variance",)
    variance = slice_scores(first.model, first.stack, rows, sampler, names=names, compute=compute)["class-variance"]
    entropy = slice_scores(first.model, first.stack, rows, Deterministic(), compute=compute)["entropy"]
    figures = {
        "dropout variance, foreground": variance[:, 1:].sum(axis=1),
        "the same, weighted by class (USIM)": usim.uncertainty(pool)[places],
        "gradient length, coarsest level": lengths(first, rows, "bottleneck"),
        "gradient length, last layer": lengths(first, rows, "last"),
        "entropy without dropout": entropy,
    }
    wrong = errors(first, rows)
    volumes = first.stack.volume_number[rows]
    print(
        f"{len(rows)} slices of {len(np.unique(volumes))} volumes, {len(first.annotated)} annotated, "
        f"{options.steps} steps, {wrong.mean():.1f} misclassified pixels a slice"
    )
    print(f"{'figure':36} {'r':>6}  95 % over volumes")
    drawn = []
    for name, values in figures.items():
        r, low, high = correlation(wrong, values.astype(np.float64), volumes, options.seed)
        print(f"{name:36} {r:6.3f}  {low:.3f} to {high:.3f}")
        drawn.append((name, values, r))
    chosen = [drawn[0], drawn[2]]
    figure = new_figure(9.0, 4.2)
    for place, (name, values, r) in enumerate(chosen):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.scatter(wrong, values, s=10, color=LINE_COLORS[place], alpha=0.4, linewidths=0)
        tidy(axes)
        axes.set_xlabel("misclassified pixels", fontsize=11, color=INK)
        axes.set_ylabel(name, fontsize=11, color=INK)
        axes.set_title(f"r = {r:.2f}", loc="left", fontsize=12, color=INK)
    figure.tight_layout()
    write_bytes(options.out / "uncertainty_and_error.png", to_png(figure))


if __name__ == "__main__":
    main()
