"""In which state jobs are, as far as anybody knows.

A scheduler's word is a hint: what a run has done is in its records. squeue is believed first. What sacct says
of a job that has ended is believed next, but not that a job runs of which the controller knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpcgeom.launch.slurm import job_records
from hpcgeom.launch.slurm.calling import SchedulerError
from hpcgeom.launch.slurm.job_records import Record, array_of

State = Literal[
    "pending",
    "running",
    "completing",
    "completed",
    "failed",
    "cancelled",
    "timeout",
    "out_of_memory",
    "node_fail",
    "preempted",
    "requeued",
    "unknown",
]
Source = Literal["squeue", "sacct", "scontrol", ""]

_SILENCE = "squeue does not answer"
_ALIVE = frozenset({"pending", "running", "completing", "requeued"})
STATES: Mapping[str, State] = {
    "PENDING": "pending",
    "CONFIGURING": "pending",  # its nodes are being made ready
    "RESV_DEL_HOLD": "pending",
    "RUNNING": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "STOPPED": "running",
    "SUSPENDED": "running",
    "COMPLETING": "completing",
    "STAGE_OUT": "completing",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_fail",
    "BOOT_FAIL": "node_fail",
    "LAUNCH_FAILED": "node_fail",
    "PREEMPTED": "preempted",
    "REQUEUED": "requeued",
    "REQUEUE_FED": "requeued",
    "REQUEUE_HOLD": "requeued",
    "SPECIAL_EXIT": "requeued",
}
"""What the words of the controller and of sacct mean."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What is known of one job, or of one element of an array.

    Parameters
    ----------
    job_id
        ``12``, or ``12_3`` for an element.
    state
        Its state; ``unknown`` where nobody knows the job.
    reason
        Why it waits (``Dependency``, ``Resources``, ``launch failed requeued held``), waited before it was
        cancelled, ended, or is unknown.
    exit_code
        ``code:signal``, such as ``3:0``; empty where it is not known.
    restarts
        How often it was requeued.
    source
        Who says so. Where it is ``sacct`` because the controller did not answer, the state may be seconds
        old, and a job that was preempted or lost its node may have been started again.
    """

    job_id: str
    state: State
    reason: str = ""
    exit_code: str = ""
    restarts: int = 0
    source: Source = ""

    @property
    def is_alive(self) -> bool:
        """Whether it runs or will run."""
        return self.state in _ALIVE

    @property
    def is_unasked(self) -> bool:
        """Whether nobody could be asked, so that it may well be alive."""
        return self.state == "unknown" and self.reason.startswith(_SILENCE)

    @property
    def is_held(self) -> bool:
        """Whether it waits until somebody releases it (``scontrol release``)."""
        return self.is_alive and ("held" in self.reason.lower() or self.reason == "RESV_DEL_HOLD")


def states_of(ids: Sequence[str], since: str | None = None) -> Mapping[str, JobState]:
    """The states of jobs; nothing that fails on the way is an error.

    Parameters
    ----------
    ids
        Ids of jobs (``12``), arrays (``12``, one entry for each element that anybody knows) and elements
        (``12_3``), as sbatch and squeue give them: SLURM_JOB_ID of an element is another number.
    since
        ISO 8601 time of the first submission; without it sacct looks at all that it has.

    Returns
    -------
    By id, in the order asked for and the elements of an array by their number. An id of which nobody knows
    anything has the state ``unknown``.
    """
    if not ids:
        return {}
    known: dict[str, JobState] = {}
    trouble = _add_queue(known, ids)
    answers = not trouble
    # The controller forgets the elements of an array one by one: of a whole array sacct may know more.
    if missing := [job for job in ids if job not in known]:
        _add_accounting(known, missing, since, answers)
    if answers:
        for array in dict.fromkeys(array_of(job) for job in ids if _is_doubtful(job, known)):
            _add_controller(known, array)
    found: dict[str, JobState] = {}
    for job in ids:
        reason = trouble or "neither squeue nor sacct knows it"
        found |= _of(job, known) or {job: JobState(job, "unknown", reason)}
    return found


def alive_by_name(names: Sequence[str]) -> dict[str, list[str]]:
    """The ids of this user's jobs of these names which are not over; the elements of an array one by one.

    Raises
    ------
    SchedulerError
        squeue is not there, failed, or does not answer.
    """
    found: dict[str, list[str]] = {name: [] for name in names}
    for job_id, name in job_records.names_in_queue() if found else []:
        if name in found:
            found[name].append(job_id)
    return {name: sorted(ids, key=_in_order) for name, ids in found.items()}


def _add_queue(known: dict[str, JobState], ids: Sequence[str]) -> str:
    """Add what squeue says; returns why it says nothing."""
    try:
        records = job_records.of_queue()
    except SchedulerError as error:
        return f"{_SILENCE} ({(error.stderr or str(error)).splitlines()[-1]})"
    arrays = {array_of(job) for job in ids}
    _add(known, (record for record in records if array_of(record.job_id) in arrays), "squeue")
    return ""


def _add_accounting(
    known: dict[str, JobState], ids: Sequence[str], since: str | None, controller_answers: bool
) -> None:
    try:
        records = job_records.of_accounting(list(dict.fromkeys(array_of(job) for job in ids)), since)
    except SchedulerError:
        return  # off, down or behind: the controller and the run's records remain
    for record in records:
        if record.job_id in known:
            continue
        state = _state(record, "sacct")
        if controller_answers and state.is_alive:
            reason = f"sacct says {record.word}, but squeue does not know it"
            state = JobState(record.job_id, "unknown", reason, "", record.restarts, "sacct")
        known[record.job_id] = state


def _add_controller(known: dict[str, JobState], array: str) -> None:
    try:
        records = job_records.of_controller(array)
    except SchedulerError:
        return  # the controller does not know it
    for job in [record.job_id for record in records if known.get(record.job_id, _NOBODY).state == "unknown"]:
        known.pop(job, None)
    _add(known, records, "scontrol")


_NOBODY = JobState("", "unknown")


def _add(known: dict[str, JobState], records: Iterable[Record], source: Source) -> None:
    for record in records:
        known.setdefault(record.job_id, _state(record, source))


def _state(record: Record, source: Source) -> JobState:
    state = STATES.get(record.word, "unknown")
    # Where the state is one of several that we call by one name, the word says which.
    is_plain = record.word.lower() == state
    reason = record.reason or ("" if is_plain else record.word)
    return JobState(record.job_id, state, reason, record.exit_code, record.restarts, source)


def _of(job: str, known: Mapping[str, JobState]) -> dict[str, JobState]:
    """What is known of an id: the job, the element, or the elements of the array."""
    # sacct may have a row of the array as a whole beside its elements: that of those which never started.
    elements = sorted((found for found in known if found != job and array_of(found) == job), key=_in_order)
    return {found: known[found] for found in elements or [job] if found in known}


def _is_doubtful(job: str, known: Mapping[str, JobState]) -> bool:
    states = _of(job, known).values()
    return not states or any(state.state == "unknown" for state in states)


def _in_order(job_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in job_id.split("_"))
