"""Progress of long jobs; a cancel takes effect at the next report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from ActiveSegmentationLib.common.errors import Cancelled
from ActiveSegmentationLib.common.text import printable


class Progress:
    """Progress reporter that shows nothing; base of all others.

    Long functions take ``progress: Progress | None`` and call ``update`` at least once per batch.

    Args:
        cancelled: Called at every update; when it returns True, ``update`` raises ``Cancelled``.
    """

    def __init__(self, cancelled: Callable[[], bool] | None = None) -> None:
        self._cancelled = cancelled

    def update(self, stage: str, done: int, total: int, **values: float | str) -> None:
        """Report that ``done`` of ``total`` units of ``stage`` are finished.

        Args:
            stage: What is being done, in plain words ("Training model 1 of 5").
            done: Finished units, 0 to ``total``.
            total: Number of units.
            values: Further values to show (``loss=0.31``).

        Raises:
            Cancelled: If the user cancelled the job.
        """
        if self._cancelled is not None and self._cancelled():
            raise Cancelled()
        self.show(stage, done, total, **values)

    def show(self, stage: str, done: int, total: int, **values: float | str) -> None:
        """Show one report; does nothing here."""

    def message(self, text: str) -> None:
        """Show one line of text (a warning, a decision)."""

    def close(self) -> None:
        """Finish the display."""


class TqdmProgress(Progress):
    """Progress bars with remaining time on a text stream.

    Args:
        stream: Where to write. Default: standard error.
        cancelled: See ``Progress``.
        bars: Whether to draw bars; otherwise only messages are printed.
    """

    def __init__(
        self, stream: TextIO | None = None, cancelled: Callable[[], bool] | None = None, *, bars: bool = True
    ) -> None:
        super().__init__(cancelled)
        self._bars = bars
        self._stream = stream if stream is not None else sys.stderr
        self._stage: str | None = None
        self._bar: Any = None

    def show(self, stage: str, done: int, total: int, **values: float | str) -> None:
        """Draw the report as a bar, one per stage."""
        from tqdm import tqdm

        if not self._bars:
            return
        if self._bar is None or stage != self._stage or done < self._bar.n:
            self.close()
            interval = 0.1 if self._stream.isatty() else 10.0
            self._bar = tqdm(
                total=total, desc=printable(stage), file=self._stream, mininterval=interval, dynamic_ncols=True
            )
            self._stage = stage
        if values:
            self._bar.set_postfix(values, refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def message(self, text: str) -> None:
        """Print the line below the bar."""
        self.close()
        print(printable(text), file=self._stream, flush=True)

    def close(self) -> None:
        """Finish the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._stage = None


def or_silent(progress: Progress | None) -> Progress:
    """The given progress reporter, or one that shows nothing."""
    return Progress() if progress is None else progress
