"""Where the units of a command run: in its process, on workers of this machine, or on those of a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcgeom.api.units import Launch, OnReceipts
from hpcgeom.errors import InputError
from hpcgeom.stages import task
from hpcgeom.stages.task import Task
from hpcgeom.store.jobs import FOLDER

if TYPE_CHECKING:
    from distributed import Client


def launcher(
    n_processes: int, root: Path, workers: dict[str, Any] | None = None
) -> AbstractContextManager[Launch]:
    """Where units run.

    Parameters
    ----------
    n_processes
        Of this machine; one is this process.
    workers
        What makes workers on other machines (`hpcgeom.store.jobs.Job.workers`), instead.
    """
    if workers is not None:
        return _on_workers(_cluster_of(workers, root))
    if n_processes == 1:
        return _here()
    from hpcgeom.launch import dask_local

    return _on_workers(dask_local.cluster(n_processes))


def workers_of_allocation(mode: str) -> dict[str, Any]:
    """What makes the workers of a job that was submitted by hand: one for each of its tasks.

    Raises
    ------
    InputError
        The mode is not one that needs no profile, or this is no job of SLURM.
    """
    if mode != "allocation":
        raise InputError(
            f"--dask {mode}: expected 'allocation'; other modes are in a profile: hpcgeom submit -p"
        )
    if "SLURM_JOB_ID" not in os.environ:
        raise InputError(
            "--dask allocation: this is no job of SLURM (SLURM_JOB_ID is not set): "
            "submit it with sbatch, or use --workers N"
        )
    n_workers = int(os.environ.get("SLURM_NTASKS", "1"))
    cpus = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
    return {"mode": mode, "n_workers": n_workers, "cpus": cpus, "start_timeout_s": 300, "interface": None}


@contextlib.contextmanager
def _here() -> Iterator[Launch]:
    from hpcgeom.launch import inline

    try:
        yield lambda tasks, on_receipts, is_over: inline.run(task.do, tasks, on_receipts, is_over)
    except BaseException as error:
        task.close(error)
        raise
    task.close()


@contextlib.contextmanager
def _on_workers(cluster: AbstractContextManager[Client]) -> Iterator[Launch]:
    """Workers are started when the first unit needs them."""
    from hpcgeom.launch import dask_local

    with contextlib.ExitStack() as stack:
        client: list[Client] = []

        def launch(tasks: Sequence[Task], on_receipts: OnReceipts, is_over: Callable[[], bool]) -> None:
            if not client:
                client.append(stack.enter_context(cluster))

            def on_lost(lost: Task, error: Exception) -> None:
                on_receipts(task.failed(lost, error))

            dask_local.run(client[0], task.do, tasks, on_receipts, on_lost, stop=is_over)

        yield launch


def _cluster_of(workers: dict[str, Any], root: Path) -> AbstractContextManager[Client]:
    settings = dict(workers)
    if settings.pop("mode") == "allocation":
        from hpcgeom.launch import dask_allocation

        return dask_allocation.cluster(folder=root / FOLDER, **settings)
    from hpcgeom.launch import dask_jobqueue

    return dask_jobqueue.cluster(folder=root / FOLDER, **settings)
