"""What tests do to jobs at chosen moments; the jobs import it as their hook (``HPCGEOM_TEST_HOOK``).

A folder says what is to happen, as empty files whose names are moments: ``hold.MOMENT`` keeps a process there
until the file is gone, ``kill.MOMENT`` kills the first process that comes there. Who came is in ``came``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

VARIABLE = "LAB_FAULTS"
_POLL_S = 0.05


def at(moment: str, **about: object) -> None:
    """The hook: note who came, then hold or kill the process, or keep it for so many seconds."""
    folder = Path(os.environ[VARIABLE])
    name = name_of(moment, **about)
    _note(folder, f"{name} {os.getpid()} {os.environ.get('SLURM_RESTART_COUNT', '0')}")
    try:
        (folder / f"kill.{name}").unlink()
    except FileNotFoundError:
        pass
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("unit-begins.extract"):
        time.sleep(float(os.environ.get("LAB_FAULTS_SECONDS", "0")))
    while (folder / f"hold.{name}").exists():
        time.sleep(_POLL_S)


def name_of(moment: str, **about: object) -> str:
    """What a moment is called in the folder; those of a search have no unit."""
    return f"{moment}.{about['stage']}.{about['index']}" if "stage" in about else moment


def _note(folder: Path, line: str) -> None:
    number = os.open(folder / "came", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(number, f"{line}\n".encode())
    os.close(number)


class Faults:
    """The other side: what the test asks for, and sees.

    Parameters
    ----------
    folder
        An empty one of this test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def environment(self, seconds: float = 0.0) -> dict[str, str]:
        """Of jobs; with `seconds`, each unit of extract takes so much longer."""
        here = Path(__file__).parent
        return {
            "PYTHONPATH": f"{here.parents[1]}:{here}",
            "HPCGEOM_TEST_HOOK": f"{Path(__file__).stem}:at",
            VARIABLE: str(self.folder),
            "LAB_FAULTS_SECONDS": str(seconds),
        }

    def hold(self, name: str) -> None:
        """Keep whoever comes to a moment."""
        (self.folder / f"hold.{name}").touch()

    def release(self, name: str) -> None:
        """Let those go on who are kept."""
        (self.folder / f"hold.{name}").unlink()

    def kill(self, name: str) -> None:
        """Kill the first who comes to a moment."""
        (self.folder / f"kill.{name}").touch()

    def came(self, name: str) -> list[tuple[int, int]]:
        """Who came to a moment: process and attempt."""
        path = self.folder / "came"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(pid), int(attempt)) for found, pid, attempt in lines if found == name]

    def wait_for(self, name: str, n_times: int = 1, timeout_s: float = 60.0) -> tuple[int, int]:
        """Wait until somebody comes, for the `n_times`-th time; who that is."""
        deadline = time.monotonic() + timeout_s
        while len(self.came(name)) < n_times:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.came(name)} came to {name}, expected {n_times} of them")
            time.sleep(_POLL_S)
        return self.came(name)[n_times - 1]


if __name__ == "__main__":
    sys.exit("this is a module for tests")
