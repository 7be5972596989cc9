"""Measures the seconds that every strategy takes to select, and those of one prediction of every slice.

Each strategy chooses 20 slices of generated pools of growing size, every measurement in a process of its own. Sizes
whose time would exceed the limit, by the growth between the sizes before, are not run; the table shows the expected
seconds with a "~". Networks have random weights, and embeddings that are trained once a cohort (the learned metric, the
infoVAE) are random numbers of the right width: their training is not part of a round. With ``--given`` the scores of
predictions and the model's features are random numbers too: only the selection itself is measured. Add the predictions
that a strategy needs, each pass as long as "one prediction". Strategies that ask the model for something else
(learning-loss for its head, badge and usim for gradients) are as slow as without.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ActiveSegmentationLib.acquisition import (
    Pool,
    PoolStatistics,
    RoundPlan,
    ScoreSpec,
    Sources,
    create_strategy,
    strategy_names,
)
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.seeds import generator

BUDGET = 20
CLASSES = 3
SLICES_OF_A_VOLUME = 35
WIDTHS = {"learned": 512, "infovae": 32, "pixels": 1024, "segmenter": 128, "segmenter-map": 1152}
BASELINE = "one prediction"


class GeneratedStack:
    """Smooth random images, computed when asked, so that 100,000 slices need no memory."""

    channels = 1

    def __init__(self, slices: int, side: int) -> None:
        self.index = np.arange(slices) % SLICES_OF_A_VOLUME
        self.volume_number = np.arange(slices) // SLICES_OF_A_VOLUME
        self.patient_number = self.volume_number
        self.position = (self.index + 0.5) / SLICES_OF_A_VOLUME
        self.blank = np.zeros(slices, dtype=bool)
        self.grid_shape = (side, side)
        self.key = f"generated-{slices}-{side}"
        self._names = [f"volume{number:05d}" for number in range(int(self.volume_number[-1]) + 1)]
        self.patients = tuple(self._names)
        self._coarse = np.random.default_rng(0).normal(size=(slices, 1, 6, 6)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.index)

    def inside(self, rows: Any) -> np.ndarray:
        return np.ones((len(rows), *self.grid_shape), dtype=bool)

    def slice_id(self, row: int) -> SliceId:
        return SliceId(self._names[self.volume_number[row]], int(self.index[row]))

    def volume(self, volume_id: str) -> Any:
        return SimpleNamespace(id=volume_id, patient=volume_id)

    def batches(self, rows: Any, device: str = "cpu") -> Any:
        import torch

        coarse = torch.from_numpy(self._coarse[np.asarray(rows)]).to(device)
        return torch.nn.functional.interpolate(coarse, self.grid_shape, mode="bilinear")


class GivenPool(Pool):
    """A pool whose scores of predictions are random numbers."""

    def scores(self, spec: ScoreSpec) -> np.ndarray:
        from ActiveSegmentationLib.uncertainty import CLASS_SCORES

        def draw(rows: np.ndarray) -> np.ndarray:
            shape = (len(rows), CLASSES) if spec.name in CLASS_SCORES else (len(rows),)
            values = np.random.default_rng(2).random(shape)
            return np.asarray(values / values.sum(-1, keepdims=True) if len(shape) > 1 else values, dtype=np.float32)

        return self.per_item(("given", *spec), draw)


def make_pool(slices: int, side: int, strategy: Any, device: str, given: bool = False) -> Pool:
    """A pool of ``slices`` slices, one in a hundred annotated, with an ensemble of two random networks."""
    from ActiveSegmentationLib.segmentation import Ensemble, SegmentationModel, TrainingSettings
    from ActiveSegmentationLib.segmentation.network import build_network

    stack = GeneratedStack(slices, side)
    settings = TrainingSettings(loss_head=bool(strategy and strategy.loss_head))
    count = 2 if strategy is not None and "members" in strategy.needs else 1
    networks = [build_network(1, CLASSES, settings, seed=seed).eval() for seed in range(count)]
    model = Ensemble(tuple(SegmentationModel(n, 1, CLASSES, settings, str(i)) for i, n in enumerate(networks)))
    annotated = [stack.slice_id(row) for row in range(0, slices, 100)]
    pixels = {slice_id: np.array([2000, 150, 150]) for slice_id in annotated}
    extents = {name: (8, 26) for name in stack.patients}

    def embedder(kind: str) -> Any:
        if kind.startswith("segmenter") and not given:
            return lambda rows: model.features(stack, rows, flatten=kind == "segmenter-map", compute=Compute(device))
        width = WIDTHS[kind.partition(":")[0]]
        return lambda rows: np.random.default_rng(1).normal(size=(len(rows), width)).astype(np.float32)

    kinds = ("segmenter", *(strategy.embeddings if strategy else ()))
    return (GivenPool if given else Pool)(
        stack,  # type: ignore[arg-type]
        np.arange(slices),
        annotated=annotated,
        statistics=PoolStatistics(pixels, {}, extents, lambda rows: np.ones((len(rows), CLASSES), dtype=bool)),
        plan=RoundPlan(number=2),
        sources=Sources(
            model,
            {kind: embedder(kind) for kind in kinds},
            strategy.score_specs if strategy else (),
            Compute(device),
        ),
    )


def measure(name: str, slices: int, side: int, device: str, threads: int, given: bool, answer: Any) -> None:
    """Send the seconds of one selection, or of one prediction of every slice."""
    import torch

    from ActiveSegmentationLib.uncertainty import Deterministic

    torch.set_num_threads(threads)
    strategy = None if name == BASELINE else create_strategy(name)
    pool = make_pool(slices, side, strategy, device, given and strategy is not None)
    pool.stack.batches([0])
    start = time.perf_counter()
    if strategy is None:
        pool.scores(ScoreSpec(Deterministic(), "entropy"))
    else:
        choices = strategy.select(pool, BUDGET, generator(0, "benchmark"))
        assert len(choices) == BUDGET
    answer.send(time.perf_counter() - start)


def run(name: str, slices: int, options: argparse.Namespace) -> float | None:
    """Seconds, None if the process died or exceeded three times the limit."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    settings = (options.side, options.device, options.threads, options.given)
    task = context.Process(target=measure, args=(name, slices, *settings, sender))
    task.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(3 * options.limit + 60) else None
    except EOFError:
        return None
    finally:
        task.kill()
        task.join()


