"""What each of the three sources says about jobs, as it says it: squeue, sacct and scontrol.

squeue and scontrol ask the controller, which forgets a job some minutes after its end (``MinJobAge``); sacct
asks the accounting, which may be off, lags behind by seconds, and believes for ever that a lost job runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcgeom.launch.slurm.calling import SchedulerError, run
from hpcgeom.launch.slurm.facts import fields_of

SACCT_TIMEOUT_S = 60.0
SCONTROL_TIMEOUT_S = 20.0
CLOCKS_DIFFER_BY = timedelta(hours=1)

_WHOLE_LISTS = {
    "SLURM_BITSTR_LEN": "0"
}  # otherwise the elements of an array end with "..." after 64 characters
_ONE_ID = re.compile(r"\d+(?:_\d+)?")
_MANY_IDS = re.compile(r"(\d+)_\[([^\]]+)\]")
_EXIT_SIGNAL_BITS = 0x7F


@dataclass(frozen=True, slots=True)
class Record:
    """One job, or one element of an array.

    Parameters
    ----------
    job_id
        ``12``, or ``12_3`` for an element.
    word
        The state as SLURM writes it, such as ``RUNNING``.
    reason
        Why it is in that state; empty where nothing is said.
    exit_code
        ``code:signal``.
    restarts
        How often it was requeued.
    """

    job_id: str
    word: str
    reason: str
    exit_code: str
    restarts: int


def array_of(job_id: str) -> str:
    """``12`` of ``12_3`` and of ``12``."""
    return job_id.partition("_")[0]


def ids_of(text: str) -> list[str]:
    """The ids that one text stands for: ``12``, ``12_3``, or all of ``12_[0-2,7,10-16:3%2]``.

    Raises
    ------
    SchedulerError
        It is a list of elements that is not written out.
    """
    if _ONE_ID.fullmatch(text):
        return [text]
    if not (found := _MANY_IDS.fullmatch(text)):
        return []
    return [f"{found[1]}_{index}" for index in _indices(found[2])]


def _indices(text: str) -> Iterator[int]:
    for part in text.partition("%")[0].split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if not found:
            raise SchedulerError(
                f"the elements of an array are listed as '{text}': expected numbers and ranges, found "
                f"'{part}'; ask for the elements one by one"
            )
        first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        yield from range(first, last + 1, step)


def of_queue(everything: bool = True, timeout_s: float = 60.0) -> list[Record]:
    """This user's jobs that the controller knows; without `everything` only those which are not over.

    ``squeue -r``, which writes one line an element, leaves out the last element of a range with a step
    (22.05.8: of ``0-18:2`` the 18), so the lists of elements are written out here.

    Raises
    ------
    SchedulerError
        squeue is not there, failed, or does not answer.
    """
    states = ("-t", "all") if everything else ()
    columns = "JobArrayID:|,State:|,RestartCnt:|,exit_code:|,Reason:|"
    text = run(
        *("squeue", "-h", "-u", str(os.getuid()), *states, "-O", columns),
        timeout_s=timeout_s,
        variables=_WHOLE_LISTS,
    )
    records = []
    for line in text.splitlines():
        parts = line.rstrip().removesuffix("|").split("|", 4)
        if len(parts) == 5 and parts[2].isdecimal() and parts[3].isdecimal():
            ids, word, restarts, status, reason = parts
            code = f"{int(status) >> 8}:{int(status) & _EXIT_SIGNAL_BITS}"  # as wait(2) gives it
            records += _records(ids, Record("", word, _said(reason), code, int(restarts)))
    return records


def names_in_queue(timeout_s: float = 60.0) -> list[tuple[str, str]]:
    """Id and name of this user's jobs and elements which are not over.

    Raises
    ------
    SchedulerError
        squeue is not there, failed, or does not answer.
    """
    text = run(
        *("squeue", "-h", "-u", str(os.getuid()), "-O", "JobArrayID:|,State:|,Name:|"),
        timeout_s=timeout_s,
        variables=_WHOLE_LISTS,
    )
    parts = [line.rstrip().removesuffix("|").split("|", 2) for line in text.splitlines()]
    return [(job_id, part[2]) for part in parts if len(part) == 3 for job_id in ids_of(part[0])]


def of_accounting(ids: Sequence[str], since: str | None) -> list[Record]:
    """What sacct remembers of jobs: of each its last run.

    Parameters
    ----------
    ids
        Ids of jobs or arrays, without elements.
    since
        ISO 8601 time of the submission, in this machine's zone where it names none. Without it sacct looks at
        all that it has.

    Raises
    ------
    SchedulerError
        sacct is not there, failed (the accounting is off or down), or does not answer.
    """
    # -D: every run of a requeued job has a row of its own, and which of them is shown without it differs.
    command = ["sacct", "-n", "-P", "-X", "-D", "-j", ",".join(ids)]
    if since is not None:
        command += ["-S", _window(since)]
    text = run(
        *command,
        *("-o", "DBIndex,JobID,ExitCode,State"),
        timeout_s=SACCT_TIMEOUT_S,
        variables=_WHOLE_LISTS,
    )
    last: dict[str, tuple[int, Record]] = {}
    n_runs: dict[str, int] = {}
    for line in text.splitlines():
        parts = line.strip().split("|")
        if len(parts) != 4 or not parts[0].isdecimal():
            continue
        index, job, code, state = parts
        word, _, more = state.partition(" ")  # "CANCELLED by 0"
        for record in _records(job, Record("", word, more.replace("by", "by user id"), code, 0)):
            n_runs[record.job_id] = n_runs.get(record.job_id, 0) + (word != "RESIZING")
            if int(index) > last.get(record.job_id, (-1, record))[0]:
                last[record.job_id] = int(index), record
    return [replace(record, restarts=max(0, n_runs[job] - 1)) for job, (_, record) in last.items()]


def of_controller(job_id: str) -> list[Record]:
    """What the controller knows of a job, or of all elements of an array, whoever's it is.

    Raises
    ------
    SchedulerError
        It does not know the job, or does not answer.
    """
    text = run(
        *("scontrol", "show", "job", "-o", job_id), timeout_s=SCONTROL_TIMEOUT_S, variables=_WHOLE_LISTS
    )
    rows = [fields_of(line) for line in text.splitlines() if line.startswith("JobId=")]
    return [record for row in rows for record in _of_fields(row)]


def _of_fields(row: Mapping[str, str]) -> list[Record]:
    array, elements = row.get("ArrayJobId"), row.get("ArrayTaskId")
    ids = row["JobId"] if array is None or elements is None else f"{array}_[{elements}]"
    reason = _said(row.get("Reason", "").replace("_", " "))
    restarts = int(row.get("Restarts", "0"))
    return _records(ids, Record("", row.get("JobState", ""), reason, row.get("ExitCode", ""), restarts))


def _records(ids: str, of_each: Record) -> list[Record]:
    return [replace(of_each, job_id=job_id) for job_id in ids_of(ids)]


def _said(reason: str) -> str:
    return "" if reason in ("None", "(null)", "") else reason


def _window(since: str) -> str:
    start = datetime.fromisoformat(since)
    if start.tzinfo is not None:
        start = start.astimezone().replace(tzinfo=None)  # sacct reads times in the zone of its machine
    return (start - CLOCKS_DIFFER_BY).strftime("%Y-%m-%dT%H:%M:%S")
