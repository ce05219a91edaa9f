"""Dask worker processes on this machine, one thread each.

The scheduler executes what it is sent, so even on the loopback interface, which other users of a login node
share, its connections are encrypted and need a certificate that lives in this process alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster, Security

from hpcgeom.errors import ResourceError
from hpcgeom.launch.dask_common import CONFIG, run

__all__ = ["WORKERS_TIMEOUT_S", "cluster", "run"]

WORKERS_TIMEOUT_S = 120

_CONFIG = {**CONFIG, "distributed.scheduler.no-workers-timeout": f"{WORKERS_TIMEOUT_S}s"}


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
