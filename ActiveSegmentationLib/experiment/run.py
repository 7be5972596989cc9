"""One run of an experiment: one strategy, one seed, all rounds, resumable after any kill."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.cohort import Role, SliceId
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_json, read_fields, remove_tree, write_json
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.common.sole_user import sole_user
from ActiveSegmentationLib.evaluation import RequestRow, ResultRow
from ActiveSegmentationLib.experiment.design import RunContext
from ActiveSegmentationLib.experiment.diagnostics import batch_uncertainty, uncertainty_against_error, write_planes
from ActiveSegmentationLib.loop import (
    SelectionRequest,
    SelectionState,
    TrainingData,
    VolumeScore,
    decided_settings,
    describe_device,
    evaluate_volumes,
    pool_statistics,
    resolve_device,
    settings_for,
    suggest,
    train,
    true_classes,
    true_extents,
    versions,
)
from ActiveSegmentationLib.segmentation import Ensemble, load_ensemble
from ActiveSegmentationLib.study import SliceAnnotation

PROGRAMS = ("activesegmentation", "torch")
"""Packages whose versions are listed with the seconds of a round."""


class Run:
    """One strategy with one seed over all rounds, in a folder of its own.

    Each finished round is one file, ``round-<n>.json``, written last and never changed. A run that is started again
    keeps the finished rounds and continues from there, within a training from its last checkpoint.

    Args:
        folder: The run's folder.
        strategy: Name of the strategy.
        seed: Seed of the choices, of learned networks and of the training, unless the design has a seed for them.
        context: What all runs share.
    """

    def __init__(self, folder: Path, strategy: str, seed: int, context: RunContext) -> None:
        self.folder, self.strategy, self.seed = folder, strategy, seed
        self._design, self._stack, self._annotator = context.design, context.stack, context.annotator
        self._cache, self._device = context.cache, context.device
        self._settings = replace(settings_for(strategy, context.design.settings), seed=seed)

    @property
    def rounds(self) -> int:
        """Number of rounds to do."""
        return len(self._design.rounds)

    def finished_rounds(self) -> int:
        """Number of rounds whose results are on disk."""
        count = 0
        while self._round_file(count + 1).is_file():
            count += 1
        return count

    def execute(
        self,
        progress: Progress | None = None,
        finished: Callable[[], None] | None = None,
        *,
        until: int | None = None,
    ) -> None:
        """Run the remaining rounds.

        Args:
            progress: Progress reporter.
            finished: Called after each of these rounds.
            until: Last round to do. Default: all.
        """
        progress = _Titled(or_silent(progress))
        annotations: dict[SliceId, SliceAnnotation] = {}
        for number, target in enumerate(self._design.rounds[:until], start=1):
            if not self._round_file(number).is_file():
                progress.title = f"{self.strategy}, seed {self.seed}, round {number} of {self.rounds}"
                if number == 1 and self._design.shares_first_round:
                    self._take_first_round(target, progress)
                else:
                    self._do_round(number, target, annotations, progress)
                if finished is not None:
                    finished()
            requests = [
                SliceId(r["volume"], r["slice"]) for r in read_fields(self._round_file(number), "requests")["requests"]
            ]
            annotations.update({a.slice: a for a in self._annotator.annotate(requests, number)})
            if number > 1:
                remove_tree(self._model_folder(number - 1))

    def results(self) -> tuple[list[ResultRow], list[RequestRow], list[dict[str, Any]]]:
        """Result rows, request rows and timings of the finished rounds."""
        results: list[ResultRow] = []
        requests: list[RequestRow] = []
        timings: list[dict[str, Any]] = []
        for number in range(1, self.finished_rounds() + 1):
            record = read_fields(self._round_file(number), "requests")
            results.extend(self._result_rows(number, record))
            requests.extend(self._request_rows(number, record))
            timings.append(self._timing(number, record))
        return results, requests, timings

    def _timing(self, number: int, record: dict[str, Any]) -> dict[str, Any]:
        """Seconds of a round, with device and versions, which older versions did not record."""
        about = {"strategy": self.strategy, "seed": self.seed, "round": number}
        programs = {name: record.get("versions", {}).get(name, "") for name in PROGRAMS}
        about["shared"] = "yes" if record.get("shared") else ""
        return {**about, **record["seconds"], "device": record.get("device", ""), **programs}

    def _round_file(self, number: int) -> Path:
        return self.folder / f"round-{number}.json"

    def model_folder(self) -> Path:
        """Folder of the last round's model."""
        return self._model_folder(self.rounds)

    def _model_folder(self, number: int) -> Path:
        return self.folder / f"model-{number}"

    def _take_first_round(self, target: int, progress: Progress) -> None:
        """Run the first round, which all strategies of a seed share, or copy it if another run has done it."""
        known = hash_json([self._design.to_json(), self._settings.to_json(), self._stack.key])[:16]
        folder = self._cache / "first-rounds" / f"{known}-seed{self.seed}"
        shared = copy.copy(self)
        shared.folder, shared.strategy = folder, self._design.initial or "given slices"
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with sole_user(folder / ".lock", progress, "computes the same first round"):
            if not shared.finished_rounds():
                shared._do_round(1, target, {}, progress)
        with explained(self.folder):
            shutil.copytree(shared._model_folder(1), self._model_folder(1), dirs_exist_ok=True)
        if shared.planes_file(1).is_file():
            with explained(self.folder):
                shutil.copyfile(shared.planes_file(1), self.planes_file(1))
        write_json(self._round_file(1), read_fields(shared._round_file(1)) | {"shared": True})

    def _do_round(
        self, number: int, target: int, annotations: dict[SliceId, SliceAnnotation], progress: Progress
    ) -> None:
        device = resolve_device(self._device)  # here, because a worker may have another one than who started it
        compute = Compute(device, progress=progress)
        started = time.perf_counter()
        requests = self._choose(number, target - len(annotations), annotations, compute)
        chosen = time.perf_counter()
        batch = [SliceId(r["volume"], r["slice"]) for r in requests]
        answers = self._annotator.annotate(batch, number)
        known = annotations | {answer.slice: answer for answer in answers}
        model = self._train(number, known, compute)
        trained = time.perf_counter()
        scored, choice = self._scored(model, compute)
        scores = self._evaluate(scored, compute)
        measured = self._measure(number, model, batch, known, compute) if self._design.diagnostics else {}
        record = {
            "annotated slices": len(known),
            "requests": requests,
            "scores": [[s.volume, s.class_name, s.metric, None if np.isnan(s.value) else s.value] for s in scores],
            "model": model.key,
            **choice,
            **decided_settings(model, self._settings),
            **measured,
            "versions": versions(),
            "device": describe_device(device),
            "seconds": {
                "choosing": round(chosen - started, 3),
                "training": round(trained - chosen, 3),
                "scoring": round(time.perf_counter() - trained, 3),
            },
        }
        write_json(self._round_file(number), record)

    def _train(self, number: int, annotations: dict[SliceId, SliceAnnotation], compute: Compute) -> Ensemble:
        design, seed = self._design, self._design.training_seed
        settings = self._settings if seed is None else replace(self._settings, seed=seed)
        warm = settings.training.warm_start and number > 1
        return train(
            TrainingData(self._stack, annotations, design.labels, design.rows[Role.VALIDATION], design.rows[Role.POOL]),
            settings,
            folder=self._model_folder(number),
            compute=compute,
            initial=load_ensemble(self._model_folder(number - 1)) if warm else None,
        )

    def _evaluate(self, model: Ensemble, compute: Compute) -> list[VolumeScore]:
        design = self._design
        rows, metrics = design.rows[Role.TEST], design.metrics
        return evaluate_volumes(
            model, self._stack, rows, design.labels, metrics=metrics, absent=design.absent, compute=compute
        )

    def _scored(self, model: Ensemble, compute: Compute) -> tuple[Ensemble, dict[str, Any]]:
        """The ensemble, or its member with the highest mean 3D Dice on the validation volumes (Vepa 2024), and what the
        record of the round says about the choice."""
        if self._design.scored == "ensemble" or len(model.members) == 1:
            return model, {}
        rows, labels, found = self._design.rows[Role.VALIDATION], self._design.labels, []
        for member in model.members:
            scores = evaluate_volumes(
                Ensemble((member,)), self._stack, rows, labels, metrics=("dice",), compute=compute
            )
            known = [score.value for score in scores if not np.isnan(score.value)]
            found.append(float(np.mean(known)) if known else -1.0)
        best = int(np.argmax(found))
        about = {"member": best, "validation Dice": [value if value >= 0 else None for value in found]}
        return Ensemble((model.members[best],)), {"scored": about}

    def _measure(
        self,
        number: int,
        model: Ensemble,
        batch: list[SliceId],
        known: dict[SliceId, SliceAnnotation],
        compute: Compute,
    ) -> dict[str, Any]:
        """The diagnostics of a round, for its record; writes the file with predictions of test planes."""
        design, stack = self._design, self._stack
        found: dict[str, Any] = {}
        if number > 1:
            before = load_ensemble(self._model_folder(number - 1))
            found["batch uncertainty"] = batch_uncertainty(before, stack, batch, compute)
        rows = np.array([row for row in design.rows[Role.POOL] if stack.slice_id(row) not in known], dtype=np.int64)
        against = uncertainty_against_error(model, stack, rows, design.labels, seed=self.seed, compute=compute)
        found["uncertainty against error"] = _or_null(against)
        write_planes(self.planes_file(number), model, stack, design.rows[Role.TEST], design.labels, compute)
        return found

    def planes_file(self, number: int) -> Path:
        """File with the predictions of a few test planes after a round, if the design has diagnostics."""
        return self.folder / f"planes-{number}.npz"

    def diagnostics(self) -> list[dict[str, Any]]:
        """The diagnostics of the finished rounds: "round", "batch uncertainty", "correlation" where they are known."""
        found = []
        for number in range(1, self.finished_rounds() + 1):
            record = read_fields(self._round_file(number), "requests")
            against = record.get("uncertainty against error", {})
            pair = {"batch uncertainty": record.get("batch uncertainty"), "correlation": against.get("correlation")}
            found.append({"round": number} | {name: value for name, value in pair.items() if value is not None})
        return found

    def _choose(
        self, number: int, count: int, annotations: dict[SliceId, SliceAnnotation], compute: Compute
    ) -> list[dict[str, Any]]:
        if number == 1 and self._design.initial_sets is not None:
            return [self._given(slice_id) for slice_id in self._design.initial_sets[self.seed]]
        state = SelectionState(
            self._stack,
            self._design.rows[Role.POOL],
            annotated=annotations,
            model=load_ensemble(self._model_folder(number - 1)) if number > 1 else None,
            statistics=pool_statistics(annotations, self._design.labels, extents=self._extents, truth=self._truth),
        )
        request = self._selection_request(number, count)
        choices = suggest(request, state, self._settings, cache=self._cache, compute=compute).choices
        if len(choices) < count:
            advice = "Use smaller budgets, or relax the limits on the choice."
            message = f"Only {len(choices)} of {count} slices can be requested in round {number}."
            raise BadInput(message, where=f"{self.strategy}, seed {self.seed}", advice=advice)
        return [self._request(choice.slice, choice.score, choice.reason) for choice in choices]

    def _selection_request(self, number: int, count: int) -> SelectionRequest:
        design, first = self._design, number == 1
        return SelectionRequest(
            strategy=design.initial if first and design.initial else self.strategy,
            budget=count,
            seed=design.initial_seed if first and design.initial_seed is not None else self.seed,
            round=number,
            rounds=self.rounds,
            constraints=design.constraints,
            unit=design.unit,
            in_slices=True,
        )

    def _given(self, slice_id: SliceId) -> dict[str, Any]:
        return self._request(slice_id, None, "Given with the experiment as a slice of the first round.")

    def _request(self, slice_id: SliceId, score: float | None, reason: str) -> dict[str, Any]:
        volume = self._stack.volume(slice_id.volume)
        about = {"patient": volume.patient, "volume": volume.id, "axis": volume.axis, "slice": slice_id.index}
        return {**about, "score": score, "reason": reason}

    @cached_property
    def _truth(self) -> Callable[[np.ndarray], np.ndarray]:
        return true_classes(self._stack, self._design.labels)

    @cached_property
    def _extents(self) -> dict[str, tuple[int, int]] | None:
        """Extents of the structures by volume, from the reference masks, which are read once."""
        return true_extents(self._stack, self._design.rows[Role.POOL], self._truth) if self._design.marks else None

    def _result_rows(self, number: int, record: dict[str, Any]) -> list[ResultRow]:
        annotated = record["annotated slices"]
        percent = 100.0 * annotated / len(self._design.rows[Role.POOL])
        return [
            ResultRow(
                cohort=self._design.cohort,
                strategy=self.strategy,
                seed=self.seed,
                round=number,
                annotated_slices=annotated,
                percent=percent,
                patient=self._stack.volume(volume).patient,
                volume=volume,
                class_name=class_name,
                metric=metric,
                value=_number(value),
            )
            for volume, class_name, metric, value in record["scores"]
        ]

    def _request_rows(self, number: int, record: dict[str, Any]) -> list[RequestRow]:
        about: dict[str, Any] = {"cohort": self._design.cohort, "strategy": self.strategy, "seed": self.seed}
        return [
            RequestRow(**about, round=number, rank=rank, **request | {"score": _number(request["score"])})
            for rank, request in enumerate(record["requests"], start=1)
        ]


def _number(value: float | None) -> float:
    """A number of the record, in which NaN is stored as null."""
    return float("nan") if value is None else value


def _or_null(values: dict[str, Any]) -> dict[str, Any]:
    """The values as JSON, in which NaN is null."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values.items()}


class _Titled(Progress):
    """A progress reporter that adds the run and the round to the name of every stage."""

    def __init__(self, inner: Progress) -> None:
        super().__init__()
        self._inner = inner
        self.title = ""

    def show(self, stage: str, done: int, total: int, **values: float | str) -> None:
        """Forward the report; the inner reporter also checks for cancelling."""
        self._inner.update(f"{self.title}: {stage}", done, total, **values)

    def message(self, text: str) -> None:
        """Forward the line."""
        self._inner.message(f"{self.title}: {text}")
