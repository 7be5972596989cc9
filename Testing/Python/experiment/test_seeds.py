"""A seed varies everything that is drawn in a run, and parts of it can be set apart."""

from __future__ import annotations

import csv
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import read_json
from ActiveSegmentationLib.experiment import read_initial_sets, run, run_benchmark, service

SEEDS = (0, 1, 2)

RANDOM = (
    "random",
    "balanced-random",
    "strided",
    "recommended",
    "balanced:entropy",
    "foreground-random:oracle",
    "entropy",
    "dropout-jsd/passes=2",
    "tta-jsd/passes=2",
    "stochastic-batches:margin",
    "power:entropy",
    "clasp-pe",
    "coreset:pixels",
    "group-contrastive-coreset",
    "typiclust",
    "probcover",
    "coregcn:pixels/steps=5",
    "vaal/steps=3",
    "sample-ratio",
    "suggestive-annotation/passes=2",
    "badge/parameters=50",
    "product:coreset:pixels+entropy",
)
"""Strategies with randomness of their own or in what they look at: draws, learned networks, dropout, models."""

FALLING_BACK = ("entropy", "dropout-jsd/passes=2", "clasp-pe", "power:entropy", "suggestive-annotation/passes=2")
"""Of these, those that need a model and draw the same slices before there is one."""


