"""Figures of an experiment: files as PNG and SVG, and pictures for the report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ActiveSegmentationLib.cohort import AnnotationKind, Role, SliceId
from ActiveSegmentationLib.common.files import explained, write_bytes
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.evaluation import (
    UPPER_BOUND,
    AgreementView,
    ClusterMap,
    CostModel,
    Picture,
    agreement_figure,
    box_figure,
    cluster_figure,
    cohorts_of,
    comparisons,
    cost_curves,
    cost_figure,
    difference_figure,
    draw_learning_curve,
    learning_curves,
    penalty_figure,
    penalty_matrix,
    to_png,
    to_svg,
    uncertainty_figure,
)
from ActiveSegmentationLib.experiment.benchmark import Benchmark
from ActiveSegmentationLib.experiment.diagnostics import read_planes, shown_planes
from ActiveSegmentationLib.experiment.measurements import Findings
from ActiveSegmentationLib.loop import Embeddings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 2000
"""Slices of a map, at most; t-SNE of more takes minutes."""

CLUSTERS = 10
"""Clusters of a map."""

MOST_STRATEGIES = 4
"""Strategies of a figure of agreement, at most."""


@dataclass(frozen=True)
class Drawn:
    """A figure with what it shows in words.

    Attributes:
        name: Name of its files.
        figure: The figure.
        alt: What it shows, for people who cannot see it.
        caption: Text below it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str


def write_figures(folder: Path, found: Findings, costs: CostModel) -> list[Picture]:
    """Draw everything that was found, and write each figure as PNG and SVG.

    Args:
        folder: Folder of the files; it is made.
        found: What was found.
        costs: Seconds for annotating a slice.

    Returns:
        The figures for the report, without the learning curve, which the report draws itself.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for drawn in _figures(found, costs):
        png = to_png(drawn.figure)
        write_bytes(folder / f"{drawn.name}.png", png)
        write_bytes(folder / f"{drawn.name}.svg", to_svg(drawn.figure))
        if drawn.name != "learning-curve":
            pictures.append(Picture(png, drawn.alt, drawn.caption))
    return pictures


def _figures(found: Findings, costs: CostModel) -> Iterator[Drawn]:
    yield Drawn("learning-curve", draw_learning_curve(found.results), "Learning curves", "")
    yield from _of_comparisons(found)
    yield from _of_costs(found, costs)
    for cohort in dict.fromkeys(fact.cohort for fact in found.facts):
        facts = [fact for fact in found.facts if fact.cohort == cohort and not np.isnan(fact.uncertainty)]
        if len({fact.round for fact in facts}) > 1:
            caption = (
                f"{cohort}: uncertainty of the requested slices by the model of the round before, mean over seeds."
            )
            yield Drawn(f"uncertainty-{_file(cohort)}", uncertainty_figure(facts), caption, caption)
    if found.maps:
        caption = (
            "Slices of the pool in the space of each embedding, by t-SNE. Colours are clusters (k-means in that "
            "space); a larger silhouette means that they are better separated."
        )
        yield Drawn("clusters", cluster_figure(found.maps), "Maps of slices with their clusters", caption)
    for number, view in enumerate(found.agreements, start=1):
        caption = f"{view.title}: prediction and reference agree (blue) and disagree (red), by strategy and budget."
        yield Drawn(f"agreement-{number}", agreement_figure(view), caption, caption)


def _of_comparisons(found: Findings) -> Iterator[Drawn]:
    several = len({row.seed for row in found.results if row.strategy != UPPER_BOUND}) > 1
    matrix = penalty_matrix(found.results)
    if matrix is not None and several:
        caption = "How often the strategy of the row beats that of the column significantly; Φ: how often each loses."
        yield Drawn("penalties", penalty_figure(matrix), caption, caption)
    for cohort in cohorts_of(found.results) if several else []:
        curves = learning_curves(found.results, cohort=cohort)
        if curves:
            caption = f"{cohort}: mean 3D Dice of every seed (dots) at every budget; boxes are quartiles."
            yield Drawn(f"boxes-{_file(cohort)}", box_figure(curves), caption, caption)
        pairs = comparisons([row for row in found.results if row.cohort == cohort])
        if pairs:
            caption = f"{cohort}: the two best strategies compared seed by seed: median, quartiles, mean (star)."
            yield Drawn(f"difference-{_file(cohort)}", difference_figure(*pairs[0].curves), caption, caption)


def _of_costs(found: Findings, costs: CostModel) -> Iterator[Drawn]:
    if costs.measured or len(set(found.annotations.values())) > 1:
        unit = "hours" if costs.measured else "% of the time for all masks"
        curves = cost_curves(found.results, found.annotations, costs)
        caption = "Mean 3D Dice by the time spent on annotations; bands are one standard deviation over seeds."
        yield Drawn("time", cost_figure(curves, unit), caption, caption)


def _file(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")


def cluster_maps(benchmark: Benchmark) -> tuple[ClusterMap, ...]:
    """A map of the pool's slices for each learned embedding that the strategies use, with the lowest seed."""
    design, seed = benchmark.plan.design, min(benchmark.plan.seeds)
    rows = design.rows[Role.POOL]
    chosen = np.sort(generator(0, "map of slices").permutation(rows)[:MOST_POINTS])
    settings = benchmark.settings_of_seed(seed)
    embeddings = Embeddings(benchmark.stack, rows, settings, benchmark.out / "cache", benchmark.compute())
    embedders = embeddings.embedders(None, benchmark.learned_kinds())
    return tuple(
        cluster_map(_in_words(kind), np.asarray(embedders[kind](chosen))) for kind in benchmark.learned_kinds()
    )


