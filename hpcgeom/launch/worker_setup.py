"""What a Dask worker process does when it starts and ends (a preload of `distributed`)."""

from __future__ import annotations

import logging
import signal

from hpcgeom.launch.devices import number_on_node, take_one


def dask_setup(worker: object) -> None:
    """Take one GPU; leave interrupts and warnings, which all processes get, to whoever started this one."""
    take_one(number_on_node(getattr(worker, "name", None)))
    # The end of a job is announced to all of its processes; the one that gives work out heeds it.
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    # Tells of every connection that ends, with a traceback, as if it were an accident.
    logging.getLogger("distributed.batched").setLevel(logging.WARNING)


def dask_teardown(_worker: object) -> None:
    """Say nothing more: a thread that waits for a word of the nanny takes the end for an error."""
    logging.getLogger("distributed.nanny").setLevel(logging.CRITICAL)
