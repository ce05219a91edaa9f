"""Dask workers on the nodes of the SLURM job that this process is the batch process of.

The scheduler is in this process, and all workers are tasks of one job step. The end of the job ends them all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from hpcgeom.launch.dask_common import CONFIG, explained, node_address, wait_for_one
from hpcgeom.launch.dask_security import Credentials, credentials
from hpcgeom.launch.dask_step import Step
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.slurm.commands import run as call

ADVICE = (
    "Look whether Python starts on the nodes (profile: environment), whether they reach this address "
    "(profile: dask: interface), and whether they only need longer (profile: dask: start_timeout_s)"
)
"""Where no worker comes."""
NO_MORE_WORKERS_S = 1.0


@contextmanager
def cluster(
    n_workers: int,
    folder: Path,
    start_timeout_s: float,
    interface: str | None = None,
    *,
    cpus: int = 1,
    python: Sequence[str] = (sys.executable,),
    environment: Mapping[str, str] | None = None,
    srun_options: Sequence[str] = (),
    logs: Path | str | None = None,
) -> Iterator[Client]:
    """Workers on the nodes of this job for as long as the body runs; at least one is there when it begins.

    A worker that dies is started again by its nanny. Where the whole step ends, it is started again a few
    times, on as many nodes as the job still has.

    Parameters
    ----------
    n_workers
        Processes of one thread each, spread evenly over the nodes.
    folder
        Of the run; all nodes see it. Keys are below it while the body runs.
    start_timeout_s
        How long to wait for the first worker; and, when all are lost later, for one of them to come back.
    interface
        The network interface of all nodes that they talk over, such as ``ib0``.
    cpus
        Reserved for each worker; what it runs may start that many threads by itself.
    python
        The command that is Python on the nodes.
    environment
        Variables of the workers, beside those of this process.
    srun_options
        Further options of ``srun``.
    logs
        Where what ``srun`` and the workers print is kept, as ``workers-<job id>-<random>.log``; by default it
        is removed at the end.

    Raises
    ------
    ResourceError
        No worker came in time, or all were lost and none came back; says what ``srun`` said.
    InputError
        This node has no such `interface`.
    """
    n_nodes = _n_nodes(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    address = node_address(interface, is_alone=n_nodes == 1)
    config = {**CONFIG, "distributed.scheduler.no-workers-timeout": f"{start_timeout_s}s"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(config))
        keys = stack.enter_context(credentials(folder))
        workers = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            host=address,
            security=keys.security,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
        )
        of_each = ["--interface", interface] if interface else ["--host", address] if n_nodes == 1 else []
        task = [
            *python,
            *("-P", "-m", "hpcgeom.launch.dask_worker", workers.scheduler_address, *keys.options(), *of_each),
            *("--death-timeout", f"{start_timeout_s}s"),
        ]
        name = f"workers-{os.environ.get('SLURM_JOB_ID', '')}-{keys.token}"
        step = Step(
            command=lambda: [*_srun(n_workers, n_nodes, cpus), f"--job-name={name}", *srun_options, *task],
            log=_log_folder(keys, logs) / f"{name}.log",
            environment={**os.environ, **(environment or {})},
            clear=lambda: _cancel_steps(name),
            on_given_up=lambda: setattr(workers.scheduler, "no_workers_timeout", NO_MORE_WORKERS_S),
        )
        stack.callback(step.close)
        client = stack.enter_context(Client(stack.enter_context(workers)))
        stack.callback(step.let_go)
        step.start()
        wait_for_one(workers.scheduler, step, n_workers, start_timeout_s, ADVICE)
        with explained(step.account):
            yield client


def _srun(n_workers: int, n_nodes_at_first: int, cpus: int) -> list[str]:
    """The step's command, for the nodes that the job has now; what is said on the command line wins over the
    variables of the batch process, which still speak of the nodes that it began with."""
    n_nodes = min(_nodes_left(n_nodes_at_first), n_workers)
    per_node = -(-n_workers // min(n_nodes_at_first, n_workers))
    return [
        *("srun", "--overlap", "--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--label", "--input=none"),
        f"--nodes={n_nodes}",
        f"--ntasks={min(n_workers, n_nodes * per_node)}",
        f"--ntasks-per-node={per_node}",
        f"--cpus-per-task={cpus}",
    ]


def _nodes_left(n_nodes_at_first: int) -> int:
    if n_nodes_at_first == 1:
        return 1
    try:
        text = call("squeue", "--noheader", "--format=%D", "--jobs", os.environ["SLURM_JOB_ID"])
    except SchedulerError:
        return n_nodes_at_first
    return _n_nodes(text.strip())


def _cancel_steps(name: str) -> None:
    """The tasks of a step outlive an srun that is killed."""
    with contextlib.suppress(SchedulerError):
        steps = call(
            "squeue", "--steps", "--noheader", "--format=%i %j", "--jobs", os.environ["SLURM_JOB_ID"]
        )
        for step_id, step_name in (line.split(maxsplit=1) for line in steps.splitlines() if " " in line):
            if step_name == name:
                call("scancel", step_id)


def _n_nodes(text: str) -> int:
    return int(text) if text.isdecimal() and int(text) > 0 else 1


def _log_folder(keys: Credentials, logs: Path | str | None) -> Path:
    folder = keys.folder if logs is None else Path(logs)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
