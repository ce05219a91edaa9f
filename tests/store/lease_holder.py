"""A process that holds a lease, or does a unit, for as long as a test wants."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hpcgeom.store.leases import LeaseHeld, lease


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def hold(path: Path) -> None:
    with lease(path):
        tell("held")
        sys.stdin.readline()


def race(path: Path, work: Path) -> None:
    """Take the lease at the time that is given, and note begin and end of what is done under it."""
    tell("ready")
    starts_at = float(sys.stdin.readline())
    while time.time() < starts_at:
        pass
    try:
        with lease(path), work.open("a") as file:
            file.write("begin\n")
            file.flush()
            time.sleep(0.05)
            file.write("end\n")
    except LeaseHeld:
        tell("held by the other")
    else:
        tell("done")


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(Path(sys.argv[2]))
    else:
        race(Path(sys.argv[2]), Path(sys.argv[3]))
