"""Figures of the papers' statistics: what they show, and that they are the same files each time."""

import io

import numpy as np
import pytest
from PIL import Image

from ActiveSegmentationLib.evaluation import (
    UPPER_BOUND,
    AgreementView,
    BatchFacts,
    ClusterMap,
    CostModel,
    ResultRow,
    agreement_figure,
    agreement_overlay,
    box_figure,
    cluster_figure,
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

STRATEGIES = ("random", "group-contrastive-coreset:vepa2024-acdc", "entropy")


def rows():
    rng = np.random.default_rng(0)
    return [
        ResultRow("c", s, seed, n, b, b / 10, f"p{v}", f"v{v}", "LV", "dice", 0.4 + n / 10 + p / 20 + rng.random() / 50)
        for p, s in enumerate(STRATEGIES)
        for seed in range(4)
        for n, b in enumerate((10, 20, 40), start=1)
        for v in range(3)
    ]


def facts():
    return [BatchFacts("c", s, 0, n, 5, 3, 0.4, 0.2, 0.5, 0.9, n, float(n)) for s in STRATEGIES for n in (2, 3)]


def view():
    truth = np.zeros((40, 30), np.uint8)
    truth[10:20, 10:20] = 1
    found = {(strategy, budget): truth for strategy in STRATEGIES for budget in (10, 20)}
    return AgreementView("v, slice 3", truth.astype(float), truth, found)


def figures():
    curves, rng = learning_curves(rows()), np.random.default_rng(1)
    bound = ResultRow("c", UPPER_BOUND, 0, 1, 99, 100, "p", "v0", "LV", "dice", 0.9)
    points = ClusterMap("learned:ntxent", rng.random((20, 2)), np.arange(20) % 3, 0.5)
    return {
        "curve": draw_learning_curve([*rows(), bound]),
        "penalties": penalty_figure(penalty_matrix(rows())),
        "boxes": box_figure(curves),
        "difference": difference_figure(curves[0], curves[1]),
        "time": cost_figure(cost_curves(rows(), {"c": "scribble"}, CostModel(60, 4)), "hours"),
        "uncertainty": uncertainty_figure(facts()),
        "clusters": cluster_figure([points, points, points, points]),
        "agreement": agreement_figure(view()),
    }


NAMES = ("curve", "penalties", "boxes", "difference", "time", "uncertainty", "clusters", "agreement")


@pytest.fixture(scope="module")
def drawn():
    return figures()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off_and_there_is_a_vector_file(drawn, name):
    figure = drawn[name]
    png, svg = to_png(figure), to_svg(figure)
    image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert edge.min() > 150, "something is drawn over the edge"
    assert image.std() > 5
    assert b"<svg" in svg[:800]


def test_the_same_figure_gives_the_same_files():
    figures = [uncertainty_figure(facts()) for _ in range(2)]
    first, second = ([to_png(figure), to_svg(figure)] for figure in figures)
    assert first == second


def test_strategies_are_named_in_vector_files_as_text(drawn):
    for name in ("curve", "penalties", "boxes", "time", "uncertainty"):
        text = to_svg(drawn[name]).decode("utf-8")
        assert all(strategy in text for strategy in STRATEGIES), name


def test_the_penalty_figure_has_the_numbers_of_the_matrix(drawn):
    matrix = penalty_matrix(rows())
    texts = [text.get_text() for text in drawn["penalties"].axes[0].texts]
    assert texts.count("1.00") == int((matrix.penalties == 1).sum()) > 0


def test_the_upper_bound_is_a_line(drawn):
    assert any(text.get_text() == "all slices annotated" for text in drawn["curve"].axes[0].texts)


def test_boxes_hold_the_means_of_the_seeds(drawn):
    first = learning_curves(rows())[0]
    means = first.scores.mean(axis=1)[:, 0]
    heights = [line.get_ydata() for line in drawn["boxes"].axes[0].lines]
    assert any(np.allclose(each, np.median(means)) for each in heights if len(each) == 2)


def test_agreement_is_blue_disagreement_red_and_unlabelled_pixels_are_clear():
    truth = np.array([[1, 1, 0, 0, 255]], np.uint8)
    prediction = np.array([[1, 2, 3, 0, 1]], np.uint8)
    overlay = agreement_overlay(truth, prediction)[0]
    assert overlay[0, 2] > overlay[0, 0]
    assert overlay[1, 0] > overlay[1, 2]
    assert overlay[2, 0] > overlay[2, 2]
    assert list(overlay[:, 3] > 0) == [True, True, True, False, False]
