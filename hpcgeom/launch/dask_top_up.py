"""Jobs of workers are replaced when they are gone, and none remains at the end."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from hpcgeom.launch.dask_step import last_lines
from hpcgeom.launch.slurm.commands import SchedulerError, cancel
from hpcgeom.launch.slurm.states import JobState, alive_by_name, states_of
from hpcgeom.launch.worker_jobs import Submissions, WorkerCluster

NO_MORE_WORKERS_S = 1.0
SHOWN_JOBS = 4


class TopUp:
    """Keeps the number of jobs.

    Parameters
    ----------
    job_name
        Of every job, and of no other of this user.
    log_folder
        Where jobs write ``<job_name>-<job id>.log``.
    """

    def __init__(
        self,
        workers: WorkerCluster,
        submissions: Submissions,
        job_name: str,
        n_workers: int,
        every_s: float,
        log_folder: Path,
    ) -> None:
        self.has_given_up = False
        self._workers = workers
        self._submissions = submissions
        self._job_name = job_name
        self._n_workers = n_workers
        self._every_s = every_s
        self._log_folder = log_folder
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="dask-top-up", daemon=True)

    def start(self) -> None:
        """Submit the jobs, now and whenever some are gone."""
        self._workers.scale(self._n_workers)  # type: ignore[no-untyped-call]
        self._thread.start()

    def close(self) -> None:
        """Submit no more."""
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def sweep(self) -> None:
        """Cancel every job of the name, also those whose id never arrived here."""
        with contextlib.suppress(SchedulerError):  # a worker that is left ends when it finds no scheduler
            cancel(alive_by_name([self._job_name])[self._job_name])

    def account(self) -> str:
        """What became of the last jobs."""
        states = list(states_of(self._submissions.ids[-SHOWN_JOBS:]).values())
        told = [f"{len(self._submissions.ids)} jobs were accepted", *map(_of_job, states)]
        begun = [state.job_id for state in states if state.state != "pending"]
        if begun:
            log = self._log_folder / f"{self._job_name}-{begun[-1]}.log"
            told.append(f"the log {log} says: {last_lines(log)}")
        if self._submissions.refusals:
            told.append(
                f"{len(self._submissions.refusals)} were refused, last: {self._submissions.refusals[-1]}"
            )
        return "; ".join(told)

    def _keep_up(self) -> None:
        while not self._is_over.wait(self._every_s):
            with contextlib.suppress(SchedulerError):  # asked again in a moment
                self._look()
            if self.has_given_up:
                self._workers.scheduler.no_workers_timeout = NO_MORE_WORKERS_S
                return

    def _look(self) -> None:
        known = self._workers.sync(_in_loop, self._workers.job_names)
        # Asked after the jobs were listed: one that is submitted in between is not taken for a missing one.
        alive = set(alive_by_name([self._job_name])[self._job_name])
        connected = {str(worker.name) for worker in list(self._workers.scheduler.workers.values())}
        self._submissions.seen |= connected
        gone = [name for name, job_id in known.items() if job_id not in alive and name not in connected]
        if self._submissions.is_exhausted:
            self.has_given_up = not alive and not connected
            return
        self._workers.sync(_in_loop, self._workers.forget, gone)
        self._workers.scale(self._n_workers)  # type: ignore[no-untyped-call]


async def _in_loop(function, *arguments):  # type: ignore[no-untyped-def]
    return function(*arguments)


def _of_job(state: JobState) -> str:
    details = [state.reason] if state.state == "pending" else [state.reason, state.exit_code]
    text = " ".join(filter(None, details))
    return f"job {state.job_id} is {state.state}" + (f" ({text})" if text else "")
