"""The processes of a group on this machine: started together, watched, and ended together."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hpcgeom.errors import IncompleteError
from hpcgeom.this_group import (
    FAILURE,
    FOLDER,
    QUIET,
    OtherFailed,
    clear,
    environment,
    process_in_words,
    process_note,
    read_note,
)

LOOK_EVERY_S = 0.1
HEAR_S = 10.0
"""For the others to hear that one has failed, and to end by themselves."""
WRITE_S = 30.0
"""For processes that are told to end to write what they have worked out."""
_SHOWN_LINES = 5


def run_group(
    command: Sequence[str],
    n_processes: int,
    folder: Path,
    logs: Path,
    *,
    variables: Mapping[str, str] | None = None,
    on_look: Callable[[], None] = lambda: None,
) -> None:
    """Run a command in several processes that work together; all end when one fails, or when this one does.

    Parameters
    ----------
    command
        Of every process; its environment says which one it is (`hpcgeom.this_group`).
    folder
        Where groups meet.
    logs
        Where what they print is kept; the log of a process that ended well is removed.
    variables
        Of their environment, beside those of this process.
    on_look
        Called ten times a second while they run.

    Raises
    ------
    OtherFailed
        One failed; says what it said.
    IncompleteError
        One was killed, or ended without a word.
    """
    group = secrets.token_hex(8)
    here = folder / FOLDER / group
    here.mkdir(parents=True)
    logs.mkdir(parents=True, exist_ok=True)
    files = [logs / f"group-{group}-{index}.log" for index in range(n_processes)]
    try:
        with _started(command, group, files, variables or {}) as processes:
            first = _watch(processes, on_look)
        if first is not None:
            raise _error(first, processes, here, files)
    finally:
        clear(here)


@contextlib.contextmanager
def _started(
    command: Sequence[str], group: str, files: Sequence[Path], variables: Mapping[str, str]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes, for as long as the body runs."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for index, file in enumerate(files):
            of_one = environment(group, index, len(files))
            with file.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # interrupts are for this process, which ends the others
                    env={**os.environ, **QUIET, **variables, **of_one},
                )
            processes.append(process)
        yield processes
    finally:
        _end(processes)
        for process, file in zip(processes, files, strict=False):
            if process.returncode == 0:
                file.unlink(missing_ok=True)


def _watch(processes: Sequence[subprocess.Popen[bytes]], on_look: Callable[[], None]) -> int | None:
    """Wait until all have ended; the number of the first that failed, where one did."""
    first, deadline = None, float("inf")
    while None in [process.poll() for process in processes] and time.monotonic() < deadline:
        failed = [index for index, process in enumerate(processes) if process.returncode]
        if failed and first is None:
            # One that was killed ends the others: of several found at once it is the cause.
            first = min(failed, key=lambda index: processes[index].returncode)
            deadline = time.monotonic() + HEAR_S
        on_look()
        time.sleep(LOOK_EVERY_S)
    for process in processes:
        process.kill()  # no word of a failure reached it; what has ended is not touched
    on_look()
    if first is None:
        first = next((index for index, process in enumerate(processes) if process.returncode), None)
    return first


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let the first process finish what it writes; it tells the others."""
    if processes and processes[0].poll() is None:
        processes[0].terminate()
    deadline = time.monotonic() + WRITE_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _error(
    first: int, processes: Sequence[subprocess.Popen[bytes]], here: Path, files: Sequence[Path]
) -> Exception:
    said = read_note(here, FAILURE)
    was_killed = processes[first].returncode < 0
    if said is not None and not (was_killed and said["index"] == first):
        return OtherFailed(said)
    name = process_in_words(first, len(processes), read_note(here, process_note(first)))
    if was_killed:
        number = -processes[first].returncode
        hint = " (the machine does that where memory runs out)" if number == signal.SIGKILL else ""
        return IncompleteError(f"{name} was killed by signal {number}{hint}: the same command goes on")
    lines = files[first].read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
    return IncompleteError(
        f"{name} ended with exit code {processes[first].returncode}: "
        f"{' | '.join(lines) or 'it said nothing'}: mend that, then run the same command again"
    )
