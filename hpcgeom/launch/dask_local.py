"""Dask worker processes on this machine, one thread each.

The scheduler executes what it is sent, so even on the loopback interface, which other users of a login node
share, its connections are encrypted and need a certificate that lives in this process alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import dask
from distributed import Client, LocalCluster, Security, as_completed

from hpcgeom.errors import ResourceError

Argument = TypeVar("Argument")
Result = TypeVar("Result")

WORKERS_TIMEOUT_S = 120

_CONFIG = {
    # Dask's default for MALLOC_TRIM_THRESHOLD_ gives freed memory back at once: the pages of every large
    # tensor are then mapped anew, which cost a third of the time of a forward pass where it was measured.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1
    ),
    "distributed.worker.preload": ["hpcgeom.launch.worker_setup"],
    # HTTP would be neither encrypted nor ask for a certificate: nothing is served over it.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # A worker is given one unit at a time: where it dies, none that only waited there comes under suspicion.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.no-workers-timeout": f"{WORKERS_TIMEOUT_S}s",
    # A unit may keep the interpreter busy in compiled code for long.
    "distributed.scheduler.worker-ttl": "30 minutes",
    "distributed.admin.tick.limit": "1h",
    # Tasks carry numbers, not arrays: there is nothing to spill, and pausing would only wait for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


@contextmanager
def cluster(n_workers: int) -> Iterator[Client]:
    """Worker processes for as long as the body runs.

    Raises
    ------
    ResourceError
        The workers did not start in time.
    """
    with dask.config.set(_CONFIG):
        try:
            workers = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                security=Security.temporary(),
                dashboard_address="127.0.0.1:0",  # None would be port 8787, which another run may have
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        except (RuntimeError, OSError) as error:
            raise _not_started(n_workers, error) from error
        with workers, Client(workers) as client:
            try:
                client.wait_for_workers(n_workers, timeout=WORKERS_TIMEOUT_S)
            except TimeoutError as error:
                raise _not_started(n_workers, error) from error
            yield client


def _not_started(n_workers: int, error: Exception) -> ResourceError:
    return ResourceError(
        f"{n_workers} worker processes did not start ({type(error).__name__}: {error}): "
        "use fewer --workers, or look at the machine's load and memory"
    )


def run(
    client: Client,
    function: Callable[[Argument], Result],
    arguments: Sequence[Argument],
    on_result: Callable[[Result], None],
    on_lost: Callable[[Argument, Exception], None],
) -> None:
    """Call `function` on each argument on whichever worker is free, and `on_result` with each result.

    Parameters
    ----------
    on_lost
        Called with an argument whose workers died again and again, and the error; the others go on.
    """
    futures = client.map(function, arguments, pure=False, retries=0)
    by_key = dict(zip((future.key for future in futures), arguments, strict=True))
    for future in as_completed(futures):
        error = future.exception()
        if error is None:
            on_result(future.result())
        else:
            on_lost(by_key[future.key], error)
        future.release()
