"""Repair of a damaged study: what would be done, and doing it. Whatever is replaced or removed is kept as a copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ActiveSegmentationLib.cohort import Volume
from ActiveSegmentationLib.common.durability import abandoned, make_folder, sweep, sync_folder
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained
from ActiveSegmentationLib.common.text import counted
from ActiveSegmentationLib.study.annotation_repair import AnnotationRepair
from ActiveSegmentationLib.study.annotation_store import AnnotationStore
from ActiveSegmentationLib.study.audit import Audit
from ActiveSegmentationLib.study.drafts import DraftStore
from ActiveSegmentationLib.study.extents import EXTENTS_FILE, ExtentStore
from ActiveSegmentationLib.study.labels import LabelSet
from ActiveSegmentationLib.study.ledger import WAIT, Ledger
from ActiveSegmentationLib.study.names import STUDY_STEM
from ActiveSegmentationLib.study.requests import RequestStore
from ActiveSegmentationLib.study.study_file import read_study
from ActiveSegmentationLib.study.times import now
from ActiveSegmentationLib.study.trail import RESTATED, Trail

KEPT = "set-aside"
"""Folder in a study for copies of what a repair replaced or removed."""

_SHOWN = 5


@dataclass(frozen=True)
class Repair:
    """One repair.

    Attributes:
        problems: What is wrong, one sentence each.
        action: What the repair does, one sentence.
        prefers: "" if nothing speaks against the repair. "audit" or "files" if files can be read but differ from the
            audit: which of them the repair follows. Such a repair is only made if that is asked for.
        do: Makes the repair.
    """

    problems: tuple[str, ...]
    action: str
    prefers: str
    do: Callable[[], None] = field(repr=False, compare=False)

    def __str__(self) -> str:
        more = len(self.problems) - _SHOWN
        shown = [*self.problems[:_SHOWN], *([f"and {counted(more, 'further problem')}."] if more > 0 else [])]
        return "\n  ".join([self.action, *shown])

    def to_json(self) -> dict[str, Any]:
        """The repair as JSON values."""
        return {"problems": list(self.problems), "action": self.action, "prefers": self.prefers or None}


class OtherRecords(NamedTuple):
    """Files of a study that are neither annotations nor audit: uncommitted strokes, rounds and marked extents."""

    drafts: DraftStore
    requests: RequestStore
    extents: ExtentStore


class Repairs:
    """The repairs of a study.

    Args:
        folder: Folder of the study.
        volumes: The cohort's volumes by id.
        labels: The label set.
        ledger: Makes the changes.
        store: The annotations.
        audit: Says what is damaged.
        others: The other files that can be repaired.
    """

    def __init__(
        self,
        folder: Path,
        volumes: Mapping[str, Volume],
        labels: LabelSet,
        ledger: Ledger,
        store: AnnotationStore,
        audit: Audit,
        others: OtherRecords,
    ) -> None:
        self._folder = folder
        self._volumes = volumes
        self._ledger = ledger
        self._store = store
        self._audit = audit
        self._drafts, self._requests, self._extents = others
        self._annotations = AnnotationRepair(folder, labels, ledger, self._keep)
        self._kept_in = ""

    def problems(self) -> list[str]:
        """What is damaged, at a glance: every file is looked at, the chains of records only at their ends."""
        self._store.check()
        others = [*self._requests_and_extents(), *self._damaged_drafts()]
        found = [*self._ledger.damaged, *self._store.damaged(), *(text for one in others for text in one.problems)]
        return [str(problem) for problem in found]

    def plan(self) -> list[Repair]:
        """What can be repaired now; nothing is changed, except that interrupted changes are finished or undone.

        Raises:
            BadInput: If the study cannot be read.
        """
        if os.access(self._folder, os.W_OK):
            self._ledger.recover()
        return [
            *self._leftovers(),
            *self._journals(),
            *self._unknown_volumes(),
            *self._requests_and_extents(),
            *self._chains(),
            *self._damaged_drafts(),
        ]

    def make(self, prefer: str = "") -> list[Repair]:
        """Make the repairs; the caller holds the study's lock.

        Args:
            prefer: What to follow where files differ from the audit, see ``Repair.prefers``: "audit" restores what was
                recorded, "files" records what is there. Default: such differences are left alone.

        Returns:
            What was done.

        Raises:
            BadInput: If the study cannot be written, or another process writes to it.
            JobFailed: If the disk is full.
        """
        self._kept_in = f"{KEPT}/{now().replace(':', '')}"
        done: list[Repair] = []
        while True:  # a repair may show what was hidden by the damage
            new = [step for step in self.plan() if step.prefers in ("", prefer) and step not in done]
            if not new:
                return done
            for step in new:
                step.do()
                done.append(step)

    def _keep(self, paths: Iterable[Path]) -> str:
        """Copy files and folders of the study, durably; returns where they are, as a path in the study."""
        for path in paths:
            relative = path.relative_to(self._folder)
            with explained(path):
                for source in sorted(path.rglob("*")) if path.is_dir() else [path]:
                    if source.is_file() and not source.is_symlink():
                        self._copy(source, self._folder / self._kept_in / relative / source.relative_to(path))
        return self._kept_in

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        make_folder(target.parent)
        shutil.copy2(source, target)
        with open(target, "rb+") as file:
            os.fsync(file.fileno())
        sync_folder(target.parent)

    def _remove(self, path: Path) -> None:
        self._keep([path])
        with explained(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            sync_folder(path.parent)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    # what is planned -----------------------------------------------------------------------------------------------

    def _leftovers(self) -> Iterator[Repair]:
        for place, folders, _ in os.walk(self._folder):
            found = sorted(path.name for path in abandoned(Path(place)))
            folders[:] = [name for name in folders if name not in found]
            if found:
                where = self._relative(Path(place))
                problem = f"{where}: {counted(len(found), 'temporary file')} of killed commands."
                yield Repair((problem,), "Delete them.", "", lambda place=place: sweep(Path(place)))  # type: ignore[misc]

    def _journals(self) -> Iterator[Repair]:
        for problem in self._ledger.damaged:
            path = Path(problem.where or "")
            if path.name.endswith(".journal.json"):
                action = "Set the journal aside; at most the change that was being written is missing then."
                yield Repair((str(problem),), action, "", lambda path=path: self._remove(path))  # type: ignore[misc]

    def _unknown_volumes(self) -> Iterator[Repair]:
        for name in self._store.unknown_volumes():
            folder = self._folder / "annotations" / name
            problem = f"{self._relative(folder)}: the cohort has no such volume."

            def do(name: str = name, folder: Path = folder) -> None:
                kept = self._keep([folder])
                for stem in sorted({path.name.partition(".")[0] for path in folder.glob("*.slices.json")}):
                    with self._ledger.writing(stem) as writer:
                        writer.append([{"event": RESTATED, "volume": name, "kept": kept}])
                self._remove(folder)

            yield Repair((problem,), "Set the folder aside.", "", do)

    def _requests_and_extents(self) -> Iterator[Repair]:
        checks: list[tuple[str, Callable[[], object]]] = [
            (f"rounds/{number}/request.json", lambda number=number: self._requests.read(number))  # type: ignore[misc]
            for number in self._requests.rounds()
        ]
        for name, read in [*checks, (EXTENTS_FILE, self._extents.all)]:
            try:
                read()
            except BadInput as problem:
                action = "Set the file aside; what it lists is missing then, annotations are not affected."
                yield Repair((str(problem),), action, "", lambda name=name: self._take_out(name))  # type: ignore[misc]

    def _take_out(self, name: str) -> None:
        kept = self._keep([self._folder / name])
        with self._ledger.writing(STUDY_STEM) as writer:
            writer.append([{"event": RESTATED, "gone": [name], "kept": kept}])
            self._remove(self._folder / name)

    def _chains(self) -> Iterator[Repair]:
        for stem in sorted({*self._ledger.stems(), *self._store.stems(), STUDY_STEM}):
            problems = self._ledger.chain(stem).problems()
            if problems:
                yield self._chain_repair(stem, problems)
            elif stem == STUDY_STEM:
                yield from self._study_repair()
            else:
                trail = Trail(stem, self._ledger.chain(stem).records())
                for name, found in self._audit.volume_problems(trail).items():
                    if name in self._volumes:
                        yield from self._volume_repairs(stem, self._volumes[name], trail, found)

    def _volume_repairs(self, stem: str, volume: Volume, trail: Trail, problems: list[str]) -> Iterator[Repair]:
        found = self._annotations.recorded(stem, volume, trail)
        sound, lost = len(found.planes), len(found.lost)
        action = f"Set the files of {stem} in {volume.id} aside and restore what the audit recorded: "
        action += f"{counted(sound, 'committed slice')}"
        action += f"; {counted(lost, 'slice')} can no longer be read and must be annotated again." if lost else "."
        stored = self._annotations.stored(stem, volume)
        same = stored is None or stored.file.committed() == found.file.committed()
        prefers = "" if same else "audit"
        yield Repair(tuple(problems), action, prefers, lambda: self._annotations.restore(stem, volume))
        if not same:
            action = f"Keep the files of {stem} in {volume.id} and record what they hold now."
            yield Repair(tuple(problems), action, "files", lambda: self._annotations.accept(stem, volume))

    def _chain_repair(self, stem: str, problems: list[str]) -> Repair:
        chain = self._ledger.chain(stem)
        action = (
            f"Set audit/{chain.path.name} aside, keep its first {counted(chain.sound_records(), 'record')}, and record "
            "what the files hold now. A backup of the file is better."
        )

        def do() -> None:
            with self._ledger.reading(stem, WAIT):
                chain.cut(self._keep([chain.path]))

        return Repair(tuple(problems), action, "files", do)

    def _study_repair(self) -> Iterator[Repair]:
        trail = Trail(STUDY_STEM, self._ledger.chain(STUDY_STEM).records())
        problems = self._audit.study_problems(trail)
        if problems:
            action = "Record what these files hold now. A backup of them is better."
            yield Repair(tuple(problems), action, "files", lambda: self._accept_study(trail))

    def _accept_study(self, trail: Trail) -> None:
        there = self._audit.study_files()
        gone = sorted(trail.files.keys() - set(there))
        events: list[dict] = [{"event": RESTATED, "gone": gone}]
        if not any(record.get("event") == "created" for record in self._audit.records()):
            record = read_study(self._folder)
            events.insert(0, {"event": "created", "study": record.id, "annotation": str(record.annotation)})
        with self._ledger.writing(STUDY_STEM) as writer:
            writer.append(events, [self._folder / name for name in there])

    def _damaged_drafts(self) -> Iterator[Repair]:
        for path, problem in self._drafts.damaged():
            action = "Set the draft aside; its uncommitted strokes are lost, committed slices are unaffected."
            yield Repair((str(problem),), action, "", lambda path=path: self._remove(path))  # type: ignore[misc]
