"""What a Dask worker process does when it starts (a preload of `distributed`)."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Leave an interrupt, which a terminal sends to all processes, to the one that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
