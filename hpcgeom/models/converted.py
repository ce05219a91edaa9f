"""Folders that a converter writes: whole or not at all, with a small record of what must be in them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpcgeom.errors import InputError, ResourceError
from hpcgeom.models.checkpoint import read_json

RECORD_FILE = "conversion.json"
CACHE_VARIABLE = "HPCGEOM_CACHE"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
_ABANDONED_AFTER_S = 24 * 3600.0


def default_cache() -> Path:
    """The folder ``converted`` in ``$HPCGEOM_CACHE``, ``$XDG_CACHE_HOME/hpcgeom`` or ``~/.cache/hpcgeom``.

    Raises
    ------
    InputError
        ``HPCGEOM_CACHE`` is set to a relative path.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        cache = Path(named).expanduser()
        if not cache.is_absolute():
            raise InputError(f"{CACHE_VARIABLE} is '{named}': expected an absolute path: set it to one")
        return cache / "converted"
    # by its specification, a relative XDG_CACHE_HOME counts as none
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "hpcgeom" / "converted"


def is_complete(folder: Path, made_by: str) -> bool:
    """Whether `folder` was finished by the converter `made_by`, and all of its files have their sizes."""
    try:
        record = read_json(folder / RECORD_FILE)
        sizes = dict(record["files"])
        return record["made_by"] == made_by and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (InputError, OSError, LookupError, TypeError, ValueError):
        return False


@contextmanager
def folder_beside(target: Path, n_bytes: int) -> Iterator[Path]:
    """A new empty folder beside `target`, removed again at the end of the block.

    Parameters
    ----------
    target
        The folder that is being made; the folder around it is created.
    n_bytes
        What will be written, to refuse a small disk before that.

    Raises
    ------
    InputError
        The folder around `target` cannot be written to.
    ResourceError
        The disk is too small, or full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        n_free = shutil.disk_usage(target.parent).free
        if n_bytes > n_free:
            raise ResourceError(
                f"{target} needs {n_bytes / 1e9:.2f} GB, and {target.parent} has {n_free / 1e9:.2f} GB left: "
                "free some, or take a folder on another disk"
            )
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        beside.mkdir()
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield beside
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def publish(beside: Path, target: Path, made_by: str, record: Mapping[str, Any]) -> None:
    """Let a finished folder appear under its name.

    Another process may publish the same content at the same time: the first one wins. A damaged or older
    `target` is repaired file by file, so that readers always find each of them whole.

    Parameters
    ----------
    made_by
        Converter and its version; see `is_complete`.
    record
        What else the record says.
    """
    sizes = {file.name: file.stat().st_size for file in sorted(beside.iterdir())}
    content = {**record, "files": sizes, "made_by": made_by}
    (beside / RECORD_FILE).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    for name in (*sizes, RECORD_FILE):
        _sync(beside / name)
    _sync(beside)
    try:
        beside.rename(target)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        if not is_complete(target, made_by):
            for name in (*sizes, RECORD_FILE):
                (beside / name).replace(target / name)
            _sync(target)
    _sync(target.parent)


def _remove_abandoned(target: Path) -> None:
    """Remove what killed processes left of the same conversion."""
    for left in target.parent.glob(f".{target.name}.*.partial"):
        try:
            newest = max(path.stat().st_mtime for path in (left, *left.iterdir()))
        except OSError:  # its owner has just finished
            continue
        if time.time() - newest > _ABANDONED_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)


def _unwritable(target: Path, error: OSError) -> Exception:
    if error.errno in _FULL:
        return ResourceError(
            f"no space is left to write {target} ({error.strerror}): free some, or take a folder on another "
            "disk, then run the same command again"
        )
    return InputError(
        f"{target} cannot be written ({error.strerror or error}): take a folder that you may write to; for "
        f"the cache of converted models, set {CACHE_VARIABLE}"
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
