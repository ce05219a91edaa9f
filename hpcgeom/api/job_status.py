"""How far a run is: truth from its records, hints from the scheduler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hpcgeom.launch.slurm import states
from hpcgeom.launch.slurm.states import JobState
from hpcgeom.plan.packing import pack, unpack
from hpcgeom.plan.units import STAGES_OF_JOBS
from hpcgeom.stages.run import Run
from hpcgeom.stages.speeds import speeds_of
from hpcgeom.stages.status import StageStatus, status_of
from hpcgeom.store.jobs import Job, jobs_of

SCHEMA = 1
LAST_LINES, _TAIL_BYTES = 5, 16 * 2**10


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ElementReport(_Report):
    """One job, or one element of an array, that ended without doing all of its units.

    Attributes
    ----------
    job_id, state, exit_code
        As the scheduler says; the state is ``unknown`` where it says nothing.
    units
        Those of its units that are missing, such as ``0-3,7``; empty where it did whatever its stage lacked.
    log, last_lines
        Where it wrote, and the end of that.
    """

    job_id: str
    state: str
    exit_code: str
    units: str
    log: str
    last_lines: list[str]


class JobReport(_Report):
    """One submission.

    Attributes
    ----------
    states
        How many of its elements are in which state.
    reasons
        Why those that wait do so, and how to release those that are held.
    failed
        The elements that ended while units of theirs are missing.
    """

    name: str
    stage: str
    model: str
    job_id: str
    submitted: str
    n_elements: int
    states: dict[str, int]
    reasons: list[str]
    failed: list[ElementReport]


class StageReport(_Report):
    """One stage.

    Attributes
    ----------
    n_done, n_units
        Units with a valid record, and all.
    n_running, n_pending
        Missing units whose job runs, or waits.
    n_failed
        Missing units whose last job has ended; none of jobs that the scheduler could not be asked about.
    missing
        Numbers of all that are missing, such as ``0-3,7``.
    holders
        Who does units at this moment: the host and the process of each lease.
    n_bad
        Units whose record was set aside by verify.
    seconds
        Time spent in the finished units, added up over processes.
    """

    stage: str
    n_done: int
    n_units: int
    n_running: int
    n_pending: int
    n_failed: int
    missing: str
    holders: list[str]
    n_bad: int
    seconds: float


class SpeedReport(_Report):
    """How fast one process extracts; see `hpcgeom.stages.speeds.Speed`."""

    model: str
    process: str
    tokens_per_s: float
    flops_per_s: float
    share_of_gemm: float


class RunReport(_Report):
    """A run: what ``hpcgeom status --json`` prints.

    Attributes
    ----------
    schema_version
        Grows when a field changes its meaning or goes; new fields do not change it.
    is_complete
        Whether no unit is missing.
    is_under_way
        Whether a job of the run waits or runs.
    notices
        What could not be found out.
    """

    schema_version: int = SCHEMA
    run: str
    is_complete: bool
    is_under_way: bool
    stages: list[StageReport]
    speeds: list[SpeedReport]
    jobs: list[JobReport]
    notices: list[str]


def report_of(root: Path) -> RunReport:
    """The status of a run.

    Raises
    ------
    InputError
        The directory is not a prepared run.
    """
    run, jobs = Run(root), jobs_of(root)
    stages = status_of(run)
    known, notices = _ask([number for job in jobs for number in job.ids])
    missing = {stage.stage: set(unpack(stage.missing)) if stage.missing else set() for stage in stages}
    reports = [_job(job, known, _missing_of(job, missing), _is_last(job, jobs)) for job in jobs]
    return RunReport(
        run=str(root),
        is_complete=not any(missing.values()),
        is_under_way=any(state.is_alive for state in known.values()),
        stages=[
            _stage(stage, [job for job in jobs if _does(job, stage.stage)], known, missing[stage.stage])
            for stage in stages
        ],
        speeds=[SpeedReport(**asdict(speed)) for speed in speeds_of(run)],
        jobs=reports,
        notices=notices,
    )


def _does(job: Job, stage: str) -> bool:
    return stage in STAGES_OF_JOBS[job.stage]


def _missing_of(job: Job, missing: Mapping[str, set[int]]) -> set[int]:
    """What is missing of the first stage of a job that lacks units: its elements are of one stage."""
    return next((missing[stage] for stage in STAGES_OF_JOBS[job.stage] if missing[stage]), set())


def _ask(ids: Sequence[str]) -> tuple[Mapping[str, JobState], list[str]]:
    known = states.states_of(ids)
    silence = dict.fromkeys(state.reason for state in known.values() if state.is_unasked)
    return known, [f"what the scheduler says is not known: {reason}" for reason in silence]


def _is_last(job: Job, jobs: Sequence[Job]) -> bool:
    """Whether no later job was submitted for the same."""
    later = jobs[jobs.index(job) + 1 :]
    return not any((other.stage, other.model) == (job.stage, job.model) for other in later)


def _units_of(job: Job, number: int, missing: set[int]) -> set[int]:
    return missing & set(unpack(job.elements[number])) if job.elements else missing


def _stage(
    stage: StageStatus, jobs: Sequence[Job], known: Mapping[str, JobState], missing: set[int]
) -> StageReport:
    running: set[int] = set()
    pending: set[int] = set()
    ended: set[int] = set()
    for job in jobs:
        for number, job_id in enumerate(job.ids):
            state, units = known.get(job_id), _units_of(job, number, missing)
            if state is None or not (state.is_alive or state.is_unasked):
                ended |= units
            elif state.is_unasked:
                continue
            elif state.state == "pending":
                pending |= units
            else:
                running |= units
    return StageReport(
        stage=stage.stage,
        n_done=stage.n_done,
        n_units=stage.n_units,
        n_running=len(running),
        n_pending=len(pending - running),
        n_failed=len(ended - pending - running),
        missing=stage.missing,
        holders=list(stage.running),
        n_bad=stage.bad,
        seconds=stage.seconds,
    )


def _job(job: Job, known: Mapping[str, JobState], missing: set[int], is_last: bool) -> JobReport:
    found = [known.get(job_id) for job_id in job.ids]
    failed = [
        _element(job, number, state, units)
        for number, state in enumerate(found)
        if is_last and not (state and (state.is_alive or state.is_unasked))
        if (units := _units_of(job, number, missing))
    ]
    return JobReport(
        name=job.name,
        stage=job.stage,
        model=job.model,
        job_id=job.job_id,
        submitted=job.submitted,
        n_elements=max(len(job.elements), 1),
        states=dict(Counter(state.state if state else "unknown" for state in found)),
        reasons=list(dict.fromkeys(_reason(state) for state in found if state and state.reason)),
        failed=failed,
    )


def _reason(state: JobState) -> str:
    if "held" in state.reason.lower():
        return f"{state.reason} (scontrol release {state.job_id})"
    return state.reason


def _element(job: Job, number: int, state: JobState | None, units: set[int]) -> ElementReport:
    log = job.log_of(number)
    return ElementReport(
        job_id=job.ids[number],
        state=state.state if state else "unknown",
        exit_code=state.exit_code if state else "",
        units=pack(sorted(units)) if job.elements else "",
        log=log,
        last_lines=tail(Path(log), LAST_LINES),
    )


def tail(path: Path, n_lines: int) -> list[str]:
    """The last lines of a log; none where it does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - _TAIL_BYTES, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-n_lines:]


def logs_of(root: Path, stage: str | None = None, n_lines: int = 20) -> list[tuple[str, str, list[str]]]:
    """The logs of a run's jobs, oldest first: heading, path and last lines of each that was written.

    Parameters
    ----------
    stage
        Only of jobs that do this stage.
    """
    found: list[tuple[str, str, list[str]]] = []
    for job in jobs_of(root):
        if stage is not None and not _does(job, stage):
            continue
        for number, job_id in enumerate(job.ids):
            path = Path(job.log_of(number))
            if path.exists():
                heading = " ".join(word for word in (job.stage, job.model, f"job {job_id}") if word)
                found.append((heading, str(path), tail(path, n_lines)))
    return found
