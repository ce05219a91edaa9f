"""Comparing the stores of two runs: equal files, and equal decoded arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr

from hpcgeom.store import files

COMPARED = ("activations", "neighbors", "results.zarr")


def differences(run: Path, other: Path) -> list[str]:
    """Say where the stores of two runs differ; an empty list means that they are identical.

    Files are compared byte by byte; where bytes differ, the decoded array tells how many numbers do.
    """
    ours, theirs = _files(run), _files(other)
    found = [f"{name} is only in {run}" for name in sorted(ours - theirs)]
    found += [f"{name} is only in {other}" for name in sorted(theirs - ours)]
    different = [
        name for name in sorted(ours & theirs) if not files.have_same_bytes(run / name, other / name)
    ]
    arrays = sorted({name.partition("/c/")[0] for name in different if "/c/" in name})
    found += [_decoded(run, other, name) for name in arrays]
    found += [f"{name} has other bytes" for name in different if "/c/" not in name]
    return found


def n_compared(run: Path) -> int:
    """How many files the comparison reads in one run."""
    return len(_files(run))


def _files(run: Path) -> set[str]:
    return set(_walk(run))


def _walk(run: Path) -> Iterator[str]:
    for name in COMPARED:
        root = run / name
        for path in root.rglob("*"):
            relative = path.relative_to(run).as_posix()
            if path.is_file() and not relative.startswith("neighbors/partial/"):
                yield relative


def _decoded(run: Path, other: Path, name: str) -> str:
    try:
        a = np.asarray(zarr.open_array(run / name, mode="r")[...])
        b = np.asarray(zarr.open_array(other / name, mode="r")[...])
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        return f"{name} has other bytes, and one side cannot be decoded ({type(error).__name__}: {error})"
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{name} is {a.dtype} {a.shape} here and {b.dtype} {b.shape} there"
    kind = a.dtype.kind
    equal = (a == b) | ((a != a) & (b != b)) if kind == "f" else a == b
    n = int(np.size(equal) - np.count_nonzero(equal))
    if n == 0:
        return f"{name} has other bytes, but all decoded numbers are equal"
    where = tuple(int(i) for i in np.argwhere(~np.asarray(equal))[0])
    return (
        f"{name} differs in {n} of {np.size(equal)} numbers, first at {where}: {a[where]!r} and {b[where]!r}"
    )
