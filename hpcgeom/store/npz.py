"""Parts of results: small .npz files that one unit writes and a later stage puts together."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import DamagedError
from hpcgeom.store.files import open_atomic


def save(path: Path, values: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as an .npz whose bytes depend on the arrays alone."""
    with open_atomic(path) as file:
        np.savez(file, **dict(values))  # type: ignore[arg-type]


def load(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz.

    Raises
    ------
    DamagedError
        It is missing, cut short, or a checksum in it is wrong.
    """
    with _opened(path) as stored:
        return {key: stored[key] for key in stored.files}


def load_one(path: Path, name: str) -> npt.NDArray[Any]:
    """One array of an .npz; the others are not read.

    Raises
    ------
    DamagedError
        As `load`, or there is no such array.
    """
    with _opened(path) as stored:
        array: npt.NDArray[Any] = stored[name]
        return array


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            yield stored
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DamagedError(
            f"{path} cannot be read ({type(error).__name__}: {error}): "
            "hpcgeom verify names the bad unit, and hpcgeom resume does it again"
        ) from error
