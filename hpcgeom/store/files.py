"""Files that appear whole or not at all, and stay after a power cut."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from hpcgeom.errors import ResourceError

T = TypeVar("T")
_READ_BYTES = 4 * 2**20
N_THREADS = 4
"""Files that are written or read at once, however few cores there are: some wait for the disk."""


def have_same_bytes(path: Path, other: Path) -> bool:
    """Whether two files are equal, byte by byte."""
    if path.stat().st_size != other.stat().st_size:
        return False
    with path.open("rb") as a, other.open("rb") as b:
        while chunk := a.read(_READ_BYTES):
            if chunk != b.read(_READ_BYTES):
                return False
    return True


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that readers see old or new, never half, and that survives a power cut.

    Raises
    ------
    ResourceError
        The disk or the quota is full.
    """
    with open_atomic(path) as file:
        file.write(content)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that readers see as `write_atomic` says, once the body is over.

    Raises
    ------
    ResourceError
        The disk or the quota is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with full_disk_is_a_resource_error(path):
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read, atomically."""
    write_atomic(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable."""
    _sync(folder)


def at_once(calls: Iterable[Callable[[], T]]) -> list[T]:
    """What some calls that write or read files return, in order; several are made at a time.

    Raises what the first of them raises that fails, when all are over.
    """
    with ThreadPoolExecutor(N_THREADS, thread_name_prefix="hpcgeom-files") as threads:
        return [made.result() for made in [threads.submit(call) for call in calls]]


def start_writing(file: BinaryIO) -> bool:
    """Let the disk begin with what was handed to the system, and do not wait for it; nothing is durable yet.

    Otherwise the disk waits until the file is whole, and then who wrote it waits for the disk. False where
    the system does not do it (it is Linux's sync_file_range(2)): then the disk begins later.
    """
    with suppress(OSError, AttributeError):
        whole, start = ctypes.c_int64(0), 2  # from 0 to the end; SYNC_FILE_RANGE_WRITE
        return int(ctypes.CDLL(None).sync_file_range(file.fileno(), whole, whole, start)) == 0
    return False


def sync_files(paths: Iterable[Path]) -> None:
    """Make files, and the names that lead to them, durable."""
    files = list(paths)
    at_once(partial(_sync, path) for path in files)
    for folder in {folder for path in files for folder in (path.parent, path.parent.parent)}:
        sync_folder(folder)


def sync_names(paths: Iterable[Path], top: Path) -> None:
    """Make the names durable that lead from a folder down to files."""
    folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(top)}
    at_once(partial(_sync, folder) for folder in folders)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_below(root: Path, owned: Iterable[str]) -> list[str]:
    """The files that exist among `owned` paths (a folder stands for all files in it), relative and sorted."""
    found: list[str] = []
    for name in owned:
        path = root / name
        if path.is_dir():
            found += [str(file.relative_to(root)) for file in path.rglob("*") if file.is_file()]
        elif path.exists():
            found.append(name)
    return sorted(found)


def remove(root: Path, owned: Iterable[str]) -> None:
    """Remove `owned` files and folders, those that writers left half-done beside them too."""
    for name in owned:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
            continue
        path.unlink(missing_ok=True)
        # Zarr writes `<name>.<uuid>.partial` and renames it; a killed process leaves that behind.
        for litter in path.parent.glob(f"{path.name}.*.partial"):
            litter.unlink(missing_ok=True)


@contextmanager
def full_disk_is_a_resource_error(path: Path) -> Iterator[None]:
    """Turn a full disk or quota into a `ResourceError` that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(
                f"no space is left to write {path} ({error.strerror}): "
                "free some, then run the same command again"
            ) from error
        raise
