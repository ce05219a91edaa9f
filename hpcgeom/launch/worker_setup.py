"""What a Dask worker process does when it starts and ends (a preload of `distributed`)."""

from __future__ import annotations

import logging
import signal


def dask_setup(_worker: object) -> None:
    """Leave an interrupt, which a terminal sends to all processes, to the one that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Tells of every connection that ends, with a traceback, as if it were an accident.
    logging.getLogger("distributed.batched").setLevel(logging.WARNING)


def dask_teardown(_worker: object) -> None:
    """Say nothing more: a thread that waits for a word of the nanny takes the end for an error."""
    logging.getLogger("distributed.nanny").setLevel(logging.CRITICAL)
