"""What strategies select if one case is in the pool many times.

Foellmer et al. 2024, Appendix E: one scan of the hippocampus cohort is copied 100 times after the first round; of a
query set of 1,000 slices 45 % are of that scan, of a batch of 100 picked for it by USIMF 18 %, of a batch drawn evenly
from it 45 %.
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import numpy as np
from first_round import add_options, prepare

from ActiveSegmentationLib.acquisition import Pool, ScoreSpec, Sources, create_strategy
from ActiveSegmentationLib.acquisition.usim import Usim
from ActiveSegmentationLib.cohort import SliceId, SliceStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.files import write_bytes
from ActiveSegmentationLib.common.progress import TqdmProgress
from ActiveSegmentationLib.common.seeds import generator
from ActiveSegmentationLib.evaluation.drawing import FAINT, INK, LINE_COLORS, new_figure, tidy, to_png
from ActiveSegmentationLib.uncertainty import Deterministic

EVEN_DRAWS = 200
"""Number of batches drawn uniformly from the query set; the mean is reported."""


class Copied:
    """A stack in which the slices of one volume are there ``copies`` times more, as volumes of their own.

    Args:
        stack: The cohort's slices.
        case: Id of the volume.
        copies: Number of copies.
    """

    def __init__(self, stack: SliceStack, case: str, copies: int) -> None:
        own = stack.volume_rows(case)
        number = int(stack.volume_number[own[0]])
        self.source = np.concatenate([np.arange(len(stack)), np.tile(own, copies)])
        """Row of the stack behind each row of this one."""
        self.copied = stack.volume_number[self.source] == number
        """(n,) bool: slices of the case and of its copies."""
        self.key, self.channels, self.grid_shape = f"{stack.key}-{case}-{copies}", stack.channels, stack.grid_shape
        self.patients = stack.patients
        self.index, self.position = stack.index[self.source], stack.position[self.source]
        self.blank = np.asarray(stack.blank)[self.source]
        self.patient_number = stack.patient_number[self.source]
        first = len(stack.volumes)
        added = np.repeat(np.arange(first, first + copies), len(own))
        self.volume_number = np.concatenate([stack.volume_number, added])
        names = [SimpleNamespace(id=f"{case} copy {copy + 1:03d}") for copy in range(copies)]
        self.volumes = [*stack.volumes, *names]
        self._stack = stack

    def slice_id(self, row: int) -> SliceId:
        """Slice of a row."""
        return SliceId(self.volumes[self.volume_number[row]].id, int(self.index[row]))

    def inside(self, rows: np.ndarray) -> np.ndarray:
        """Which pixels of the rows are not padding."""
        return self._stack.inside(self.source[rows])

    def batches(self, rows: np.ndarray, device: str = "cpu"):  # a tensor
        """Images of rows."""
        return self._stack.batches(self.source[rows], device)


def main() -> None:
    """Print and draw the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--case", default="hippocampus_172", help="volume that is copied")
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--queries", type=int, default=0, help="members of the query set, 0 for the knee")
    options = parser.parse_args()
    first = prepare(options, keep=options.case)
    stack = Copied(first.stack, options.case, options.copies)
    usim = {name: create_strategy(f"{name}/queries={options.queries}") for name in ("usim-fisher", "usim-cosine")}
    usim["usim-fisher, same length"] = create_strategy(f"usim-fisher/queries={options.queries}/normalise=yes")
    progress = TqdmProgress()
    pool = Pool(
        stack,  # type: ignore[arg-type]
        np.arange(len(stack.source)),
        annotated=first.annotated,
        statistics=first.statistics,
        sources=Sources(
            first.model,
            score_specs=usim["usim-fisher"].score_specs,
            compute=Compute(first.compute.device, progress=progress),
        ),
    )
    copied, source = stack.copied[pool.rows], stack.source[pool.rows]
    candidates = np.flatnonzero(pool.allowance().mask)
    one = usim["usim-fisher"]
    assert isinstance(one, Usim)
    queries = one.query_set(pool, options.budget, generator(options.seed, "redundancy"))
    drawn = np.repeat(queries.positions, queries.counts)
    batches: dict[str, list[np.ndarray]] = {}
    for name, strategy in usim.items():
        choices = strategy.select(pool, options.budget, generator(options.seed, "redundancy"))  # the same query set
        place_of = {slice_id: place for place, slice_id in enumerate(pool.ids)}
        batches[name] = [np.array([place_of[choice.slice] for choice in choices])]
    rng = generator(options.seed, "even draws")
    size = min(options.budget, len(queries.positions))
    batches["evenly from the query set"] = [rng.choice(drawn, size, replace=False) for _ in range(EVEN_DRAWS)]
    uncertain = np.argsort(-one.uncertainty(pool)[candidates], kind="stable")
    batches["highest weighted variance"] = [candidates[uncertain[: options.budget]]]
    entropy = np.argsort(-pool.scores(ScoreSpec(Deterministic(), "entropy"))[candidates], kind="stable")
    batches["highest entropy"] = [candidates[entropy[: options.budget]]]
    batches["random"] = [rng.choice(candidates, options.budget, replace=False) for _ in range(EVEN_DRAWS)]
    progress.close()
    shares = {"pool": float(copied[candidates].mean()), "query set": float(copied[drawn].mean())}
    print(
        f"{len(candidates)} slices may be picked, {len(first.annotated)} annotated, {options.copies} copies of "
        f"{options.case}, query set of {len(drawn)} ({len(queries.positions)} different), batches of {options.budget}"
    )
    print(f"{'':28} of the case   different images")
    for name, share in shares.items():
        print(f"{name:28} {share:11.1%}")
    for name, own in batches.items():
        shares[name] = float(np.mean([copied[batch].mean() for batch in own]))
        different = np.mean([len(np.unique(source[batch])) / len(batch) for batch in own])
        print(f"{name:28} {shares[name]:11.1%} {different:18.1%}")
    figure = new_figure(7.0, 0.45 * len(shares) + 1.0)
    axes = figure.add_subplot()
    places = np.arange(len(shares))[::-1]
    colors = [FAINT if place < 2 else LINE_COLORS[0] for place in range(len(shares))]
    axes.barh(places, [100 * share for share in shares.values()], color=colors, height=0.65)
    for place, share in zip(places, shares.values(), strict=True):
        axes.text(100 * share + 1, place, f"{share:.0%}", va="center", fontsize=10, color=INK)
    axes.set_yticks(places, list(shares), fontsize=10, color=INK)
    tidy(axes)
    axes.set_xlabel(f"part that is of the case copied {options.copies} times (%)", fontsize=11, color=INK)
    axes.set_xlim(0, 108)
    figure.tight_layout()
    write_bytes(options.out / "redundancy.png", to_png(figure))


if __name__ == "__main__":
    main()