def requests_of(out) -> dict[tuple[str, int], list[list[tuple[str, int]]]]:
    """Requests by run, a list for each round."""
    found: dict[tuple[str, int], list[list[tuple[str, int]]]] = {}
    for folder in sorted((out / "runs").iterdir()):
        strategy, _, seed = folder.name.rpartition("-seed")
        rounds = sorted(folder.glob("round-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
        asked = [[(r["volume"], r["slice"]) for r in read_json(path)["requests"]] for path in rounds]
        found[strategy, int(seed)] = asked
    return found


@pytest.fixture(scope="module")
def all_strategies(phantom_cohort, tmp_path_factory):
    """Every strategy with three seeds, each choosing from the first slice on."""
    from ActiveSegmentationLib.cohort import Role, StackSettings, discover, with_roles
    from ActiveSegmentationLib.experiment import BenchmarkOptions
    from ActiveSegmentationLib.loop import LoopSettings

    settings = LoopSettings(stack=StackSettings(spacing=4.5, size=(32, 32)))
    training = replace(settings.training, steps=2, batch_size=2, features=(8, 8, 8, 8, 8))
    embedding = replace(settings.embedding, steps=1, width=8, batch_size=8)
    out = tmp_path_factory.mktemp("seeds")
    options = BenchmarkOptions(
        cohort=with_roles(discover(phantom_cohort), {Role.TEST: ("patient004",)}),
        name="phantom",
        strategies=RANDOM,
        rounds="4",
        seeds=SEEDS,
        out=out,
        initial="",
        metrics=("dice",),
        settings=replace(settings, training=training, embedding=embedding),
        device="cpu",
    )
    with pytest.MonkeyPatch.context() as patch:  # the first choices are looked at, not what comes of them
        patch.setattr(service, "write_outcome", lambda *_, **__: None)
        patch.setattr(
            run,
            "train",
            lambda *_, **__: SimpleNamespace(key="untrained", members=[SimpleNamespace(settings=training)]),
        )
        patch.setattr(run, "evaluate_volumes", lambda *_, **__: [])
        run_benchmark(options)
    return options


@pytest.fixture(scope="module")
def asked_by_all(all_strategies):
    return requests_of(all_strategies.out)


@pytest.mark.parametrize("strategy", RANDOM)
def test_three_seeds_ask_for_other_slices(asked_by_all, strategy):
    name = strategy.replace(":", "=").replace("/", ",")
    asked = [asked_by_all[name, seed] for seed in SEEDS]
    assert all(asked[a] != asked[b] for a, b in ((0, 1), (0, 2), (1, 2)))


def test_learned_networks_are_trained_for_every_seed(all_strategies):
    for folder, kinds in (("encoders", 2), ("autoencoders", 1)):  # with the losses of groups and without
        assert len(list((all_strategies.out / "cache" / folder).glob("cohort-*.json"))) == kinds * len(SEEDS)


def test_strategies_that_fall_back_start_from_the_same_slices(asked_by_all):
    names = [name.replace(":", "=").replace("/", ",") for name in (*FALLING_BACK, "balanced-random")]
    for seed in SEEDS:
        assert len({tuple(asked_by_all[name, seed][0]) for name in names}) == 1


def key_of_model(options, seed: int) -> str:
    return read_json(options.out / "runs" / f"random-seed{seed}" / "round-1.json")["model"]


def test_the_first_slices_can_be_the_same_while_trainings_differ(make_options):
    options = make_options(rounds="2,4", seeds=(0, 1), initial_seed=7)
    run_benchmark(options)
    (first, second) = (requests_of(options.out)["random", seed] for seed in (0, 1))
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert key_of_model(options, 0) != key_of_model(options, 1)


def test_trainings_can_be_the_same_where_slices_are(make_options):
    options = make_options(rounds="2", seeds=(0, 1), initial_seed=7, training_seed=3)
    run_benchmark(options)
    assert key_of_model(options, 0) == key_of_model(options, 1)


def test_other_seeds_are_another_experiment(make_options):
    run_benchmark(make_options(rounds="2"))
    with pytest.raises(BadInput, match="other settings"):
        run_benchmark(make_options(rounds="2", training_seed=3))


def write_sets(path, rows, header=("seed", "volume", "slice")):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_given_slices_are_the_first_round(make_options, tmp_path):
    options = make_options(strategies=("random", "entropy"), rounds="2,4", seeds=(0, 4))
    volumes = [volume.id for volume in options.cohort.volumes if volume.role == "pool"]
    rows = [(0, volumes[0], 1), (4, volumes[1], 2), (0, volumes[1], 5), (4, volumes[2], 3), (9, volumes[0], 1)]
    options = replace(options, initial_sets=write_sets(tmp_path / "sets.csv", rows))
    run_benchmark(options)
    asked = requests_of(options.out)
    for strategy in options.strategies:
        assert asked[strategy, 0][0] == [(volumes[0], 0), (volumes[1], 4)]
        assert asked[strategy, 4][0] == [(volumes[1], 1), (volumes[2], 2)]
        assert len(asked[strategy, 4][1]) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, "a", 1)], "1 slices, but the first round has 2"),
        ([(0, "a", 1), (0, "a", 1)], "named twice"),
        ([(0, "a", 0), (0, "a", 1)], "slices 1 to 5, not 0"),
        ([(0, "a", 6), (0, "a", 1)], "slices 1 to 5, not 6"),
        ([(0, "b", 1), (0, "a", 1)], "no volume 'b'"),
        ([("x", "a", 1)], "'x' in the column seed is not a whole number"),
        ([(0, "a", "1.5")], "'1.5' in the column slice is not a whole number"),
    ],
)
def test_sets_that_do_not_fit_are_refused_by_line(tmp_path, rows, message):
    with pytest.raises(BadInput, match=message):
        read_initial_sets(write_sets(tmp_path / "sets.csv", rows), (0,), {"a": 5}, 2)


def test_a_table_without_its_columns_is_refused(tmp_path):
    with pytest.raises(BadInput, match="The column seed is missing"):
        read_initial_sets(write_sets(tmp_path / "sets.csv", [("a", 1)], ("volume", "slice")), (0,), {"a": 5}, 1)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_table_of_a_spreadsheet_is_read(tmp_path, encoding):
    path = tmp_path / "sets.csv"
    path.write_text("Seed;Volume;Slice;note\r\n0;M\u00fcller;2;\r\n;;;\r\n0;M\u00fcller;5;x\r\n", encoding=encoding)
    found = read_initial_sets(path, (0,), {"M\u00fcller": 5}, 2)
    assert [slice_id.index for slice_id in found[0]] == [1, 4]
