"""What an attack came to: how much was tried, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

FAULTS = ("lost", "damaged", "crashed", "hung", "unexpected")


@dataclass
class Outcome:
    """Counts of one attack; every count but ``tried`` should be 0.

    Attributes:
        attack: What was done, one line.
        tried: How often.
        lost: How often something that was acknowledged was missing afterwards.
        damaged: How often what was there could not be used, or was wrong and not noticed.
        crashed: How often a process died of a signal.
        hung: How often a process had to be ended.
        unexpected: How often an error came without a message for people.
        notes: Descriptions of what went wrong, and of what the attack cannot see.
    """

    attack: str
    tried: int = 0
    lost: int = 0
    damaged: int = 0
    crashed: int = 0
    hung: int = 0
    unexpected: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return sum(getattr(self, name) for name in FAULTS)

    def fault(self, kind: str, note: str) -> None:
        """Count a fault, and keep the first descriptions."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.notes) < 20:
            self.notes.append(f"{kind}: {note}")
