"""The active learning loop of a study folder: what the command line, scripts and the Slicer module call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ActiveSegmentationLib.acquisition import Choice, Constraints, create_strategy
from ActiveSegmentationLib.cohort import Cohort, Role, SliceId, SliceStack, UnusableVolumes, build_stack, image_hashes
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress, or_silent
from ActiveSegmentationLib.loop.annotation_statistics import pool_statistics
from ActiveSegmentationLib.loop.device import describe_device, resolve_device, versions
from ActiveSegmentationLib.loop.overview import trained_rounds
from ActiveSegmentationLib.loop.prequential import prequential_score
from ActiveSegmentationLib.loop.selection import (
    LOSS_HEAD,
    SelectionRequest,
    SelectionResult,
    SelectionState,
    require_usable,
    suggest,
    with_loss_head,
)
from ActiveSegmentationLib.loop.settings import LoopSettings
from ActiveSegmentationLib.loop.situation import study_settings, study_situation
from ActiveSegmentationLib.loop.training import TrainingData, decided_settings, train
from ActiveSegmentationLib.segmentation import Ensemble, load_ensemble
from ActiveSegmentationLib.study import Request, RequestList, SliceAnnotation, Study
from ActiveSegmentationLib.study.extents import Extents

CHANGED = "Restore the file, or leave this volume out."


class StudyLoop:
    """The active learning loop of a study: select slices, train, predict, score.

    Args:
        study: The study.
        device: "auto" or a PyTorch device.
        progress: Progress reporter. Default: reports nothing.
        leave_out: Whether volumes that cannot be used are left out; otherwise they are errors.

    Attributes:
        compute: Device and progress reporter.
        settings: Settings of the loop.
        left_out: Why volumes were left out so far, by id.
        reported: Damaged files of the study that were reported so far.

    Raises:
        BadInput: If the device is not there, or the study's settings are damaged.
    """

    def __init__(
        self, study: Study, *, device: str = "auto", progress: Progress | None = None, leave_out: bool = False
    ) -> None:
        self.study = study
        self.left_out: dict[str, BadInput] = {}
        self._leaves_out = leave_out
        self.reported: set[str] = set()
        self.compute = Compute(resolve_device(device), progress=or_silent(progress))
        self.settings = study_settings(study)

    @property
    def device(self) -> str:
        """PyTorch device that computes."""
        return self.compute.device

    @property
    def progress(self) -> Progress:
        """Progress reporter."""
        return self.compute.progress

    @property
    def cohort(self) -> Cohort:
        """The study's cohort without the excluded volumes and those in ``left_out``.

        Raises:
            BadInput: If no volume is left.
        """
        volumes = tuple(
            v for v in self.study.cohort.volumes if v.id not in self._excluded and v.id not in self.left_out
        )
        if volumes:
            return self.study.cohort.with_volumes(volumes)
        if self.left_out:
            name, problem = next(iter(self.left_out.items()))
            message = f"No volume can be used. {name}: {problem.message}"
            raise BadInput(message, where=problem.where, advice=problem.advice)
        advice = "Include a volume again, or create a new study of another cohort."
        raise BadInput("Every volume of the cohort is excluded.", where=self.study.folder, advice=advice)

    @cached_property
    def _excluded(self) -> dict[str, str]:
        return self.study.excluded()

    def note_left_out(self, problems: Mapping[str, BadInput]) -> None:
        """Leave volumes out from now on, and report them.

        Raises:
            BadInput: The first problem, where volumes must not be left out.
        """
        for name, problem in problems.items():
            if not self._leaves_out:
                raise problem
            self.left_out[name] = problem
            self.progress.message(f"Left out: {name}: {problem}")

    @cached_property
    def stack(self) -> SliceStack:
        """The cohort's slices, built when first needed.

        Raises:
            BadInput: If images changed since the study first used them, or as ``build_stack`` does.
        """
        hashes = self._image_hashes()
        if self._leaves_out:
            self.note_left_out(
                {
                    name: BadInput("The image changed since this study first used it.", where=paths[0], advice=CHANGED)
                    for name, paths in self.study.images.changed(hashes).items()
                }
            )
            hashes = {name: found for name, found in hashes.items() if name not in self.left_out}
        self.study.images.check(hashes)
        stack = self._build_stack()
        self.study.images.record({name: found for name, found in hashes.items() if name not in self.left_out})
        return stack

    def _build_stack(self) -> SliceStack:
        try:
            return build_stack(self.cohort, self.settings.stack, self._stacks, progress=self.progress)
        except UnusableVolumes as error:
            if not self._leaves_out:
                raise
            self.note_left_out(error.problems)
            return self._build_stack()

    def annotations(self) -> dict[SliceId, SliceAnnotation]:
        """The latest commit of every slice of the volumes that can be used."""
        usable = {volume.id for volume in self.stack.volumes}
        found = self.study.annotations()
        for problem in map(str, self.study.damaged()):
            if problem not in self.reported:
                self.reported.add(problem)
                self.progress.message(f"Left out: {problem}")
        return {key: annotation for key, annotation in found.items() if key.volume in usable}

    def accept_changed_images(self) -> list[str]:
        """Accept images that changed on disk; returns the ids of their volumes."""
        hashes = self._image_hashes()
        changed = sorted(self.study.images.changed(hashes))
        self.study.images.accept(changed)
        self.study.images.record(hashes)
        return changed

    def _image_hashes(self) -> dict[str, dict[str, str]]:
        return image_hashes(self.cohort, self._stacks / "hashes.json", progress=self.progress)

    @property
    def _stacks(self) -> Path:
        return self.study.cache_folder / "stacks"

    def rows(self, role: Role) -> np.ndarray:
        """Rows of the stack whose volumes have this role."""
        return self.stack.rows_of([volume.id for volume in self.cohort.volumes if volume.role == role])

    def suggest(
        self,
        count: int,
        strategy: str = DEFAULT_STRATEGY,
        *,
        seed: int = 0,
        constraints: Constraints | None = None,
        unit: str = "slice",
    ) -> RequestList:
        """Select the slices to annotate next and store them as a new round.

        - The same call again, while none of its requests is answered, returns the same requests, so that an interrupted
          command can simply be repeated.
        - Any other call makes a new round; open requests of earlier rounds stay with them. The same call also makes a
          new round if the strategy uses marked extents and these have changed.

        Args:
            count: Number of slices, or of volumes with the unit "volume"; at least 1.
            strategy: Name of the strategy.
            seed: Seed of its random draws.
            constraints: Limits on the choice. Default: no limits.
            unit: "slice", or "volume" to request whole volumes.

        Raises:
            BadInput: If nothing can be requested, the strategy cannot be used here, or an option is not valid.

        Example:
            >>> loop = StudyLoop(Study.open(Path("study")))
            >>> for request in loop.suggest(10).requests:
            ...     print(request.slice, request.reason)
        """
        constraints = constraints or Constraints()
        extents = self.study.extents.all()
        parameters: dict[str, Any] = {"count": count, "strategy": strategy, "seed": seed}
        parameters["constraints"] = constraints.to_json()
        if unit != "slice":
            parameters["unit"] = unit
        if create_strategy(strategy).uses_extents and extents:
            parameters["extents"] = {volume: list(extent) for volume, extent in sorted(extents.items())}
        last = self._last_requests()
        if last is not None and last.parameters == parameters and self._is_unanswered(last):
            self.progress.message(f"No request of round {last.round} is answered yet; these are its requests.")
            return last
        number = self.study.requests.next_round()
        request = SelectionRequest(strategy, count, seed, number, constraints=constraints, unit=unit)
        result = self._select(request, extents)
        requests = tuple(self._request(choice) for choice in result.choices)
        request_list = RequestList(number, strategy, seed, parameters, requests, result.provenance)
        self.study.requests.write(request_list)
        return request_list

    def _select(self, request: SelectionRequest, extents: Extents) -> SelectionResult:
        annotations, model = self.annotations(), self.latest_model()
        require_usable(request.strategy, study_situation(self.study))
        state = SelectionState(
            self.stack,
            self.rows(Role.POOL),
            annotated=annotations.keys(),
            skipped=self.study.skipped().keys(),
            model=model,
            statistics=pool_statistics(annotations, self.study.labels, extents=extents),
        )
        return suggest(request, state, self.settings, cache=self.study.cache_folder, compute=self.compute)

    def _request(self, choice: Choice) -> Request:
        volume = self.stack.volume(choice.slice.volume)
        return Request(choice.slice, volume.patient, volume.axis, choice.score, choice.reason)

    def train(
        self, *, ensemble_members: int | None = None, steps: int | None = None, seed: int | None = None
    ) -> tuple[int, Ensemble]:
        """Train on all annotations; the model belongs to the latest round.

        Args:
            ensemble_members: Number of models to train. Default: the study's setting.
            steps: Optimisation steps of each. Default: the study's setting.
            seed: Seed of the training. Default: the study's.

        Returns:
            Number of that round (0 before the first request) and the model.

        Raises:
            BadInput: If nothing is annotated.
        """
        self._test_before_training()
        settings = self._training_settings(ensemble_members, steps, seed)
        initial = self._initial_model(settings)
        annotations = self.annotations()  # others may commit while this trains
        rows = {role: self.rows(role) for role in (Role.VALIDATION, Role.POOL)}
        data = TrainingData(self.stack, annotations, self.study.labels, rows[Role.VALIDATION], rows[Role.POOL])
        model = train(
            data,
            settings,
            folder=self._model_folder(self._last_round()),
            compute=self.compute,
            initial=initial,
        )
        record = {
            "settings": settings.to_json(),
            **decided_settings(model, settings),
            "model": model.key,
            "started from": None if initial is None else initial.key,
            "annotated slices": len(annotations),
            "versions": versions(),
            "device": describe_device(self.device),
        }
        self.study.requests.write_record(self._last_round(), "config", record)
        return self._last_round(), model

    def _training_settings(self, ensemble_members: int | None, steps: int | None, seed: int | None) -> LoopSettings:
        training = self.settings.training if steps is None else self.settings.training.with_steps(steps)
        members = ensemble_members or self.settings.ensemble_members
        seed = self.settings.seed if seed is None else seed
        settings = replace(self.settings, training=training, ensemble_members=members, seed=seed)
        last = self._last_requests()
        return with_loss_head(settings) if last is not None and last.provenance.get(LOSS_HEAD) else settings

    def _initial_model(self, settings: LoopSettings) -> Ensemble | None:
        """The model to start from; none, with a message, after the learner has been changed."""
        model = self._earlier_model() if settings.training.warm_start else None
        before = None if model is None else model.members[0].settings.learner
        if model is not None and before != settings.training.learner:
            text = f"No warm start: the model of the round before was trained by the learner '{before}'."
            self.progress.message(text + " The new one starts from random weights.")
            return None
        return model

    def _test_before_training(self) -> None:
        """Score the model of an earlier round on this round's annotations before they are trained on."""
        model, number = self._earlier_model(), self._last_round()
        new = {key: found for key, found in self.annotations().items() if found.round == number}
        if model is not None and new:
            score = prequential_score(model, self.stack, new, self.study.labels, self.compute)
            self.study.requests.write_record(number, "unseen", {"model": model.key, **score.to_json()})

    def learning_curve(self) -> list[dict[str, Any]]:
        """Scores of the models of all trained rounds, for a learning curve.

        Returns:
            One entry per round, in order, with
            - "round": its number;
            - "annotated": number of slices trained on;
            - "unseen": mean Dice on the slices that were annotated next, 0..1, see ``prequential_score``;
            - "reference": mean Dice against reference masks, 0..1, see ``evaluate_study``;
            - "scored on": role of the volumes of "reference".
            Values that are not known are None.
        """
        curve: list[dict[str, Any]] = []
        for number in trained_rounds(self.study):
            config = self.study.requests.read_record(number, "config") or {}
            metrics = self.study.requests.read_record(number, "metrics") or {}
            dice = [s["value"] for s in metrics.get("scores", []) if s["metric"] == "dice" and s["value"] is not None]
            later = (self.study.requests.read_record(n, "unseen") for n in self.study.requests.rounds() if n > number)
            prequential = next((record["mean"] for record in later if record), None)
            annotated, reference = config.get("annotated slices"), float(np.mean(dice)) if dice else None
            role = metrics.get("scored on") if dice else None
            entry = {"round": number, "annotated": annotated, "unseen": prequential, "reference": reference}
            curve.append({**entry, "scored on": role})
        return curve

    def latest_model(self) -> Ensemble | None:
        """The newest finished model, or None before the first training."""
        finished = trained_rounds(self.study)
        return load_ensemble(self._model_folder(max(finished))) if finished else None

    def require_model(self) -> tuple[int, Ensemble]:
        """Number of the newest round with a finished model, and that model.

        Raises:
            BadInput: If none is trained yet.
        """
        finished = trained_rounds(self.study)
        if not finished:
            advice = "Annotate the requested slices and train first."
            raise BadInput("No model is trained yet.", where=self.study.folder, advice=advice)
        return max(finished), load_ensemble(self._model_folder(max(finished)))

    def _is_unanswered(self, requests: RequestList) -> bool:
        return len(self.study.open_requests(requests.round)) == requests.count

    def _earlier_model(self) -> Ensemble | None:
        """The newest model of a round before the latest, for a warm start."""
        earlier = [number for number in trained_rounds(self.study) if number < self._last_round()]
        return load_ensemble(self._model_folder(max(earlier))) if earlier else None

    def _last_round(self) -> int:
        return max(self.study.requests.rounds(), default=0)

    def _last_requests(self) -> RequestList | None:
        rounds = self.study.requests.rounds()
        return self.study.requests.read(max(rounds)) if rounds else None

    def _model_folder(self, number: int) -> Path:
        return self.study.requests.round_folder(number) / "model"
