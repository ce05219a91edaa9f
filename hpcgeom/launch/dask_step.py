"""The step of a SLURM job in which workers run: started again when it ends although it is still wanted."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MAX_STARTS = 5
PAUSE_S = 2.0
PATIENCE_S = (5.0, 3.0, 3.0)
"""How long the command may take to end by itself, when it is terminated, and when it is killed."""
SAID_LINES = 5
SAID_CHARACTERS = 1000


class Step:
    """A command that ought to run until it is let go of.

    Parameters
    ----------
    command
        Called before each start: the nodes may have become fewer.
    log
        What the command prints is added to it.
    environment
        Of the command.
    clear
        Called before it is started again, and when it had to be killed: ends what the last one left running.
    on_given_up
        Called from a thread of the step's own, once, when the command has ended for the last time.
    """

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        log: Path,
        environment: Mapping[str, str],
        clear: Callable[[], None],
        on_given_up: Callable[[], None],
    ) -> None:
        self.log = log
        self.n_starts = 0
        self.has_given_up = False
        self._command = command
        self._environment = dict(environment)
        self._clear = clear
        self._on_given_up = on_given_up
        self._exit_code: int | None = None
        self._is_over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_up, name="dask-step", daemon=True)

    def start(self) -> None:
        """Run the command, now and whenever it has ended, at most `MAX_STARTS` times."""
        self._thread.start()

    def let_go(self) -> None:
        """Not start the command again; it may end by itself now."""
        with self._lock:
            self._is_over.set()

    def close(self) -> None:
        """End the command if it does not end by itself."""
        self.let_go()
        process = self._process
        if process is not None:
            ends = (process.poll, process.terminate, process.kill)
            for end, patience_s in zip(ends, PATIENCE_S, strict=True):
                end()
                try:
                    process.wait(patience_s)
                    break
                except subprocess.TimeoutExpired:
                    continue
            if process.returncode != 0:
                self._clear()
        if self._thread.ident is not None:
            self._thread.join()

    def account(self) -> str:
        """What became of the command, and the last lines of its log."""
        state = "did not end" if self._exit_code is None else f"ended last with exit code {self._exit_code}"
        said = last_lines(self.log)
        return f"srun was started {self.n_starts} times and {state}; its log {self.log} says: {said}"

    def _keep_up(self) -> None:
        while self.n_starts < MAX_STARTS:
            try:
                process = self._begin()
            except OSError as error:
                self.log.write_text(f"{error}\n", encoding="utf-8")
                break
            if process is None:
                return
            self._exit_code = process.wait()
            if self._is_over.wait(PAUSE_S * self.n_starts):
                return
            self._clear()
        self.has_given_up = True
        self._on_given_up()

    def _begin(self) -> subprocess.Popen[bytes] | None:
        command = self._command()
        with self._lock:
            if self._is_over.is_set():
                return None
            self.n_starts += 1
            with open(self.log, "ab") as log:
                # In a session of its own: an interrupt from a terminal is for the process that waits.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                )
            return self._process


def last_lines(log: Path) -> str:
    """The last lines of a log that hold anything, in one line; ``nothing`` where there are none."""
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8 * SAID_CHARACTERS))
            text = file.read().decode(errors="replace")
    except OSError:
        text = ""
    lines = [line for line in text.splitlines() if line.strip()][-SAID_LINES:]
    return " | ".join(lines)[-SAID_CHARACTERS:] or "nothing"
