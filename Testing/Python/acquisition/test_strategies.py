from __future__ import annotations

import collections
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from acquisition_fakes import FakeStack, fake_pool

from ActiveSegmentationLib.acquisition import (
    Balanced,
    Bald,
    Choice,
    Constraints,
    CoreGCN,
    Coreset,
    Entropy,
    FacilityLocation,
    Margin,
    Option,
    PerSecond,
    Power,
    Prefilter,
    Product,
    Random,
    Strategy,
    Strided,
    check_choices,
    create_strategy,
    registry,
)
from ActiveSegmentationLib.acquisition.ranking import best, significant
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.loop import choose_slices

ROOT = Path(__file__).parents[3]


def picked(name, pool, budget, seed=0):
    return [choice.slice for choice in choose_slices(create_strategy(name), pool, budget, generator(seed, "test"))]


def test_random_is_uniform():
    stack = FakeStack(1, 10)
    counts = collections.Counter(picked("random", fake_pool(stack), 1, seed)[0].index for seed in range(2000))
    chi_square = sum((counts[i] - 200) ** 2 / 200 for i in range(10))
    assert chi_square < 27.9  # 99.9 % point of the chi-square distribution with 9 degrees of freedom


def test_random_rounds_differ():
    pool = fake_pool()
    first = choose_slices(create_strategy("random"), pool, 5, generator(0, "acquisition", "random", 1))
    second = choose_slices(create_strategy("random"), pool, 5, generator(0, "acquisition", "random", 2))
    assert first != second


@pytest.mark.parametrize("name", ["balanced-random", "strided"])
def test_volumes_get_equal_numbers(name):
    counts = collections.Counter(s.volume for s in picked(name, fake_pool(), 15))
    assert sorted(counts.values()) == [2, 2, 2, 3, 3, 3] or set(counts.values()) <= {2, 3}
    assert len(counts) >= 5


def test_balanced_random_serves_poor_volumes_first():
    annotated = [SliceId(f"volume{v:02d}", 0) for v in range(5)]
    assert picked("balanced-random", fake_pool(annotated=annotated), 1)[0].volume == "volume05"


