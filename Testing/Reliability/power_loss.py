"""Power cuts at every file operation of a study's life: what was acknowledged must be there afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from lying_disk import Killed, LyingDisk, State
from outcome import Outcome
from small_study import annotation, create_study, requests, write_cohort

from ActiveSegmentationLib.cohort import Cohort, SliceId
from ActiveSegmentationLib.common.errors import ActiveSegmentationError
from ActiveSegmentationLib.study import SliceAnnotation, Study

Check = Callable[[Study], bool]
"""Whether something that a call has promised to keep is there."""


class Life:
    """The life of a study: every kind of change, commits in random order, some of them killed and recovered.

    Args:
        folder: A new folder; its parent must not exist.
        rng: Chooses which slices are committed, and when the process is killed.
        disk: Watches the file operations.
    """

    ANNOTATORS = ("Anna", "Zoë")

    def __init__(self, folder: Path, cohort: Cohort, rng: random.Random, disk: LyingDisk) -> None:
        self.folder, self._cohort, self._rng, self._disk = folder, cohort, rng, disk
        self.acknowledged: dict[str, Check] = {}
        self.pending: dict[str, Check] = {}

    def live(self) -> None:
        study = self._do("study", lambda: create_study(self.folder, self._cohort), lambda study: True)
        self._do("requests 1", lambda: study.requests.write(requests(study, 1, [("v000", 0)])), _has_round(1))
        for _ in range(6):
            self._commit(study)
        self._do("skip", lambda: study.skip(SliceId("v001", 3), "Max", "blurred"), _is_skipped)
        for _ in range(2):
            study = self._killed_commit(study)
        self._do("flag", lambda: study.flag(SliceId("v000", 0), "Max", "look"), lambda s: len(s.flagged()) == 1)
        self._do("extent", lambda: study.extents.mark("v001", 1, 2), lambda s: s.extents.all() == {"v001": (1, 2)})
        self._do("exclude", lambda: study.exclude("v002", "no consent"), lambda s: "v002" in s.excluded())
        self._do("include", lambda: study.include("v002"), lambda s: s.excluded() == {}, instead_of="exclude")
        self._do("requests 2", lambda: study.requests.write(requests(study, 2, [("v001", 1)])), _has_round(2))
        self._commit(study)

    def _commit(self, study: Study) -> None:
        name, wanted, holds = self._next_commit(study)
        self._do(name, lambda: study.commit([wanted]), holds)

    def _killed_commit(self, study: Study) -> Study:
        name, wanted, holds = self._next_commit(study)
        self.pending = {name: holds}
        self._disk.dies_in = self._rng.randrange(1, 12)
        with contextlib.suppress(Killed):
            study.commit([wanted])
        self._disk.dies_in = None
        study = Study.open(self.folder)
        if holds(study):
            self.acknowledged[name] = holds
        self.pending = {}
        return study

    def _next_commit(self, study: Study) -> tuple[str, SliceAnnotation, Check]:
        annotator, volume = self._rng.choice(self.ANNOTATORS), self._rng.choice(["v000", "v001"])
        index, seed = self._rng.randrange(3), self._rng.randrange(10**6)
        wanted = annotation(study, volume, index, seed, annotator)

        def holds(found: Study) -> bool:
            there = found.annotations(annotator).get(wanted.slice)
            return there is not None and np.array_equal(there.labels, wanted.labels)

        return f"{annotator} {volume} {index}", wanted, holds

    def _do(self, name: str, act: Callable, holds: Check, instead_of: str | None = None):
        self.pending = {name: holds, **({instead_of: lambda study: True} if instead_of else {})}
        result = act()
        self.acknowledged.pop(instead_of, None)
        self.acknowledged[name] = holds
        self.pending = {}
        return result


def _has_round(number: int) -> Check:
    return lambda study: number in study.requests.rounds() and study.requests.read(number).count == 1


def _is_skipped(study: Study) -> bool:
    return SliceId("v001", 3) in study.skipped()


def attack(work: Path, most: int, seed: int = 0, states_each: int = 8) -> Outcome:
    """Record lives of studies, and open each in the states that a power cut may leave.

    Args:
        work: A new folder, best in memory.
        most: Number of states.
        seed: Seed of the random choices.
        states_each: States to look at after each file operation.
    """
    outcome = Outcome("power cut at any file operation (lost, cut, zeroed and reordered writes)")
    rng = random.Random(seed)
    life_number = 0
    with mock.patch.object(os, "fsync", return_value=None):  # the model is the disk
        while outcome.tried < most:
            _live_and_cut(work / f"life-{life_number}", min(most - outcome.tried, 400), rng, states_each, outcome)
            life_number += 1
    return outcome


def _live_and_cut(home: Path, most: int, rng: random.Random, states_each: int, outcome: Outcome) -> None:
    found: dict[str, tuple[State, dict[str, Check], dict[str, Check]]] = {}
    cohort = write_cohort(home / "studies" / "cohort")
    disk = LyingDisk(home)
    life = Life(home / "studies" / "heart" / "study", cohort, rng, disk)

    def cut() -> None:
        for state in disk.states(rng, states_each):
            found.setdefault(_digest(state, life), (state, dict(life.acknowledged), dict(life.pending)))

    disk.cut = cut
    with disk.watching():
        life.live()
    states = list(found.values())
    rng.shuffle(states)
    for number, (state, acknowledged, pending) in enumerate(states[:most]):
        place = home.with_name(f"{home.name}-state-{number}")
        place.mkdir()
        _replay(place, place / life.folder.relative_to(home), state, acknowledged, pending, outcome)
        shutil.rmtree(place)


def _digest(state: State, life: Life) -> str:
    digest = hashlib.sha256(repr((sorted(life.acknowledged), sorted(life.pending))).encode())
    for name, content in sorted(state.files.items()):
        digest.update(repr((name, content)).encode())
    return digest.hexdigest()


def _replay(
    place: Path,
    folder: Path,
    state: State,
    acknowledged: dict[str, Check],
    pending: dict[str, Check],
    outcome: Outcome,
) -> None:
    outcome.tried += 1
    state.write(place)
    if "study" not in acknowledged and not (folder / "study.json").exists():
        return  # a study that was never acknowledged may be missing; it must not be there in part
    try:
        study = Study.open(folder)
        for name, holds in acknowledged.items():
            if name not in pending and not holds(study):
                outcome.fault("lost", f"{name} after {sorted(acknowledged)[-1]}")
        for name, holds in acknowledged.items():
            if name in pending and not (holds(study) or pending[name](study)):
                outcome.fault("lost", f"{name}, while it was replaced")
        for problem in study.audit.verify():
            outcome.fault("damaged", f"audit: {problem}")
        study.commit([annotation(study, "v000", 3, 7, "Anna"), annotation(study, "v001", 0, 8, "Anna")])
        for problem in Study.open(folder).audit.verify():
            outcome.fault("damaged", f"audit after the next commit: {problem}")
    except ActiveSegmentationError as error:
        outcome.fault("damaged", str(error))
    except Exception as error:  # noqa: BLE001 - counted
        outcome.fault("unexpected", f"{type(error).__name__}: {error}")
