"""A progress reporter that keeps what is reported."""

from __future__ import annotations

from ActiveSegmentationLib.common.progress import Progress


class RecordedProgress(Progress):
    """Keeps messages and reports.

    Attributes:
        messages: The messages.
        reports: Stage, finished units and number of units of each report.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.reports: list[tuple[str, int, int]] = []

    def show(self, stage, done, total, **values) -> None:
        self.reports.append((stage, done, total))

    def message(self, text: str) -> None:
        self.messages.append(text)
