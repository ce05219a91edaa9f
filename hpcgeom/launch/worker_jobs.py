"""The jobs of Dask workers: how one is submitted, and what was submitted so far."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hpcgeom.launch.slurm.commands import SchedulerError, run

SUBMIT_TIMEOUT_S = 120.0


@contextmanager
def _interrupt_handler_kept() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


with _interrupt_handler_kept():  # its import makes an interrupt end the process without a word
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob
    from distributed.deploy.spec import ProcessInterface


@dataclass(slots=True)
class Submissions:
    """What was submitted for one cluster.

    Attributes
    ----------
    most_in_vain
        How many jobs may be submitted whose worker is never seen.
    ids
        Of jobs that were accepted, in order.
    seen
        Names of workers that were seen.
    refusals
        What was said when jobs were not accepted.
    """

    most_in_vain: int
    ids: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)

    @property
    def is_exhausted(self) -> bool:
        """Whether it is no use to submit more."""
        return len(self.ids) + len(self.refusals) - len(self.seen) >= self.most_in_vain


class WorkerJob(SLURMJob):
    """One job with one worker; subclassed with its `submissions` for each cluster."""

    submit_command = "sbatch --parsable"
    # On a line of its own: banners may hold numbers as well. A federation adds the name of the cluster.
    job_id_regexp = r"(?m)^(?P<job_id>\d+)(?:;\S+)?$"
    submissions: Submissions

    async def start(self) -> None:
        """Submit; a job that is not accepted is noted, and submitted again when workers are looked for."""
        if self.submissions.is_exhausted:
            await ProcessInterface.start(self)
            return
        try:
            await super().start()  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError, OSError) as error:
            self.submissions.refusals.append(" ".join(str(error).split()))
            await ProcessInterface.start(self)
        else:
            self.submissions.ids.append(str(self.job_id))

    async def close(self) -> None:
        """Cancel it, whether it waits or runs."""
        await super().close()  # type: ignore[no-untyped-call]
        await ProcessInterface.close(self)

    @staticmethod
    async def _call(cmd: Sequence[str], **_options: Any) -> str:
        """Call sbatch or scancel as from outside of any job, and not for ever."""
        try:
            return await asyncio.to_thread(run, *cmd, timeout_s=SUBMIT_TIMEOUT_S)
        except SchedulerError as error:
            raise RuntimeError(str(error)) from error


class WorkerCluster(SLURMCluster):
    """A scheduler in this process, and jobs with names that are never used twice."""

    def __init__(self, **options: Any) -> None:
        self._n_names = 0
        super().__init__(**options)

    def _new_worker_name(self, worker_number: int) -> str:
        self._n_names += 1
        return f"{self._name}-{self._n_names}"

    def _get_worker_security(self, security: object) -> None:
        """Nothing: the command line already names the files."""

    def job_names(self) -> dict[str, str | None]:
        """Ids of jobs by the names of their workers, None for one that was refused; event loop's thread."""
        return {name: job.job_id for name, job in self.workers.items()}

    def forget(self, names: Sequence[str]) -> None:
        """Make room for others in place of these workers; event loop's thread."""
        for name in names:
            self.workers.pop(name, None)
            self.worker_spec.pop(name, None)


def directives(options: dict[str, str]) -> list[str]:
    """Options as sbatch reads them, those without a value as flags."""
    return [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]


def quoted(words: Sequence[str]) -> list[str]:
    """Words as a shell reads them, because dask_jobqueue pastes them into a script as they are."""
    return [shlex.quote(word) for word in words]