def expected(sizes: list[int], seconds: list[float], size: int) -> float:
    """Seconds of a larger size if time goes on growing as between the two largest measured, at least in proportion."""
    if len(seconds) < 2:
        return seconds[-1] * size / sizes[-1]
    power = np.log(max(seconds[-1], 1e-3) / max(seconds[-2], 1e-3)) / np.log(sizes[-1] / sizes[-2])
    return float(seconds[-1] * (size / sizes[-1]) ** max(1.0, power))


def main() -> None:
    """Print a table, and write it to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategies", default="", help="names, separated by commas; default: all")
    parser.add_argument("--slices", default="1500,6000,100000", help="sizes of the pool, ascending")
    parser.add_argument("--side", type=int, default=48, help="rows and columns of a slice")
    parser.add_argument("--limit", type=float, default=120, help="maximum expected seconds of a measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--given", action="store_true", help="take predictions as given and measure the selection only")
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    options = parser.parse_args()
    names = [BASELINE, *(options.strategies.split(",") if options.strategies else strategy_names())]
    sizes = [int(size) for size in options.slices.split(",")]
    print(json.dumps({"threads": options.threads, "device": options.device, "side": options.side, "budget": BUDGET}))
    print(f"{'strategy':30}" + "".join(f"{size:>14,}" for size in sizes))
    rows = []
    for name in names:
        seconds: list[float] = []
        cells: list[str] = []
        for size in sizes:
            guess = expected(sizes[: len(seconds)], seconds, size) if seconds else 0.0
            if guess > options.limit or len(cells) > len(seconds):
                cells.append(f"~{guess:.0f}" if seconds else "failed")
                continue
            found = run(name, size, options)
            if found is None:
                cells.append("failed")
                continue
            seconds.append(found)
            cells.append(f"{found:.2f}" if found < 10 else f"{found:.0f}")
        rows.append([name, *cells])
        print(f"{name:30}" + "".join(f"{cell:>14}" for cell in cells))
        sys.stdout.flush()
        if options.out:
            with options.out.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["strategy", *sizes], *rows])


if __name__ == "__main__":
    main()
