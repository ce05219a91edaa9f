"""The folder of a lab: whether it can be one, what is in it, and who may change it."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab_options import NODES
from lab_processes import LabError

STATE = "lab.json"
_LOCK = "lab.lock"
_FOLDERS = ("run", "state", "spool", "log", "database", "work")
# Below the ports that the system gives to connections, so that a node that was killed finds its port free.
_PORTS = range(20000, 32000)
# The longest name of a socket that a daemon makes in the folder, and the room that the system has for it.
_LONGEST_SOCKET_NAME = len("/spool/n1/n1_1234567.4294967291")
_SOCKET_PATH_BYTES = 107
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+")


def check_folder(folder: Path) -> None:
    """Refuse a folder that the daemons could not work in.

    Raises
    ------
    LabError
        The path has characters that SLURM's configuration cannot hold, or no room is left for its sockets.
    """
    strange = sorted(set(str(folder)) - _PLAIN)
    if strange:
        found = " ".join(map(repr, strange))
        raise LabError(f"{folder}: SLURM cannot work in a path with {found}: choose another folder")
    room = _SOCKET_PATH_BYTES - _LONGEST_SOCKET_NAME
    if len(str(folder)) > room:
        raise LabError(
            f"{folder}: the path has {len(str(folder))} characters, and at most {room} leave room for the "
            "names of sockets: choose a shorter one"
        )


def holds_something_else(folder: Path) -> bool:
    """Whether the folder has files and was never a lab."""
    if not folder.exists() or (folder / STATE).exists():
        return False
    return any(path.name != _LOCK for path in folder.iterdir())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else starts or stops the lab while the body runs."""
    with (folder / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def empty(folder: Path) -> None:
    """Remove what an earlier lab has left, and make the folders and the key of a new one."""
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    for name in NODES:
        (folder / "spool" / name).mkdir()
    key = folder / "run" / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))


def free_ports(n_ports: int) -> list[int]:
    """Some ports that nobody listens on."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == n_ports:
            return found
    raise LabError(f"no {n_ports} ports are free between {_PORTS.start} and {_PORTS.stop}")
