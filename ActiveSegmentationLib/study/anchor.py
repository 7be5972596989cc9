"""Anchors: the end of every audit chain at one moment, kept outside the study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.common.durability import sweep
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_json, read_json, write_json
from ActiveSegmentationLib.common.parsing import parsing
from ActiveSegmentationLib.study.ledger import Ledger
from ActiveSegmentationLib.study.times import now

_FORMAT = 1


@dataclass(frozen=True)
class Anchor:
    """The number and the hash of the last record of every chain.

    Anyone who may write to a study can replace everything in it, records included. An anchor that is kept elsewhere (in
    a repository, a mail, a signed laboratory book) shows it: if records up to the anchor are changed, removed or rolled
    back, the anchor no longer agrees with them.

    Attributes:
        study: Id of the study.
        created: Time in ISO 8601, UTC.
        chains: For each chain, the number and the hash of its last record.
    """

    study: str
    created: str
    chains: Mapping[str, tuple[int, str]]

    @classmethod
    def of(cls, ledger: Ledger) -> Anchor:
        """The anchor of a study as it is now.

        Raises:
            BadInput: If a last record is damaged.
        """
        ends = {stem: ledger.chain(stem).last() for stem in ledger.stems()}
        chains = {stem: (int(end["seq"]), str(end["hash"])) for stem, end in ends.items() if end is not None}
        return cls(ledger.study_id, now(), chains)

    @property
    def digest(self) -> str:
        """SHA-256 of the anchor, 64 hexadecimal digits; short enough to be written down or signed."""
        return hash_json(self._content())

    def _content(self) -> dict[str, Any]:
        chains = {stem: {"records": number, "hash": digest} for stem, (number, digest) in sorted(self.chains.items())}
        return {"format": _FORMAT, "study": self.study, "created": self.created, "chains": chains}

    def to_json(self) -> dict[str, Any]:
        """The anchor as JSON values, with its digest."""
        return {**self._content(), "sha256": self.digest}

    def write(self, path: Path) -> None:
        """Write the anchor to a file.

        Raises:
            BadInput: If the file cannot be written.
        """
        with explained(path):
            sweep(path.parent, [path.name])
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Anchor:
        """Read an anchor.

        Raises:
            BadInput: If the file is not an anchor, or was changed after it was written.
        """
        value = read_json(path)
        advice = "Name a file that audit --export-anchor has written."
        with parsing(path, "The file is not an anchor.", advice, reason=False):
            chains = {str(stem): (int(end["records"]), str(end["hash"])) for stem, end in dict(value["chains"]).items()}
            anchor = cls(str(value["study"]), str(value["created"]), chains)
        if value != anchor.to_json():
            advice = "Use the copy that was kept elsewhere."
            raise BadInput("The anchor was changed after it was written.", where=path, advice=advice)
        return anchor

    def problems(self, ledger: Ledger) -> list[str]:
        """How the chains do not continue from the anchor, one sentence each."""
        if ledger.study_id != self.study:
            return ["The anchor is that of another study."]
        problems = []
        for stem, (number, digest) in sorted(self.chains.items()):
            records = ledger.chain(stem).records()
            there = next((record for record in records if record.get("seq") == number), None)
            if there is None:
                problems.append(f"{stem}: the anchor of {self.created} has record {number}, which is no longer there.")
            elif there.get("hash") != digest:
                problems.append(f"{stem}: record {number} is not that of the anchor of {self.created}.")
        return problems
