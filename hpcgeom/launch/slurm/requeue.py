"""The job that this process is in: what is about to happen to it, and starting it again.

Read from ``scontrol show job`` as SLURM 22.05.8 was seen to answer while a job was being ended:

================================================  ==============================================
what happens                                      what the controller says
================================================  ==============================================
a signal ahead of the walltime                    RUNNING, or SIGNALING while that is on its way
preempted, in its time of grace                   the same, PreemptTime is set, EndTime is sooner
requeued; preempted where no grace is (left);     Restarts is one more than ours (COMPLETING,
its node was lost                                 PENDING, or RUNNING elsewhere)
preempted, and SLURM does not requeue it          COMPLETING, PreemptTime is EndTime
cancelled, also while in its time of grace        COMPLETING, PreemptTime is not EndTime
walltime is over                                  COMPLETING, Reason=TimeLimit
================================================  ==============================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hpcgeom.launch.slurm.calling import SchedulerError, run
from hpcgeom.launch.slurm.facts import duration_s, fields_of
from hpcgeom.launch.slurm.states import STATES
from hpcgeom.this_job import job_id, restarts

Kind = Literal["running", "preempted", "requeued", "cancelled", "time_limit", "unknown"]

TIMEOUT_S = 5.0
"""A job that is being killed has 30 s in all, where the cluster does not say otherwise (``KillWait``)."""

_EPOCH_TIMES = {"SLURM_TIME_FORMAT": "%s"}  # no time zone, no change of the clocks in between
_SAME_MOMENT_S = 1.0
_OVER: Mapping[str, Kind] = {
    "CANCELLED": "cancelled",
    "PREEMPTED": "preempted",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What is happening to the job that this process is in.

    Parameters
    ----------
    kind
        ``running``: nothing but time goes by. ``preempted``: its place is taken, and it is not requeued yet.
        ``requeued``: it will be, or has been, started again; this process belongs to the past.
        ``cancelled``: somebody wants it gone. ``time_limit``: its walltime is over. ``unknown``: the
        controller does not say.
    seconds_left
        Until it is told to end, by the controller's clock or the node's, whichever says less; None where that
        is not known and where it has been told already (then ``KillWait`` seconds remain from the signal).
    """

    kind: Kind
    seconds_left: float | None = None


def requeue() -> None:
    """Have this job started again, from its beginning; its present processes are told to end.

    Raises
    ------
    SchedulerError
        This process is in no job, the controller does not answer, or does not let the job be requeued.
    """
    if not (job := job_id()):
        raise SchedulerError(
            "there is no job to requeue: expected SLURM_JOB_ID in the environment, found none; "
            "call this from inside a job"
        )
    run("scontrol", "requeue", job, timeout_s=4 * TIMEOUT_S)


def situation() -> Situation:
    """What is happening to the job that this process is in; ``unknown`` where nobody answers soon.

    It takes some hundredths of a second, and at most twice `TIMEOUT_S`; a signal handler may call it.
    """
    job = job_id()
    if not job:
        return Situation("unknown")
    try:
        text = run("scontrol", "show", "job", "-o", job, timeout_s=TIMEOUT_S, variables=_EPOCH_TIMES)
    except SchedulerError:
        return Situation("unknown")
    lines = [line for line in text.splitlines() if line.startswith("JobId=")]
    if len(lines) != 1:
        return Situation("unknown")
    fields = fields_of(lines[0])
    kind = _kind(fields)
    return Situation(kind, _seconds_left(fields) if _is_running(fields) else None)


def _is_running(fields: Mapping[str, str]) -> bool:
    return STATES.get(fields.get("JobState", "")) == "running"


def _kind(fields: Mapping[str, str]) -> Kind:
    state, counted = fields.get("JobState", ""), fields.get("Restarts", "")
    if counted.isdecimal() and int(counted) > restarts():
        return "requeued"
    preempted_at = _time(fields, "PreemptTime")
    if _is_running(fields):
        return "running" if preempted_at is None else "preempted"
    if state == "COMPLETING":
        if fields.get("Reason") == "TimeLimit":
            return "time_limit"
        ended_at = _time(fields, "EndTime")
        if preempted_at is None or ended_at is None:
            return "cancelled"
        # A job that is cancelled in its time of grace keeps the time at which that began.
        return "preempted" if ended_at - preempted_at <= _SAME_MOMENT_S else "cancelled"
    return _OVER.get(state, "unknown")


def _seconds_left(fields: Mapping[str, str]) -> float | None:
    end, start = _time(fields, "EndTime"), _time(fields, "StartTime")
    # RunTime is counted by the clock of the machine on which scontrol runs.
    run_time = duration_s(fields.get("RunTime", ""))
    if end is None or start is None or run_time is None:
        return None
    left = [end - start - run_time]
    if (now := _controllers_clock()) is not None:
        left.append(end - now)
    return max(0.0, min(left))


def _controllers_clock() -> float | None:
    try:
        text = run("scontrol", "show", "config", timeout_s=TIMEOUT_S, variables=_EPOCH_TIMES)
    except SchedulerError:
        return None
    found = re.search(r"^Configuration data as of (\d+)\s*$", text, re.MULTILINE)
    return float(found[1]) if found else None


def _time(fields: Mapping[str, str], name: str) -> float | None:
    text = fields.get(name, "")
    return float(text) if text.isdecimal() else None
