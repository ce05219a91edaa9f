"""A thread that writes one unit while the next one is worked out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from hpcgeom import interrupts, trace


class Writer:
    """Calls functions beside the caller, one after the other, with at most one ahead.

    What has been handed over is finished in any case, also where the body is interrupted: numbers that are
    worked out are worth the seconds that writing them takes.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hpcgeom-writer")
        self._writing: Future[None] | None = None

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
            self._thread.shutdown(wait=True)

    def put(self, write: Callable[[], None]) -> None:
        """Have `write` called; waits for the one before, and raises what that raised."""
        self.wait()
        self._writing = self._thread.submit(write)

    def wait(self) -> None:
        """Wait until all is written; raises what the last call raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            with trace.span("wait"):
                writing.result()
