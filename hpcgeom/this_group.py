"""The processes that run one model together, and which of them this one is.

Whoever starts them says so in the environment: `hpcgeom.launch.group` on one machine, or ``srun``. They meet
in a folder that all of them see, where each also leaves notes for whoever started them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcgeom.errors import HpcgeomError, ResourceError
from hpcgeom.this_job import restarts

GROUP, INDEX, N_PROCESSES = "HPCGEOM_GROUP", "HPCGEOM_PROCESS_INDEX", "HPCGEOM_N_PROCESSES"
PARENT = "HPCGEOM_GROUP_PARENT"
"""Id of the process that started the group on this machine: without it nobody would end the others."""
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
"""A lost connection is told once, by hpcgeom; torch reads this when it is imported."""
FOLDER = "groups"
"""Below the folder of the jobs of a run."""
MEETING, FAILURE, DECISION = "meeting", "failure", "decision"
MEET_S = 300.0
"""For all processes to start and to find each other."""


class OtherFailed(HpcgeomError):
    """A process of the group failed.

    Parameters
    ----------
    failure
        What it said: `sentence`, `exit_code` and `details`, a traceback.
    """

    def __init__(self, failure: Mapping[str, Any]) -> None:
        super().__init__(failure["sentence"])
        self.exit_code = int(failure["exit_code"])
        if failure.get("details"):
            self.add_note(failure["details"])


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a group.

    Attributes
    ----------
    index, n_processes
        Which of how many it is, from 0.
    group
        Of this very attempt; no other has the same.
    folder
        Where the group leaves notes; all of its processes see it.
    is_on_one_node
        Whether all processes are on this machine.
    parent
        Id of the process that started it and ends it; 0 where the scheduler does.
    """

    index: int
    n_processes: int
    group: str
    folder: Path
    is_on_one_node: bool = True
    parent: int = 0

    @property
    def is_orphan(self) -> bool:
        """Whether whoever would end this process is gone."""
        return self.parent != 0 and os.getppid() != self.parent


def environment(group: str, index: int, n_processes: int) -> dict[str, str]:
    """What tells a process that it is number `index` of a group that this process starts."""
    return {GROUP: group, INDEX: str(index), N_PROCESSES: str(n_processes), PARENT: str(os.getpid())}


def join_step() -> None:
    """Be one process of a group, if the step of the SLURM job that this one is in has several tasks."""
    number, count = os.environ.get("SLURM_PROCID", ""), os.environ.get("SLURM_STEP_NUM_TASKS", "")
    if number.isdecimal() and count.isdecimal() and int(count) > 1:
        # A job that is put back into the queue keeps its id, and finds what its processes wrote.
        group = f"{os.environ['SLURM_JOB_ID']}-{restarts()}-{os.environ.get('SLURM_STEP_ID', '')}"
        os.environ.update({GROUP: group, INDEX: number, N_PROCESSES: count, **QUIET})


def leave_step() -> None:
    """Be a process of its own again."""
    for name in (GROUP, INDEX, N_PROCESSES):
        os.environ.pop(name, None)


def is_started_here() -> bool:
    """Whether this process is of a group that another process of this machine started, and ends."""
    return PARENT in os.environ


def this_member(root: Path) -> Member | None:
    """Which process of a group this one is, as its environment says; None where it is none.

    Parameters
    ----------
    root
        The folder in which groups meet.
    """
    group = os.environ.get(GROUP)
    if not group:
        return None
    index, n_processes = int(os.environ[INDEX]), int(os.environ[N_PROCESSES])
    parent = int(os.environ.get(PARENT, "0"))
    is_on_one_node = parent != 0 or os.environ.get("SLURM_STEP_NUM_NODES", "1") == "1"
    return Member(index, n_processes, group, root / FOLDER / group, is_on_one_node, parent)


def process_note(index: int) -> str:
    """Name of the note in which a process says who it is: `host`, `pid`, and what it is `about`."""
    return f"process-{index}"


def process_in_words(index: int, n_processes: int, note: Mapping[str, Any] | None) -> str:
    """A process for people: its number, what it does, where."""
    about = f" ({note['about']})" if note and note["about"] else ""
    return f"process {index} of {n_processes}{about}" + (f" on {note['host']}" if note else "")


def write_note(folder: Path, name: str, content: Mapping[str, Any], *, replace: bool = True) -> bool:
    """Leave a note that readers see whole or not at all.

    Returns
    -------
    bool
        False where there is one already and it was not to be replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, beside = folder / f"{name}.json", folder / f".{name}.{os.getpid()}.partial"
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
    try:
        if replace:
            beside.replace(path)
        else:
            os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def decide(member: Member, choices: Callable[[], list[str]]) -> list[str]:
    """What the first process of a group chooses to do together; it waits until the others have heard.

    Parameters
    ----------
    choices
        Called by the first process alone. Where it gives nothing, the notes of the group go.

    Raises
    ------
    ResourceError
        The first process said nothing.
    """
    if member.index:
        if not comes(lambda: read_note(member.folder, DECISION) is not None):
            raise ResourceError(did_not_come(member, DECISION))
        note = read_note(member.folder, DECISION)
        assert note is not None
        write_note(member.folder, _heard(member.index), {})
        return list(note["chosen"])
    chosen = choices()
    write_note(member.folder, DECISION, {"chosen": chosen})
    others = [member.folder / f"{_heard(index)}.json" for index in range(1, member.n_processes)]
    comes(lambda: all(note.exists() for note in others))
    if not chosen:
        clear(member.folder)
    return chosen


def _heard(index: int) -> str:
    return f"heard-{index}"


def did_not_come(member: Member, note: str) -> str:
    """A sentence about a note that the first process did not leave in time."""
    return (
        f"process 0 of {member.n_processes} did not come within {MEET_S:.0f} s: there is no "
        f"{member.folder / note}.json: look at its log, and whether all processes see this folder"
    )


def comes(is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
    """Whether something comes to be within some time, `MEET_S` by default."""
    deadline = time.monotonic() + (MEET_S if timeout_s is None else timeout_s)
    while not is_there():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def clear(folder: Path) -> None:
    """Remove the notes of a group, and the place of all groups with the last of them."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def read_note(folder: Path, name: str) -> dict[str, Any] | None:
    """A note; None where there is none."""
    try:
        content: dict[str, Any] = json.loads((folder / f"{name}.json").read_bytes())
    except FileNotFoundError:
        return None
    return content
