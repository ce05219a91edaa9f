"""Processes of a lab: started in sessions of their own, known by their start time, found by a mark."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# In the environment of every daemon and slurmstepd, and, by a task prolog, of every job: FOLDER:DAEMON. Its
# name does not begin with SLURM_, so that programs that start others without such variables leave it there.
MARK = "LAB_OF_SLURM"
_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"
# Numbers of our own children; until we take its exit status nobody else can get the number of one.
_children: set[int] = set()


class LabError(RuntimeError):
    """Something that the lab was asked for did not come about."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number.

    Attributes
    ----------
    pid
        Its number.
    started
        When it was started: the boot, and the clock ticks since then.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now; None where there is none, or only its exit status is left."""
        try:
            # The name in parentheses may hold anything; state and start time stand after it.
            fields = (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            )
        except OSError:
            return None
        state, ticks = fields.split()[0], fields.split()[19]
        return None if state in "ZX" else cls(pid, f"{_boot()}/{ticks}")

    @property
    def is_alive(self) -> bool:
        """Whether it runs (a zombie does not)."""
        return Process.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self.is_alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def program(name: str) -> str:
    """Path of an installed program, also of those for administrators.

    Raises
    ------
    LabError
        It is not installed.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if found is None:
        raise LabError(f"{name} is not installed")
    return found


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start a program in a session of its own; what it prints is appended to `log`."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        pid = os.posix_spawn(
            program(command[0]),
            list(command),
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 0)]
            + [(os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)],
            setsid=True,
        )
    finally:
        os.close(output)
        os.close(nothing)
    _children.add(pid)
    # One that has ended already has a start time that no process has.
    return Process.of(pid) or Process(pid, "over")


def kill(processes: Iterable[Process], timeout_s: float = 10.0) -> None:
    """End processes at once and wait until they are gone.

    Raises
    ------
    LabError
        One is still there.
    """
    processes = list(processes)
    for process in processes:
        process.send(signal.SIGKILL)
    wait_until_gone(processes, timeout_s)


def wait_until_gone(processes: Sequence[Process], timeout_s: float = 10.0) -> None:
    """Wait until none of them is alive.

    Raises
    ------
    LabError
        One is still there.
    """

    def are_gone() -> bool:
        _reap()
        return not any(process.is_alive for process in processes)

    alive = ", ".join(str(process.pid) for process in processes)
    wait_until(are_gone, f"processes {alive} did not end", timeout_s)


def wait_until(
    is_so: Callable[[], bool], complaint: str | Callable[[], str], timeout_s: float, every_s: float = 0.05
) -> None:
    """Ask again and again.

    Raises
    ------
    LabError
        It is not so in time; the message is `complaint`.
    """
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            said = complaint if isinstance(complaint, str) else complaint()
            raise LabError(f"{said} within {timeout_s:g} s")
        time.sleep(every_s)


def strays(is_ours: Callable[[Mapping[str, str]], bool]) -> list[Process]:
    """Processes whose environment is ours, and all that descend from them, but for us and our ancestors."""
    parents = {pid: parent for pid in _all_pids() if (parent := _parent(pid)) is not None}
    found = {pid for pid in parents if is_ours(_environment(pid))}
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    unseen = list(found)
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child not in found:
                found.add(child)
                unseen.append(child)
    found -= _ancestors(parents)
    return [process for pid in sorted(found) if (process := Process.of(pid)) is not None]


def _ancestors(parents: Mapping[int, int]) -> set[int]:
    pid, found = os.getpid(), set()
    while pid > 0 and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return found


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return None
    return int(fields.split()[1])


def _environment(pid: int) -> Mapping[str, str]:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in entries)
    return {name: value for name, _, value in pairs}


def _reap() -> None:
    """Take the exit status of children that have ended, so that no zombie stays."""
    for pid in tuple(_children):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            _children.discard(pid)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
