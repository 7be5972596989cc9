"""Does the sample ratio even out what is annotated? Ozdemir et al. (2021), Appendix A, on scikit-learn's digits.

Ten digits are annotated to start with, three classes being ten times rarer among them than in the cohort; then digits
are requested by the sample ratio in the latent space of an infoVAE, and at random. The score is the entropy of the
class histogram of the annotated digits: ln 10 = 2.303 if all classes are equally frequent.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from sklearn.datasets import load_digits

from ActiveSegmentationLib.acquisition import Allowance, Constraints
from ActiveSegmentationLib.acquisition.ranking import best
from ActiveSegmentationLib.acquisition.sample_ratio import SampleRatioGains
from ActiveSegmentationLib.embedding import InfoVaeSettings, train_info_vae

CLASSES = 10


class DigitStack:
    """The 1,797 digits of 8 x 8 pixels, enlarged to 32 x 32, as slices of one volume each."""

    key, channels, grid_shape = "digits", 1, (32, 32)

    def __init__(self) -> None:
        digits = load_digits()
        self.labels = digits.target
        small = torch.from_numpy(digits.images.astype(np.float32) / 16)[:, None]
        self._images = torch.nn.functional.interpolate(small, self.grid_shape, mode="bilinear", align_corners=False)
        self.volume_number = self.patient_number = np.arange(len(self.labels))
        self.index = np.zeros(len(self.labels), dtype=np.int64)

    def batches(self, rows: np.ndarray, device: str = "cpu", /) -> torch.Tensor:
        """Images of the rows."""
        return self._images[torch.as_tensor(rows)].to(device)


def entropy(labels: np.ndarray) -> float:
    """Entropy of the class histogram, in nats."""
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def unbalanced_start(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of ``count`` digits, three random classes being ten times less probable: (n,) bool."""
    weights = np.ones(CLASSES)
    weights[rng.choice(CLASSES, 3, replace=False)] = 0.1
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[rng.choice(len(labels), count, replace=False, p=weights[labels] / weights[labels].sum())] = True
    return chosen


def by_ratio(latent: np.ndarray, annotated: np.ndarray, count: int, greedy: bool) -> list[int]:
    """The next digits by the sample ratio."""
    places = np.arange(len(latent))
    allowance = Allowance(Constraints(), places, places, np.zeros_like(places), ~annotated, annotated)
    state, picks = SampleRatioGains(latent, annotated, greedy=greedy), []
    for _ in range(count):
        position = best(state.ratios(), allowance.mask)
        allowance.take(position)
        state.take(position)
        picks.append(position)
    return picks


def curve(way: str, latent: np.ndarray, labels: np.ndarray, seed: int, options: argparse.Namespace) -> list[float]:
    """Entropy after each query, the start first; the start is the same for every way."""
    annotated = unbalanced_start(labels, options.start, np.random.default_rng(seed))
    rng = np.random.default_rng((seed, 1))
    found = [entropy(labels[annotated])]
    for _ in range(options.queries):
        if way == "random":
            picks = list(rng.choice(np.flatnonzero(~annotated), options.batch, replace=False))
        else:
            picks = by_ratio(latent, annotated, options.batch, way == "ratio, greedy")
        annotated[picks] = True
        found.append(entropy(labels[annotated]))
    return found


def main() -> None:
    """Train the autoencoders, query, print the table and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latent", type=int, default=5, help="numbers of the latent space; the paper has 5")
    parser.add_argument("--start", type=int, default=10)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1500, help="training steps of the autoencoder")
    parser.add_argument("--out", type=Path, default=Path("reproduce_digits.png"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    stack = DigitStack()
    ways = ("ratio, one shot", "ratio, greedy", "random")
    curves: dict[str, list[list[float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            settings = InfoVaeSettings(latent=options.latent, steps=options.steps)
            rows = np.arange(len(stack.labels))
            model = train_info_vae(stack, rows, settings, seed=seed, folder=Path(folder))
            latent = model.embed(stack, rows)
            losses = model.record["final losses"]
            print(
                f"seed {seed}: error {losses['reconstruction']:.3f}, latent means up to "
                f"{np.abs(latent.mean(0)).max():.2f}, deviations {latent.std(0).min():.2f} to {latent.std(0).max():.2f}"
            )
            for way in ways:
                curves[way].append(curve(way, latent, stack.labels, seed, options))
    shown = [query for query in (0, 1, 2, 3, 5, 10, 20, 30) if query <= options.queries]
    print(f"entropy of the classes (mean and deviation of {options.seeds} seeds; at most {np.log(CLASSES):.3f})")
    print("annotated".ljust(16) + "".join(f"{options.start + query * options.batch:>18}" for query in shown))
    for way in ways:
        values = np.array(curves[way])[:, shown]
        cells = (f"{mean:.3f} +- {spread:.3f}" for mean, spread in zip(values.mean(0), values.std(0), strict=True))
        print(way.ljust(16) + "".join(f"{cell:>18}" for cell in cells))
    draw(curves, options)


def draw(curves: dict[str, list[list[float]]], options: argparse.Namespace) -> None:
    """Write the curves as a PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    counts = options.start + options.batch * np.arange(options.queries + 1)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for way, runs in curves.items():
        mean, spread = np.mean(runs, axis=0), np.std(runs, axis=0)
        (line,) = axes.plot(counts, mean, label=way)
        axes.fill_between(counts, mean - spread, mean + spread, alpha=0.2, color=line.get_color())
    axes.axhline(np.log(CLASSES), linestyle="--", color="grey")
    axes.set(xlabel="annotated digits", ylabel="entropy of the classes (nats)")
    axes.legend()
    figure.savefig(options.out, dpi=150)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
