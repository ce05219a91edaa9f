"""The command line in a process of its own, in a session of its own, so that a signal can reach all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def start(*arguments: object, **options) -> subprocess.Popen:
    """Start ``hpcgeom`` with `arguments`."""
    return subprocess.Popen(
        [sys.executable, "-m", "hpcgeom.cli.main", *map(str, arguments)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def start_run(manifest: Path, root: Path, workers: int = 1) -> subprocess.Popen:
    """Start ``hpcgeom run``, and wait until its imports are done."""
    process = start("run", "-m", manifest, "--run-dir", root, "--workers", workers)
    assert process.stderr.readline().startswith("run directory:")
    return process


def finish(*arguments: object, **options) -> tuple[int, str]:
    """Run ``hpcgeom`` to its end: exit code and standard error."""
    process = start(*arguments, **options)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def wait_until(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    """Wait for `condition`, or until the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.002)


def end(process: subprocess.Popen, number: int = signal.SIGKILL, *, group: bool = True) -> tuple[int, str]:
    """Send a signal to the process or to its whole session; exit code and what it still said."""
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said
