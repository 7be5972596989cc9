"""The upper bound of an experiment: models trained on the whole pool, one for each seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import Role, SliceId
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.evaluation import UPPER_BOUND, RequestRow, ResultRow
from ActiveSegmentationLib.experiment.design import RunContext
from ActiveSegmentationLib.experiment.run import Run
from ActiveSegmentationLib.study import SliceAnnotation

REASON = "Every slice of the pool is annotated for the upper bound."


class UpperBound(Run):
    """A run with one round, in which every slice of the pool is annotated (Ozdemir 2021, FCN_Upperbound).

    Its rows have the strategy ``UPPER_BOUND``. It has no requests.

    Args:
        folder: The run's folder.
        seed: Seed of the training, unless the design has a seed for it.
        context: What all runs share.
    """

    def __init__(self, folder: Path, seed: int, context: RunContext) -> None:
        design = context.design
        whole = replace(
            design,
            rounds=(len(design.rows[Role.POOL]),),
            initial="",
            initial_sets=None,
            diagnostics=False,
        )
        super().__init__(folder, "random", seed, replace(context, design=whole))
        self.strategy = UPPER_BOUND

    def results(self) -> tuple[list[ResultRow], list[RequestRow], list[dict[str, Any]]]:
        """Result rows and timings of the finished round, without the requests of every slice."""
        results, _, timings = super().results()
        return results, [], timings

    def _choose(
        self, number: int, count: int, annotations: dict[SliceId, SliceAnnotation], compute: Compute
    ) -> list[dict[str, Any]]:
        rows = self._design.rows[Role.POOL]
        return [self._request(slice_id, None, REASON) for slice_id in self._stack.slice_ids(rows)]
