"""Progress for people: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcgeom.api.progress import Progress

LINE_EVERY_S = 10.0


@contextmanager
def make_progress() -> Iterator[Progress]:
    """What suits the place that standard error goes to; a bar is closed however the body ends."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bars = Bars()
    try:
        yield bars
    finally:
        bars.close()


class Lines:
    """One line when a stage begins and ends, and one every ten seconds between."""

    def __init__(self) -> None:
        self._done, self._first, self._total, self._began, self._told = 0, 0, 0, 0.0, 0.0

    def say(self, message: str) -> None:
        """Print a sentence."""
        print(message, file=sys.stderr, flush=True)  # noqa: T201

    def begin(self, stage: str, n_done: int, n_units: int) -> None:
        """Print how much there is to do."""
        self._done = self._first = n_done
        self._total, self._began = n_units, time.monotonic()
        self._told = self._began
        if n_done == n_units:
            self.say(f"{stage}: all {n_units} units are done")
        else:
            self.say(f"{stage}: {n_units - n_done} of {n_units} units to do")

    def advance(self, stage: str, key: str) -> None:
        """Print a line now and then, with the rate and the time left."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= LINE_EVERY_S and self._done < self._total:
            self._told = now
            rate = (self._done - self._first) / (now - self._began)
            left = (self._total - self._done) / rate
            self.say(
                f"{stage}: {self._done}/{self._total} units, {rate:.2f} units/s, {left:.0f} s left ({key})"
            )

    def end(self, stage: str) -> None:
        """Print how long it took."""
        if self._done > self._first:
            self.say(f"{stage}: {self._done - self._first} units in {time.monotonic() - self._began:.1f} s")


class Bars:
    """A rich progress bar per stage."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._progress: Any = None
        self._task: Any = None

    def say(self, message: str) -> None:
        """Print a sentence."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def begin(self, stage: str, n_done: int, n_units: int) -> None:
        """Open a bar."""
        from rich import progress

        self._progress = progress.Progress(
            progress.TextColumn("{task.description:<9}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=self._console,
        )
        self._progress.start()
        self._task = self._progress.add_task(stage, total=n_units, completed=n_done, rate="")

    def advance(self, stage: str, key: str) -> None:
        """Move the bar."""
        speed = self._progress.tasks[0].speed
        self._progress.update(self._task, advance=1, rate=f"{speed:.2f} units/s" if speed else "")

    def end(self, stage: str) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Give the cursor back, also where a stage ended in an error."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
