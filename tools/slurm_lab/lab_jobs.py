"""Jobs of a lab, for tests: submit one, ask about it, wait for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from lab_cluster import Lab
from lab_processes import LabError, wait_until

Record = Mapping[str, str]

OVER = frozenset(
    {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "PREEMPTED",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "DEADLINE",
    }
)
_EVERY_S = 0.1


def submit(
    lab: Lab,
    *arguments: str,
    script: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Submit with sbatch.

    Parameters
    ----------
    arguments
        Of sbatch; without `script` they name one, or hold --wrap.
    script
        Text of a batch script; a line #!/bin/bash is put before one that has none.
    cwd
        Where the job runs and writes its slurm-ID.out; `lab.work` if not given.
    environment
        More variables of the job.

    Returns
    -------
    str
        The job's id.

    Raises
    ------
    LabError
        sbatch refused it; the message holds what it said.
    """
    if script is not None and not script.startswith("#!"):
        script = f"#!/bin/bash\n{script}"
    command = ("sbatch", "--parsable", *arguments)
    done = lab.run(*command, cwd=lab.work if cwd is None else cwd, environment=environment, stdin=script)
    return done.stdout.strip().partition(";")[0]


def records(lab: Lab, job_id: str) -> list[Record]:
    """What `scontrol show job` says: one record for a job, or for each element of an array.

    Elements of an array that have not started share one record.
    """
    lines = lab.run("scontrol", "-o", "show", "job", job_id).stdout.splitlines()
    pairs = [[word.partition("=") for word in line.split()] for line in lines if line.strip()]
    return [{key: value for key, _, value in line} for line in pairs]


def wait_for(lab: Lab, job_id: str, is_so: Callable[[Record], bool], timeout_s: float = 60.0) -> list[Record]:
    """Wait until something is so for all records of a job.

    Raises
    ------
    LabError
        It is not so in time; the message holds state, reason and restarts.
    """
    seen: list[Record] = []

    def is_so_for_all() -> bool:
        seen[:] = records(lab, job_id)
        return all(map(is_so, seen))

    def complaint() -> str:
        keys = ("JobState", "Reason", "Restarts", "ExitCode", "NodeList")
        told = "; ".join(" ".join(f"{key}={record.get(key)}" for key in keys) for record in seen)
        return f"job {job_id} did not come to what is waited for ({told})"

    wait_until(is_so_for_all, complaint, timeout_s, _EVERY_S)
    return seen


def wait_for_state(lab: Lab, job_id: str, *states: str, timeout_s: float = 60.0) -> list[Record]:
    """Wait until all records of a job are in one of the states, such as RUNNING or COMPLETED."""
    return wait_for(lab, job_id, lambda record: record["JobState"] in states, timeout_s)


def wait_until_over(lab: Lab, job_id: str, timeout_s: float = 60.0) -> list[Record]:
    """Wait until a job, or all elements of an array, have ended for good."""
    return wait_for_state(lab, job_id, *OVER, timeout_s=timeout_s)


def submit_and_wait(
    lab: Lab, *arguments: str, script: str | None = None, timeout_s: float = 60.0, **how: object
) -> list[Record]:
    """Submit, and wait until it is over; see `submit` for the arguments."""
    job_id = submit(lab, *arguments, script=script, **how)  # type: ignore[arg-type]
    return wait_until_over(lab, job_id, timeout_s)


def output(record: Record) -> str:
    """What a batch script has printed; "" where it has not written anything."""
    path = Path(record["StdOut"])
    return path.read_text(encoding="utf-8") if path.exists() else ""


def wait_for_text(record: Record, text: str, timeout_s: float = 30.0) -> str:
    """Wait until a batch script has printed something; returns all that it has printed."""
    wait_until(lambda: text in output(record), lambda: f"{text!r} not in {output(record)!r}", timeout_s)
    return output(record)


__all__ = [
    "OVER",
    "LabError",
    "Record",
    "output",
    "records",
    "submit",
    "submit_and_wait",
    "wait_for",
    "wait_for_state",
    "wait_for_text",
    "wait_until_over",
]
