"""Leases: one process works on a unit, and a dead one's lease is taken over.

No clock of another machine is compared: a lease carries a counter that its holder raises, and a contender on
another host watches it for `PATIENCE_S` of its own time.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from hpcgeom.errors import IncompleteError
from hpcgeom.store.files import full_disk_is_a_resource_error
from hpcgeom.this_job import job_id

BEAT_S = 10.0
PATIENCE_S = 60.0
LOOK_AGAIN_S = 1.0


class LeaseHeld(IncompleteError):
    """Another living process works on the unit."""


@contextmanager
def lease(path: Path, attempt: int = 0, wait_s: float = 0.0) -> Iterator[None]:
    """Hold ``path`` exclusively while the body runs.

    Parameters
    ----------
    path
        The lease file; created with host, process, job and attempt inside.
    attempt
        Which attempt this is (a scheduler's restart count).
    wait_s
        How long to wait for a living process that holds it.

    Raises
    ------
    LeaseHeld
        A living process holds it, and did so until the waiting ended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    mine: dict[str, Any] = {
        "token": token,
        "host": socket.gethostname(),
        "processes": _process_table(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "job": job_id(),
        "attempt": attempt,
        "beat": 0,
    }
    give_up = time.monotonic() + wait_s
    while not _create(path, mine):
        try:
            _clear_if_stale(path)
        except LeaseHeld:
            if time.monotonic() >= give_up:
                raise
            time.sleep(LOOK_AGAIN_S)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, stop), daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        if _holder(path).get("token") == token:
            path.unlink(missing_ok=True)


def leases_of(folder: Path) -> list[Path]:
    """Leases of units of one stage: held, or left behind."""
    return sorted(folder.glob("[0-9]*.lease"))


def is_dead(path: Path) -> bool:
    """Whether the holder of a lease is known to have ended, as it is of processes of this machine alone."""
    holder = _holder(path)
    return holder.get("processes") == _process_table() and not _runs_here(holder)


class Pulse:
    """Whether a holder of a lease below a folder lives, as far as can be seen from here.

    Parameters
    ----------
    folder
        All units' leases are below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._beats, self._beat_at = folder, _beats(folder), time.monotonic()

    def is_felt(self) -> bool:
        """Whether a counter was raised in the last `PATIENCE_S` seconds, or nobody has looked for so long."""
        beats = _beats(self._folder)
        if beats != self._beats:
            self._beats, self._beat_at = beats, time.monotonic()
        return time.monotonic() - self._beat_at < PATIENCE_S


def _beats(folder: Path) -> frozenset[tuple[str, int]]:
    """Something that changes with every lease that comes, goes, or is written again."""
    found: set[tuple[str, int]] = set()
    for path in folder.rglob("[0-9]*.lease"):
        with suppress(FileNotFoundError):
            found.add((str(path), path.stat().st_mtime_ns))
    return frozenset(found)


def _create(path: Path, content: dict[str, Any]) -> bool:
    # A link appears with its content inside: no reader ever sees an empty lease.
    beside = path.with_name(f".{path.name}.{content['token']}")
    try:
        with full_disk_is_a_resource_error(path):
            beside.write_text(json.dumps(content))
            os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def _holder(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _clear_if_stale(path: Path) -> None:
    holder = _holder(path)
    if not path.exists():
        return
    if _is_alive(path, holder):
        raise LeaseHeld(
            f"{path.name.removesuffix('.lease')} is being done by process {holder.get('pid')} on "
            f"{holder.get('host')} (job {holder.get('job') or 'none'}): wait for it, "
            "then run the same command again"
        )
    aside = path.with_name(f".{path.name}.stale-{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        # Between reading and renaming somebody else may have taken the lease over: give that one back.
        if _holder(aside).get("token") != holder.get("token"):
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def _process_table() -> str:
    """Where process ids mean what they mean here: containers of one host name may each have their own."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    with suppress(OSError):
        return f"{boot.read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def _is_alive(path: Path, holder: dict[str, Any]) -> bool:
    if holder.get("processes") == _process_table():
        return _runs_here(holder)
    return _counter_moves(path, holder)


def _runs_here(holder: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(int(holder["pid"]))
        is_same = abs(process.create_time() - float(holder["started"])) < 1.0
        return is_same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False


def _counter_moves(path: Path, holder: dict[str, Any]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if _holder(path) != holder:
            return path.exists()
        time.sleep(min(1.0, PATIENCE_S / 10))
    return False


def _beat(path: Path, mine: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        if _holder(path).get("token") != mine["token"]:
            return
        mine["beat"] += 1
        beside = path.with_name(f".{path.name}.{mine['token']}")
        with suppress(OSError):  # where the disk is full, the unit will say so
            beside.write_text(json.dumps(mine))
            beside.replace(path)
