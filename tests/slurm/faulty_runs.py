"""Runs on the lab whose jobs are disturbed: submitted by the process of the tests, finished by it or jobs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lab_jobs
from lab_cluster import Lab
from lab_faults import Faults
from lab_processes import wait_until

from hpcgeom.api.running import resume
from hpcgeom.api.submitting import Submission, resubmit, submit
from hpcgeom.cli import submission
from hpcgeom.plan.units import STAGES
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences
from hpcgeom.store.jobs import Job, jobs_of
from hpcgeom.store.records import Record

TIMEOUT_S = 120.0
LOCAL = "{mode: local, workers: 1, nodes: 1}"
ON_LAB = {
    "slurm": "{partition: main}",
    "extract": '{walltime: "00:10:00", jobs: 1}',
    "search": '{walltime: "00:10:00"}',
    "geometry": '{walltime: "00:10:00"}',
    "collect": '{walltime: "00:10:00"}',
    "dask": LOCAL,
}
"""One element for the two units of each model, and jobs without Dask for the rest."""


class FaultyRun:
    """One run on one lab.

    Parameters
    ----------
    folder
        An empty one of this test; the run is ``run`` in it.
    manifest, reference
        Of the same run, done before in one process.
    """

    def __init__(self, lab: Lab, folder: Path, manifest: Path, reference: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.lab, self.folder = lab, folder
        self.manifest, self.reference = manifest, reference
        self.root = folder / "run"
        self.faults = Faults(folder / "faults")

    def profile(self, **changes: str) -> Path:
        """`ON_LAB` with some sections exchanged."""
        path = self.folder / "profile.yaml"
        sections = {"name": "faulty", **ON_LAB, **changes}
        path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()))
        return path

    def submit(self, seconds: float = 0.0, more: dict[str, str] | None = None, **profile: str) -> Submission:
        """Hand the whole run over; jobs have the hook, and the variables `more`."""
        with self._environment(seconds, more):
            return submit(self.manifest, self.profile(**profile), self.root)

    def submit_from_search(self, more: dict[str, str] | None = None, **profile: str) -> Submission:
        """Hand over what follows the extraction, which is taken from the reference."""
        shutil.copytree(self.reference, self.root)
        for stage in STAGES[1:]:
            records = Run(self.root).records(stage)
            for unit in Run(self.root).units(stage):
                records.remove(unit)
            (records.folder / "done.json").unlink(missing_ok=True)
        with self._environment(0.0, more):
            return resubmit(self.root, self.profile(**profile))

    def resubmit(self) -> Submission:
        """`hpcgeom resume`, with the hook."""
        with self._environment(0.0, None):
            return resubmit(self.root)

    @contextmanager
    def _environment(self, seconds: float, more: dict[str, str] | None) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.update({**self.faults.environment(seconds), **(more or {})})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def jobs(self, stage: str, model: str = "") -> list[Job]:
        """Those that were submitted for a stage, oldest first."""
        return [job for job in jobs_of(self.root) if job.stage == stage and model in ("", job.model)]

    def id_of(self, stage: str, model: str = "") -> str:
        """The only element of the last job of a stage."""
        (found,) = self.jobs(stage, model)[-1].ids
        return found

    def state(self, job_id: str) -> dict[str, str]:
        """What the controller says."""
        (found,) = lab_jobs.records(self.lab, job_id)
        return dict(found)

    def log(self, job_id: str) -> str:
        """What a job has written so far."""
        found = {
            number: job.log_of(place) for job in jobs_of(self.root) for place, number in enumerate(job.ids)
        }
        path = Path(found[job_id])
        return path.read_text() if path.exists() else ""

    def wait_for_log(self, job_id: str, text: str, timeout_s: float = TIMEOUT_S) -> str:
        """Wait until a job has written something; its log."""
        wait_until(
            lambda: text in self.log(job_id), lambda: f"{text!r} not in {self.log(job_id)!r}", timeout_s, 0.1
        )
        return self.log(job_id)

    def wait_until_over(self, job_id: str, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
        """Wait until a job has ended for good; what the controller says then."""
        try:
            (found,) = lab_jobs.wait_until_over(self.lab, job_id, timeout_s)
        except lab_jobs.LabError as error:
            raise AssertionError(f"{error}: {self.log(job_id)}") from error
        return dict(found)

    def record(self, stage: str, index: int) -> Record | None:
        """Of a unit."""
        run = Run(self.root)
        return run.records(stage).load(run.select(stage, [index])[0])

    def attempts(self, stage: str) -> list[int]:
        """In which attempt of its job each unit of a stage was done."""
        run = Run(self.root)
        found = [run.records(stage).load(unit) for unit in run.units(stage)]
        return [-1 if record is None else record.made_by["attempt"] for record in found]

    def drop_jobs(self) -> None:
        """Take back whatever waits or runs, so that `finish_here` may do the rest."""
        submission.cancel(self.root)

    def finish_here(self) -> None:
        """Do what is missing in this process, and check the stores."""
        resume(self.root, workers=1)
        self.check()

    def wait_until_complete(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait for the last job, and check the stores."""
        last = self.id_of("collect")
        state = self.wait_until_over(last, timeout_s)
        said = submission.status(self.root, as_json=False)
        assert state["JobState"] == "COMPLETED", said[0]
        assert said[1] == 0, said[0]
        self.check()

    def check(self) -> None:
        """Complete, sound and identical to the reference; nobody holds anything."""
        assert differences(self.reference, self.root) == []
        assert verify(self.root).is_sound
        assert not list((self.root / "records").rglob("*.lease"))

    def status(self) -> str:
        """What ``hpcgeom status`` prints."""
        return submission.status(self.root, as_json=False)[0]


def use(lab: Lab, monkeypatch: Any) -> None:
    """Make the lab the cluster of this process."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
