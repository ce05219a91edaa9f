"""Parts of results: small .npz files that one unit writes and a later stage puts together."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import DamagedError
from hpcgeom.store.files import write_atomic


def save(path: Path, values: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as an .npz whose bytes depend on the arrays alone."""
    buffer = io.BytesIO()
    np.savez(buffer, **dict(values))  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def load(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz.

    Raises
    ------
    DamagedError
        It is missing, cut short, or a checksum in it is wrong.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DamagedError(
            f"{path} cannot be read ({type(error).__name__}: {error}): "
            "hpcgeom verify names the bad unit, and hpcgeom resume does it again"
        ) from error