def _in_words(kind: str) -> str:
    """A kind of embedding as text."""
    network, _, preset = kind.partition(":")
    name = {"learned": "learned metric", "infovae": "autoencoder"}[network]
    return f"{name} {preset}" if preset else name


def cluster_map(name: str, vectors: np.ndarray) -> ClusterMap:
    """Clusters of vectors and their places in a plane: k-means and t-SNE (Vepa 2024, Section 4.6).

    Args:
        name: What the vectors are.
        vectors: (n, d) float.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    count = min(CLUSTERS, max(2, len(vectors) // 3))
    clusters = KMeans(count, n_init=4, random_state=0).fit_predict(vectors)
    different = len(np.unique(clusters))
    silhouette = float(silhouette_score(vectors, clusters)) if 1 < different < len(vectors) else float("nan")
    reduced = PCA(min(50, *vectors.shape), random_state=0).fit_transform(vectors)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    return ClusterMap(name, places, clusters, silhouette)


def agreement_views(benchmark: Benchmark) -> tuple[AgreementView, ...]:
    """Predictions of a few test planes by the first strategies after every round, with the lowest seed."""
    design, stack, seed = benchmark.plan.design, benchmark.stack, min(benchmark.plan.seeds)
    runs = [benchmark.run(strategy, seed) for strategy in benchmark.plan.strategies[:MOST_STRATEGIES]]
    found = []
    for slice_id in shown_planes(stack, design.rows[Role.TEST]):
        truth = stack.truth(slice_id.volume, AnnotationKind.MASK)
        assert truth is not None  # only such planes are shown
        predictions = {
            (run.strategy, budget): _on_grid(benchmark, planes[slice_id.volume], slice_id)
            for run in runs
            for number, budget in enumerate(design.rounds, start=1)
            if run.planes_file(number).is_file() and slice_id.volume in (planes := read_planes(run.planes_file(number)))
        }
        if predictions:
            image = np.asarray(stack.images[stack.row(slice_id), 0], dtype=np.float32)
            title = f"{slice_id.volume}, slice {slice_id.index + 1}"
            reference = _on_grid(benchmark, truth[slice_id.index], slice_id)
            found.append(AgreementView(title, image, reference, predictions))
    return tuple(found)


def _on_grid(benchmark: Benchmark, labels: np.ndarray, slice_id: SliceId) -> np.ndarray:
    return benchmark.stack.to_overview(labels, slice_id.volume)
