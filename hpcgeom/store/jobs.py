"""What was handed to a scheduler: one small file a job, written before it is submitted and again with its id.

A job whose file has no id may have been accepted all the same: its name finds it. The files say which units a
job does, so that a job is a command and nothing is sent along with it. They are hints to people and to later
submissions; what is done is in the records.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hpcgeom.errors import DamagedError, InputError
from hpcgeom.manifest.shell_text import JOB_NAME
from hpcgeom.store import files

FOLDER = "jobs"
SUBMISSION_LEASE = f"{FOLDER}/submission.lease"


@dataclass(frozen=True, slots=True)
class Job:
    """One submission: a job, or an array of them.

    Attributes
    ----------
    name
        Of the file, and the name that the scheduler knows it by; no other submission of this user has it.
    stage, model
        What it does; the model is empty where it does all of the stage.
    elements
        Units of each element of an array, as text (``0-3,7``); empty where the job does whatever its stage
        lacks.
    processes
        How many of this machine do units, each its own.
    tasks
        How many processes, of one step of the job, run its model together.
    walltime_s
        After which the scheduler ends it.
    max_requeues
        How often it may put itself back into the queue.
    workers
        What makes its Dask workers, and of what kind; None where it has none but those of its own machine.
    depends_on
        Names of the jobs that end before it starts.
    job_id, submitted, log
        What the scheduler called it, when, and where its elements write (``%A``, ``%a``); empty before.
    """

    name: str
    stage: str
    model: str = ""
    elements: tuple[str, ...] = ()
    processes: int = 1
    tasks: int = 1
    walltime_s: int = 0
    max_requeues: int = 0
    workers: dict[str, Any] | None = None
    depends_on: tuple[str, ...] = ()
    job_id: str = ""
    submitted: str = ""
    log: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """What the scheduler calls the job, or each element of the array."""
        if not self.job_id:
            return ()
        if not self.elements:
            return (self.job_id,)
        return tuple(f"{self.job_id}_{number}" for number in range(len(self.elements)))

    def log_of(self, number: int) -> str:
        """Where an element writes."""
        return self.log.replace("%A", self.job_id).replace("%j", self.job_id).replace("%a", str(number))


def write_job(root: Path, job: Job) -> Job:
    """Write the file of a job."""
    files.write_json(root / FOLDER / f"{job.name}.json", asdict(job))
    return job


def forget_job(root: Path, job: Job) -> None:
    """Take the file of a job away that the scheduler does not know."""
    (root / FOLDER / f"{job.name}.json").unlink(missing_ok=True)


def read_job(root: Path, name: str) -> Job:
    """The job called `name`.

    Raises
    ------
    InputError
        There is none.
    DamagedError
        Its file is not one of a job.
    """
    path = root / FOLDER / f"{JOB_NAME.required(name, 'a job of the run')}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Job)}
        job = Job(**{key: value for key, value in found.items() if key in known})
        return replace(job, elements=tuple(job.elements), depends_on=tuple(job.depends_on))
    except FileNotFoundError:
        raise InputError(
            f"{root} has no job '{name}' (there is no {path}): hpcgeom status {root} lists them"
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedError(
            f"{path} cannot be read ({error}): remove it, then hpcgeom resume {root} submits what is missing"
        ) from error


def jobs_of(root: Path) -> list[Job]:
    """All jobs of a run, oldest first."""
    return [read_job(root, path.stem) for path in sorted((root / FOLDER).glob("hpcgeom-*.json"))]
