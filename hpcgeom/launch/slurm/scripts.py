"""sbatch scripts, written and submitted through submitit.

A script runs a command, not a pickled function: people can read it and run it by hand, nothing is unpickled
on a node, and no element of an array waits for a file that its submitter had still to write.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import submitit

from hpcgeom.launch.slurm.commands import SchedulerError, outside_a_job

TIMEOUT_S = 120
"""For sbatch: a busy controller may take long, a hanging one for ever."""
_KILL_AFTER_S = 10
_TIMED_OUT = frozenset({124, 137, -9})
"""Exit codes of ``timeout`` where its command did not end; -9 where that ignored being told to."""

_IGNORED_UNTIL_PYTHON_LISTENS = ("sh", "-c", "trap '' USR1 USR2; exec \"$@\"", "hpcgeom")
"""A warning that comes while Python starts must not kill it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where jobs go: what sbatch calls these things; empty for the cluster's own default."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclude: str | None = None


@dataclass(frozen=True, slots=True)
class JobScript:
    """Everything that a script says.

    Attributes
    ----------
    command
        Words of the command; its first ones start Python.
    setup
        Lines of shell before it.
    logs
        Folder of the logs, absolute; it must exist when the job starts.
    memory_gb
        GiB of a node.
    gpus, gpu_type
        Of a node.
    warn_s
        Seconds before the walltime at which the job is warned.
    n_elements, at_once
        Of an array, and how many of them run at the same time; None for a single job.
    depends_on
        Ids of the jobs that end, well or not, before it starts.
    is_step
        Whether srun starts the command, so that the scheduler's signals reach it; else it replaces the
        script's shell, and may itself start steps and submit jobs. The tasks of one step work together: they
        end each other, with the name of the one that failed, so that srun is to leave that to them.
    """

    name: str
    command: tuple[str, ...]
    setup: tuple[str, ...]
    logs: Path
    walltime_s: int
    memory_gb: float
    cpus: int = 1
    nodes: int = 1
    tasks_per_node: int = 1
    gpus: int = 0
    gpu_type: str | None = None
    warn_s: int = 120
    placement: Placement = Placement()
    n_elements: int | None = None
    at_once: int = 256
    depends_on: tuple[str, ...] = ()
    is_step: bool = True

    @property
    def log(self) -> str:
        """Name of the log of each element, with sbatch's ``%A`` and ``%a`` or ``%j``."""
        return str(self.logs / ("%A_%a_0_log.out" if self.n_elements else "%j_0_log.out"))


def text_of(script: JobScript) -> str:
    """The sbatch script."""
    executor = _Executor(script)
    return executor.text()


def submit(script: JobScript) -> str:
    """Submit a job and return its id.

    Raises
    ------
    SchedulerError
        sbatch refused it, did not answer, or said something that holds no job id.
    """
    script.logs.mkdir(parents=True, exist_ok=True)
    executor = _Executor(script)
    with _environment_outside_a_job():
        try:
            return str(executor.submit_script().job_id)
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            if getattr(error.__cause__, "returncode", 0) in _TIMED_OUT:
                raise SchedulerError(
                    f"sbatch did not answer within {TIMEOUT_S} s: the controller is busy or down, and may "
                    f"have accepted the job '{script.name}' all the same; try the same command again in a "
                    "few minutes, it finds the job by its name"
                ) from None
            said = " ".join(str(error).split())
            raise SchedulerError(
                f"the job '{script.name}' was not accepted: {said}: correct the profile, and see "
                "hpcgeom doctor --profile; what was accepted before stays, and the same command goes on"
            ) from None


class _Executor(submitit.SlurmExecutor):
    """submitit's writer of scripts and caller of sbatch, for one command in place of a pickled function."""

    def __init__(self, script: JobScript) -> None:
        super().__init__(folder=script.logs)
        self._script = script
        self.update_parameters(**_parameters(script))
        if script.n_elements is not None:
            self.parameters["map_count"] = script.n_elements

    @classmethod
    def affinity(cls) -> int:
        """Scripts can be written where there is no scheduler."""
        return 2

    def text(self) -> str:
        return str(self._make_submission_file_text(self._submitit_command_str, uid=""))

    def submit_script(self) -> submitit.Job[Any]:
        return self._submit_command(self._submitit_command_str)

    @property
    def _submitit_command_str(self) -> str:
        words = shlex.join(self._script.command)
        if self._script.is_step:
            return f"{shlex.join(_IGNORED_UNTIL_PYTHON_LISTENS)} {words}"
        return f"trap '' USR1 USR2\nexec {words}"

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        patience = (f"--kill-after={_KILL_AFTER_S}", str(TIMEOUT_S))
        return ["timeout", *patience, "sbatch", str(submission_file_path)]

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        said = string if isinstance(string, str) else string.decode(errors="replace")
        found = re.findall(r"^Submitted batch job (\d+)", said, flags=re.MULTILINE)
        if len(found) != 1:
            raise submitit.core.utils.FailedSubmissionError(f"sbatch said {said!r}, which names no job")
        return str(found[0])


def _parameters(script: JobScript) -> dict[str, Any]:
    where = script.placement
    warning = f"USR2@{script.warn_s}" if script.is_step else f"B:USR2@{script.warn_s}"
    extra: dict[str, Any] = {"signal": warning, "requeue": True, "mem": f"{ceil(script.memory_gb * 1024)}M"}
    if script.nodes > 1 and not script.is_step:
        extra["no-kill"] = True  # what still runs on the other nodes goes on when one is lost
    if where.reservation:
        extra["reservation"] = where.reservation
    found: dict[str, Any] = {
        "job_name": script.name,
        "time": script.walltime_s // 60,
        "nodes": script.nodes,
        "ntasks_per_node": script.tasks_per_node,
        "cpus_per_task": script.cpus,
        "additional_parameters": extra,
        "partition": where.partition,
        "account": where.account,
        "qos": where.qos,
        "constraint": where.constraint,
        "exclude": where.exclude,
        "setup": list(script.setup),
        "signal_delay_s": script.warn_s,
        "array_parallelism": script.at_once,
        "wckey": None,  # submitit's own default is refused where such keys are enforced
        "stderr_to_stdout": True,
        "use_srun": script.is_step,
    }
    if script.is_step:  # which SLURM before 23.11 does not hand on to srun
        found["srun_args"] = [f"--cpus-per-task={script.cpus}"]
        if script.nodes * script.tasks_per_node > 1:
            found["srun_args"] += ["--kill-on-bad-exit=0", "--wait=0"]
    if script.depends_on:
        found["dependency"] = "afterany:" + ":".join(script.depends_on)
    if script.gpu_type and script.gpus:
        found["gres"] = f"gpu:{script.gpu_type}:{script.gpus}"
    elif script.gpus:
        found["gpus_per_node"] = script.gpus
    return found


@contextmanager
def _environment_outside_a_job() -> Iterator[None]:
    """Submit as from a login node: what an enclosing job has in its environment would be the new job's."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(outside_a_job(before))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