@pytest.mark.parametrize("seed", range(10))
def test_balanced_random_equals_its_description(seed):
    annotated = [SliceId("volume00", 0), SliceId("volume00", 1), SliceId("volume03", 4)]
    pool = fake_pool(annotated=annotated, constraints=Constraints(max_per_volume=8))
    rng = generator(seed, "test")
    slice_order, volume_order = rng.permutation(60), rng.permutation(6)
    taken, expected = [2, 0, 0, 1, 0, 0], []
    while len(expected) < 40:
        open_slices = [i for i in range(60) if not pool.annotated[i] and i not in expected]
        limited = {v for v in range(6) if sum(i // 10 == v for i in expected) == 8}
        volume = min({i // 10 for i in open_slices} - limited, key=lambda v: (taken[v], volume_order[v]))
        expected.append(min((i for i in open_slices if i // 10 == volume), key=lambda i: slice_order[i]))
        taken[volume] += 1
    assert picked("balanced-random", pool, 40, seed) == [pool.ids[i] for i in expected]


@pytest.mark.parametrize("count", [5, 10, 23])
@pytest.mark.parametrize("per_volume", [1, 2, 3, 5])
def test_strided_gaps(count, per_volume):
    for seed in range(20):
        indices = sorted(
            s.index for s in picked(f"strided:{per_volume}", fake_pool(FakeStack(1, count)), per_volume, seed)
        )
        gaps = np.diff([-1, *indices, count])
        assert len(set(indices)) == per_volume
        assert gaps.max() <= -(-count // per_volume) + 1


def test_strided_round_covers_the_whole_range():
    positions = sorted(s.index for s in picked("strided", fake_pool(FakeStack(10, 10)), 10))
    assert positions == list(range(10))


def test_strided_moves_to_the_nearest_open_slice():
    annotated = [SliceId("volume00", i) for i in range(3, 10)]
    chosen = picked("strided:3", fake_pool(FakeStack(1, 10), annotated=annotated), 3)
    assert sorted(s.index for s in chosen) == [0, 1, 2]


@pytest.mark.parametrize(
    "name",
    [
        "nonsense",
        "random:3",
        "random/size=3",
        "random/",
        "random/=1",
        "coreset:nonsense",
        "strided:0",
        "strided:x",
        "group-contrastive-coreset:x",
        "group-contrastive-coreset:volume=x",
        "coregcn:pixels:volume",
        "coreset:learned:",
        "typiclust:learned:x",
        "probcover:everywhere",
        "probcover/purity=2",
    ],
)
def test_wrong_names_are_refused_in_words(name):
    with pytest.raises(BadInput) as error:
        create_strategy(name)
    assert error.value.advice


@pytest.mark.parametrize("options", [{"max_per_volume": 0}, {"max_per_patient": -1}, {"min_gap": -1}])
def test_wrong_limits_are_refused(options):
    with pytest.raises(BadInput):
        Constraints(**options)


def test_answers_of_foreign_strategies_are_checked():
    pool = fake_pool(annotated=[SliceId("volume00", 0)])
    fine = SliceId("volume00", 1)
    with pytest.raises(BadInput, match="volume00"):
        check_choices([Choice(fine, float("nan"), "")], pool, 5)
    for wrong in ([Choice(fine, 1.0, ""), Choice(fine, 1.0, "")], [Choice(SliceId("volume00", 0), 1.0, "")]):
        with pytest.raises(ValueError, match="may not be picked"):
            check_choices(wrong, pool, 5)
    with pytest.raises(ValueError, match="not in the pool"):
        check_choices([Choice(SliceId("elsewhere", 0), 1.0, "")], pool, 5)
    with pytest.raises(ValueError, match="budget"):
        check_choices([Choice(fine, 1.0, "")] * 3, pool, 2)


def test_packages_can_add_strategies(monkeypatch):
    class Point:
        name, value, dist = "from-a-package", "package:Strided", None

        def load(self):
            return Plain

    monkeypatch.setattr(registry, "_entry_points", lambda: [Point()])
    made = create_strategy("from-a-package:7/size=3/flip=yes")
    assert (made.where, made.size, made.flip) == ("7", 3.0, True)
    assert made.select(fake_pool(), 2, generator(0))[0].reason == "Because."
    assert "from-a-package" in registry.strategy_names()
    with pytest.raises(BadInput, match="is not allowed"):
        create_strategy("from-a-package/size=-1")


class Plain(Strategy):
    """A strategy of another package that is not a dataclass."""

    name = "plain"
    summary = "A test."

    def __init__(
        self,
        where: Annotated[str | None, Option("where", argument=True)] = None,
        *,
        size: Annotated[float, Option("how large", least=0)] = 1.0,
        flip: Annotated[bool, Option("turned round")] = False,
    ) -> None:
        self.where, self.size, self.flip = where, size, flip

    def select(self, pool, budget, rng):
        return [Choice(pool.ids[0], None, "Because.")]


@pytest.mark.parametrize("wrong", [lambda argument, options: None, 3, dict])
def test_what_is_not_a_strategy_class_is_refused_with_its_package(monkeypatch, wrong):
    class Point:
        name, value, dist = "odd", "package:factory", None

        def load(self):
            return wrong

    monkeypatch.setattr(registry, "_entry_points", lambda: [Point()])
    with pytest.raises(BadInput, match=r"package:factory: .* not a subclass of Strategy"):
        create_strategy("odd")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("power:bald/beta=5/passes=20", Power(Bald(passes=20), beta=5.0)),
        ("power/rank=yes", Power(Entropy(), rank=True)),
        ("strided:3", Strided(3)),
        ("coreset:learned:all/first=typical", Coreset("learned:all", first="typical")),
        ("coregcn/lambda=2", CoreGCN(lambda_=2.0)),
        ("prefilter:margin+coreset:pixels/factor=3", Prefilter(Coreset("pixels"), Margin(), factor=3.0)),
        ("balanced/foreground=0.66/batches=5/trim=0.1", Balanced(trim=0.1, foreground=0.66, batches=5)),
        ("facility-location/annotated=no", FacilityLocation(annotated=False)),
    ],
)
def test_names_and_constructors_make_the_same_strategies(name, expected):
    assert create_strategy(name) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: Power(beta=0.0),
        lambda: Power(rank="yes"),
        lambda: Power(Random()),
        lambda: Bald(passes=2.5),
        lambda: Balanced(balance="slice"),
        lambda: Prefilter(Entropy(), Coreset()),
        lambda: Strided(0),
        lambda: Coreset("everywhere"),
    ],
)
def test_constructors_refuse_what_cannot_be_used(make):
    with pytest.raises(BadInput) as error:
        make()
    assert error.value.advice


def test_an_option_that_has_no_name_of_its_own_is_not_written_as_another():
    with pytest.raises(BadInput, match="weight"):
        str(Product(Coreset(), PerSecond(weight=2.0)))
    assert str(Product(Coreset(), Entropy(), weight=2.0)) == "product:coreset+entropy/weight=2.0"


def test_names_summaries_and_options_cost_no_torch():
    code = """
import builtins, sys
real = builtins.__import__
def refuse(name, *rest, **more):
    if name.partition(".")[0] in ("torch", "monai", "sklearn", "scipy", "pandas"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, *rest, **more)
builtins.__import__ = refuse
from ActiveSegmentationLib.acquisition import Situation, create_strategy, strategies
print(len([info.to_json() for info in strategies(Situation(1, False))]))
create_strategy("power:bald/beta=5")
assert not {"torch", "monai", "sklearn", "scipy"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= len(registry.BUILT_IN)


def test_numbers_without_digits_are_nothing_to_rank_by():
    np.testing.assert_allclose(significant(np.array([1e-320, 1.0, 0.0])), [0.0, 1.0, 0.0], rtol=1e-12)
    assert best(np.array([1e-320, 1.0, 0.5]), np.ones(3, dtype=bool)) == 1


@pytest.mark.parametrize("name", ["power:entropy/beta=inf", "per-second:learning-loss", "power:learning-loss"])
def test_values_that_mean_nothing_are_refused_before_any_work(name):
    with pytest.raises(BadInput):
        create_strategy(name)


def test_a_slip_in_an_option_of_a_wrapper_lists_all_its_options():
    with pytest.raises(BadInput) as error:
        create_strategy("power:bald/bta=2")
    assert {"beta", "rank", "passes"} <= set(error.value.advice.replace(".", "").replace(",", "").split())


def test_options_reach_a_wrapped_score_within_a_combination():
    strategy = create_strategy("product:coreset+per-second:bald/passes=3")
    assert strategy.scorer.wrapped.passes == 3


def test_a_broken_package_is_named_and_hides_no_other_strategy(monkeypatch):
    class Point:
        name, value, dist = "broken", "package:factory", None

        def load(self):
            raise ModuleNotFoundError("No module named 'package'")

    monkeypatch.setattr(registry, "_entry_points", lambda: [Point()])
    with pytest.raises(BadInput, match="package:factory: The strategy 'broken' cannot be loaded"):
        create_strategy("broken")
    found = {info.name: info for info in registry.strategies()}
    assert "cannot be loaded" in found["broken"].unavailable_reason
    assert found["recommended"].unavailable_reason == ""
    assert next(iter(found)) == "recommended"


def test_options_of_what_is_wrapped_are_listed():
    found = {info.name: info for info in registry.strategies()}
    assert {"beta", "aggregate"} <= set(found["power"].options)


def test_a_strategy_loads_only_the_modules_that_it_needs():
    code = """
import sys
from ActiveSegmentationLib.acquisition import create_strategy, strategy_names
strategy_names()
create_strategy("random")
loaded = {name.rpartition(".")[2] for name in sys.modules if name.startswith("ActiveSegmentationLib.acquisition.")}
print(*sorted(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == [
        "base",
        "constraints",
        "options",
        "pool",
        "random_choice",
        "ranking",
        "registry",
        "round_inputs",
    ]


def test_no_import_goes_round_in_a_circle():
    folder = ROOT / "ActiveSegmentationLib" / "acquisition"
    prefix = "from ActiveSegmentationLib.acquisition."
    arrows = {
        path.stem: {
            line.strip().removeprefix(prefix).split()[0] for line in path.read_text().splitlines() if prefix in line
        }
        for path in folder.glob("*.py")
        if path.stem != "__init__"
    }
    assert arrows["wrappers"] >= {"base", "uncertain"}
    while ready := [name for name, targets in arrows.items() if not targets & set(arrows)]:
        for name in ready:
            del arrows[name]
    assert not arrows
