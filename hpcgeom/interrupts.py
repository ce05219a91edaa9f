"""Being told to stop: at once, but not in the middle of writing what a unit has worked out.

Killing a process at any moment loses nothing but the unit that it was doing. A unit whose numbers are there
and whose files are being written is worth the seconds until its record is: an interruption waits for it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

TERMINATED = 143
"""Exit code of a process that was told to end: 128 + SIGTERM."""


class Stopped(SystemExit):
    """The process was told to end; not an `Exception`, so that nobody takes it for the failure of a unit."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


class _Unit:
    """The unit that this process is doing."""

    is_held = False
    pending: BaseException | None = None


def request(error: BaseException) -> None:
    """Interrupt the process, from a signal handler: raise `error` now, or when a unit's files are written."""
    if _Unit.is_held:
        _Unit.pending = error
        return
    raise error


def hold() -> None:
    """From here to the end of the unit an interruption waits: its files are being written."""
    _Unit.is_held = True


@contextmanager
def unit() -> Iterator[None]:
    """The body does one unit; an interruption that had to wait for it is raised when it is done."""
    try:
        yield
    finally:
        _Unit.is_held = False
        pending, _Unit.pending = _Unit.pending, None
        if pending is not None:
            raise pending  # also where the unit has failed: whoever asked for the end is heard


@contextmanager
def unheard(*numbers: signal.Signals) -> Iterator[None]:
    """Ignore signals while the body runs."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
