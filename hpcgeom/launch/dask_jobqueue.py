"""Dask workers that are SLURM jobs of their own, through dask_jobqueue.

The scheduler is in this process, which is itself a small job or runs on a login node. Workers come and go as
the cluster lets them; a lost one is replaced by a new job. A worker leaves before its walltime: what it was
doing is done by another.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import yaml
from distributed import Client

from hpcgeom.launch.dask_common import CONFIG, explained, node_address, wait_for_one
from hpcgeom.launch.dask_security import Credentials, credentials
from hpcgeom.launch.dask_top_up import TopUp
from hpcgeom.launch.worker_jobs import Submissions, WorkerCluster, WorkerJob, directives, quoted
from hpcgeom.manifest import shell_text

ADVICE = (
    "Look whether the jobs only wait (profile: dask: start_timeout_s), whether Python starts in them "
    "(environment), and whether they reach this address (dask: interface)"
)
"""Where no worker comes."""
MOST_IN_VAIN = 10
"""Times the number of workers: how many jobs are submitted whose worker is never seen."""
WORKER_WAITS_S = 120
"""How long a worker waits for a scheduler that is gone."""
ALLOWED_FAILURES = 6
"""Of the workers of one call: lost nodes count; those that leave in time, or are told to leave, do not."""
_PLACES = {
    "partition": shell_text.PARTITION,
    "account": shell_text.ACCOUNT,
    "qos": shell_text.QOS,
    "constraint": shell_text.CONSTRAINT,
    "reservation": shell_text.RESERVATION,
    "exclude": shell_text.NODES,
}


@contextmanager
def cluster(
    n_workers: int,
    folder: Path,
    start_timeout_s: float,
    interface: str | None = None,
    *,
    walltime_s: int,
    placement: Mapping[str, str | None] | None = None,
    memory_gb: float | None = None,
    cpus: int = 1,
    gpus: int = 0,
    gpu_type: str | None = None,
    python: Sequence[str] = (sys.executable,),
    setup: Sequence[str] = (),
    logs: Path | str | None = None,
    name: str | None = None,
    refill_every_s: float = 30.0,
) -> Iterator[Client]:
    """Jobs with a worker each for as long as the body runs; at least one is there when it begins.

    Parameters
    ----------
    n_workers
        Jobs, of one process of one thread each.
    folder
        Of the run; all nodes see it. Keys are below it while the body runs.
    start_timeout_s
        How long to wait for the first worker; and, when none is left later, for one of them to come.
    interface
        The network interface of this machine and the nodes that they talk over, such as ``ib0``.
    walltime_s
        Of a job; whole minutes.
    placement
        Any of ``partition``, ``account``, ``qos``, ``constraint``, ``reservation`` and ``exclude``.
    memory_gb
        GiB of a job; the cluster's default when None.
    cpus, gpus, gpu_type
        Of a job.
    python
        The command that is Python on the nodes.
    setup
        Lines of shell before it.
    logs
        Where jobs write ``<name>-<job id>.log``; by default it is removed at the end.
    name
        What the names of the jobs begin with; by default the name of the job that this process is in.
    refill_every_s
        Seconds between looks for workers that are gone.

    Raises
    ------
    ResourceError
        No worker came in time, or all were lost and none came back; says what became of their jobs.
    InputError
        A value may not be in a script, or there is no such `interface` here.
    """
    asked = _checked_placement(placement or {}) | _gpus(gpus, gpu_type)
    address = node_address(interface, is_alone=False)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_config(start_timeout_s)))
        keys = stack.enter_context(credentials(folder))
        job_name = _job_name(name, keys)
        log_folder = _log_folder(keys, logs)
        asked |= {"no-requeue": "", "open-mode": "append", "output": f"{log_folder}/%x-%j.log"}
        over = ["--interface", interface] if interface else []
        submissions = Submissions(MOST_IN_VAIN * n_workers)
        workers = WorkerCluster(
            name=job_name,
            job_cls=type("WorkerJob", (WorkerJob,), {"submissions": submissions}),
            security=keys.security,
            scheduler_options={"host": address, "dashboard_address": "127.0.0.1:0", "dashboard": False},
            silence_logs="critical",
            job_name=job_name,
            cores=1,
            processes=1,
            memory="1GiB",  # which must be said, and for which the next two speak
            job_mem=None if memory_gb is None else f"{math.ceil(memory_gb * 1024)}M",
            job_directives_skip=["#SBATCH --mem="] if memory_gb is None else [],
            job_cpu=cpus,
            walltime=str(walltime_s // 60),
            job_extra_directives=directives(asked),
            job_script_prologue=list(setup),
            python=" ".join(["exec", *quoted([*python, "-P"])]),
            worker_command="hpcgeom.launch.dask_worker",
            worker_extra_args=quoted([*_lifetime(walltime_s), *keys.options(), *over]),
            death_timeout=WORKER_WAITS_S,
        )
        top_up = TopUp(workers, submissions, job_name, n_workers, refill_every_s, log_folder)
        stack.callback(top_up.sweep)  # what was submitted while the others were ended
        stack.enter_context(workers)
        stack.callback(top_up.sweep)
        client = stack.enter_context(Client(workers))
        stack.callback(top_up.close)
        top_up.start()
        wait_for_one(workers.scheduler, top_up, n_workers, start_timeout_s, ADVICE)
        with explained(top_up.account):
            yield client


def _config(start_timeout_s: float) -> dict[str, Any]:
    import dask_jobqueue

    own = Path(dask_jobqueue.__file__).parent / "jobqueue.yaml"
    return {
        **CONFIG,
        "distributed.scheduler.no-workers-timeout": f"{start_timeout_s}s",
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        # What a user's own files say of jobs is for other programs.
        "jobqueue": yaml.safe_load(own.read_text(encoding="utf-8"))["jobqueue"],
    }


def _lifetime(walltime_s: int) -> list[str]:
    """Leave between a half and three halves of a margin before the walltime, not all at the same time."""
    margin_s = min(max(60.0, 0.05 * walltime_s), 0.25 * walltime_s)
    return ["--lifetime", f"{walltime_s - margin_s:g}s", "--lifetime-stagger", f"{margin_s / 2:g}s"]


def _checked_placement(placement: Mapping[str, str | None]) -> dict[str, str]:
    given = {key: value for key, value in placement.items() if value}
    return {key: _PLACES[key].required(value, f"slurm.{key}") for key, value in given.items()}


def _gpus(gpus: int, gpu_type: str | None) -> dict[str, str]:
    if not gpus:
        return {}
    if gpu_type:
        return {"gres": f"gpu:{shell_text.GPU_TYPE.required(gpu_type, 'gpu_type')}:{gpus}"}
    return {"gpus-per-node": str(gpus)}


def _job_name(name: str | None, keys: Credentials) -> str:
    begin = name or os.environ.get("SLURM_JOB_NAME", "hpcgeom")
    return shell_text.JOB_NAME.required(
        f"{begin}-workers-{keys.token.replace('_', '-')}", "the name of the workers"
    )


def _log_folder(keys: Credentials, logs: Path | str | None) -> Path:
    folder = keys.folder if logs is None else Path(logs).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shell_text.PATH.required(str(folder), "the folder of the logs"))
