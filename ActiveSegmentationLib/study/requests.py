"""Requests: the slices to annotate next, with the reason for each and how they were chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import SliceId, Volume
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, read_fields, read_json, write_json
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.study.annotations import check_slice
from ActiveSegmentationLib.study.ledger import Change, Ledger
from ActiveSegmentationLib.study.names import RESTORE, STUDY_STEM, check_record_name


@dataclass(frozen=True)
class Request:
    """One slice to annotate.

    Attributes:
        slice: The slice; its index counts from 0.
        patient: Id of the patient.
        axis: Image axis along which the slice is counted.
        score: Finite score by which the strategy ranked it, or None.
        reason: Why this slice was chosen, in plain words.
    """

    slice: SliceId
    patient: str
    axis: int
    score: float | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The request as JSON values."""
        return {
            "patient": self.patient,
            "volume": self.slice.volume,
            "axis": self.axis,
            "slice": self.slice.index,
            "score": self.score,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Request:
        """Inverse of ``to_json``."""
        score = value["score"]
        return cls(
            slice=SliceId(value["volume"], int(value["slice"])),
            patient=value["patient"],
            axis=int(value["axis"]),
            score=None if score is None else float(score),
            reason=value["reason"],
        )


@dataclass(frozen=True)
class RequestList:
    """The requests of a round.

    Attributes:
        round: Number of the round, from 1.
        strategy: Name of the strategy that chose them.
        seed: Its random seed.
        parameters: Its other parameters, as JSON values.
        requests: The requests, the most important first.
        provenance: Record of the data and versions used, as JSON values.
    """

    round: int
    strategy: str
    seed: int
    parameters: Mapping[str, Any]
    requests: tuple[Request, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of requests."""
        return len(self.requests)

    def to_json(self) -> dict[str, Any]:
        """The list as JSON values."""
        return {
            "round": self.round,
            "strategy": self.strategy,
            "seed": self.seed,
            "parameters": dict(self.parameters),
            "requests": [request.to_json() for request in self.requests],
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RequestList:
        """Inverse of ``to_json``."""
        return cls(
            round=int(value["round"]),
            strategy=value["strategy"],
            seed=int(value["seed"]),
            parameters=value["parameters"],
            requests=tuple(Request.from_json(request) for request in value["requests"]),
            provenance=value["provenance"],
        )


class RequestStore:
    """The ``rounds`` folder of a study.

    Args:
        folder: The folder.
        volumes: The cohort's volumes by id.
        ledger: Makes the changes.
        excluded: Returns the ids of the excluded volumes.
    """

    def __init__(
        self, folder: Path, volumes: Mapping[str, Volume], ledger: Ledger, excluded: Callable[[], Iterable[str]]
    ) -> None:
        self._folder = folder
        self._volumes = volumes
        self._ledger = ledger
        self._excluded = excluded

    def rounds(self) -> list[int]:
        """Numbers of the rounds that have requests, ascending."""
        with explained(self._folder):
            names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        numbers = sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))
        return [number for number in numbers if self._requests_path(number).is_file()]

    def next_round(self) -> int:
        """Number of the round that the next requests belong to, from 1."""
        return max(self.rounds(), default=0) + 1

    def round_folder(self, number: int) -> Path:
        """Folder of a round, for its model and log; it need not exist yet. Round 0 is before the first requests.

        Raises:
            BadInput: If the number is negative.
        """
        if number < 0:
            raise BadInput(f"There is no round {number}.", where=self._folder, advice="Rounds count from 1.")
        return self._folder / str(int(number))

    def _requests_path(self, number: int) -> Path:
        return self.round_folder(number) / "request.json"

    def write(self, requests: RequestList) -> None:
        """Store the requests of a round permanently; writing the same again does nothing.

        Raises:
            BadInput: If the round has other requests, is not the next one, or a request is not of this study.
        """
        value = self._checked(requests, set(self._excluded()))
        path = self._requests_path(requests.round)
        with self._ledger.writing(STUDY_STEM) as writer:
            if path.is_file():
                if read_json(path) != value:
                    advice = "Requests never change; write them as a new round."
                    raise BadInput(f"Round {requests.round} has other requests already.", where=path, advice=advice)
                return
            following = self.next_round()
            if requests.round != following:
                advice = f"Write them as round {following}."
                raise BadInput(f"Round {requests.round} is not the next one.", where=self._folder, advice=advice)
            text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            event = {"event": "requests", "round": requests.round, "strategy": requests.strategy}
            writer.apply(Change(path, text.encode("utf-8"), [{**event, "count": requests.count}]))

    def _checked(self, requests: RequestList, excluded: set[str]) -> Any:
        where = f"requests of round {requests.round}"
        slices = [request.slice for request in requests.requests]
        twice = [slice_id for slice_id in slices if slices.count(slice_id) > 1]
        if twice:
            advice = "Request each slice once."
            raise BadInput(f"{twice[0].volume}, slice {twice[0].index + 1} occurs twice.", where=where, advice=advice)
        for request in requests.requests:
            self._check(request, where, excluded)
        try:  # converted to text and back, so that it equals what is read from the file
            return json.loads(json.dumps(requests.to_json(), allow_nan=False))
        except (TypeError, ValueError) as error:
            advice = "Use finite numbers, texts, lists and dictionaries."
            raise BadInput(f"This cannot be written as JSON ({error}).", where=where, advice=advice) from error

    def _check(self, request: Request, where: str, excluded: set[str]) -> None:
        volume = self._volumes.get(request.slice.volume)
        if volume is None or volume.id in excluded:
            why = "is excluded" if volume else "is not in the cohort"
            advice = "Request slices of volumes that are not excluded."
            raise BadInput(f"Volume '{request.slice.volume}' {why}.", where=where, advice=advice)
        check_slice(request.slice, volume)
        if request.axis != volume.axis or request.patient != volume.patient:
            found = f"patient '{request.patient}', axis {request.axis}"
            advice = f"The cohort has patient '{volume.patient}', axis {volume.axis}."
            raise BadInput(f"Volume '{volume.id}' is not {found}.", where=where, advice=advice)
        if request.score is not None and not math.isfinite(request.score):
            advice = "Scores must be finite, or None."
            raise BadInput(f"The score of {volume.id} is {request.score}.", where=where, advice=advice)

    def read(self, number: int) -> RequestList:
        """The requests of a round.

        Raises:
            BadInput: If the round has none, or the file is damaged.
        """
        path = self._requests_path(number)
        if not path.is_file():
            known = ", ".join(map(str, self.rounds())) or "none"
            raise BadInput(f"Round {number} has no requests.", where=path, advice=f"Rounds with requests: {known}.")
        value = read_json(path)
        with parsing(path, "The file is damaged.", RESTORE):
            return RequestList.from_json(value)

    def write_record(self, number: int, name: str, value: Mapping[str, Any]) -> Path:
        """Write ``<name>.json`` ("config", "metrics") of a round, replacing an earlier one; returns its path.

        Raises:
            BadInput: If the name is not a plain word, or is "request".
        """
        path = self.round_folder(number) / f"{check_record_name(name)}.json"
        write_json(path, value)
        return path

    def read_record(self, number: int, name: str) -> dict[str, Any] | None:
        """Read ``<name>.json`` of a round, or None if there is none."""
        path = self.round_folder(number) / f"{check_record_name(name)}.json"
        return read_fields(path) if path.is_file() else None
