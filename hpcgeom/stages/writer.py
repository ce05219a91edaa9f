"""Threads that write a unit while the next one is worked out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType

from hpcgeom import interrupts, trace

LOOK_EVERY_S = 0.2
"""A signal that comes just before a wait begins is heard when that ends, so no wait is long."""


class Writer:
    """Calls functions beside the caller.

    A call begins at once, while the one before still waits for its last files to become durable: otherwise
    both disk and processor would idle at the end of each unit. Who hands it over goes on when the one before
    is over, so that no more than two units are held: one is written, and so is the other or it is worked out.

    What has been handed over is finished in any case, also where the body is interrupted: numbers that are
    worked out are worth the seconds that writing them takes.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="hpcgeom-writer")
        self._last: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupts.hold()
        try:
            if error is None:
                self.wait()
        finally:
            self._threads.shutdown(wait=True)

    def put(self, write: Callable[[], None]) -> None:
        """Have `write` called; waits for the one before, and raises what that raised.

        `write` is called in any case.
        """
        before, self._last = self._last, self._threads.submit(write)
        _wait_for(before)

    def wait(self) -> None:
        """Wait until all is written; raises what the last call raised."""
        last, self._last = self._last, None
        _wait_for(last)


def _wait_for(writing: Future[None] | None) -> None:
    if writing is not None:
        with trace.span("wait"):
            while not wait([writing], LOOK_EVERY_S).done:
                pass
            writing.result()
