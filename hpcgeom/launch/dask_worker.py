"""One Dask worker on whatever node a scheduler of jobs has put it, and the nanny that starts it again.

``python -m hpcgeom.launch.dask_worker tls://HOST:PORT --tls-ca-file .. [options of dask worker]``
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence

import dask
from distributed.cli.dask_worker import main as dask_worker

from hpcgeom.launch.dask_common import CONFIG

_LEAVING = "hpcgeom.launch.worker_leaving"

OPTIONS = (
    *("--nanny", "--nworkers", "1", "--nthreads", "1", "--memory-limit", "0"),
    # Without a dashboard a worker still listens for HTTP, though it answers nothing: on this node alone.
    *("--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
    *(
        "--preload",
        CONFIG["distributed.worker.preload"][0],
        "--preload",
        _LEAVING,
        "--preload-nanny",
        _LEAVING,
    ),
)
"""Of every worker; they come last on its command line and win."""


def worker_name(environment: Mapping[str, str]) -> str:
    """The name of the worker that is one task of a SLURM step; another step's workers have other names."""
    return "-".join(environment.get(f"SLURM_{part}", "0") for part in ("JOB_ID", "STEP_ID", "PROCID"))


def main(arguments: Sequence[str]) -> None:
    """Serve until the scheduler lets go of the worker."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        # Means "the job ends soon" to the process that gives the work out, which may let the worker go on.
        signal.signal(number, signal.SIG_IGN)
    name = [] if "--name" in arguments else ["--name", worker_name(os.environ)]
    with dask.config.set(CONFIG):
        dask_worker([*arguments, *name, *OPTIONS], prog_name="hpcgeom worker")


if __name__ == "__main__":
    main(sys.argv[1:])
