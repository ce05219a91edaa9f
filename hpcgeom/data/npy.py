"""The header of a .npy file, read without trusting the rest of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.data.files import readable, require_file
from hpcgeom.errors import InputError


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """Shape and type of the array in a .npy file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_npy_header(path: Path | str) -> NpyHeader:
    """Read the header of a .npy file, and check that all of its bytes are there.

    Raises
    ------
    InputError
        If it is not a .npy file, holds Python objects (a pickle), or is truncated.
    """
    path = require_file(path)
    with readable(path), path.open("rb") as file:
        size = path.stat().st_size
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
            if any(length < 0 for length in shape):
                raise ValueError(f"its shape is {shape}")
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{path} is not a .npy file ({error}); write it with numpy.save") from error
        start = file.tell()
    if dtype.hasobject:
        raise InputError(
            f"{path} holds Python objects (a pickle), which is never opened; "
            "write plain numbers or strings with numpy.save(..., allow_pickle=False)"
        )
    expected = start + math.prod(shape) * dtype.itemsize
    if size < expected:
        raise InputError(
            f"{path} is truncated: expected {expected} bytes, found {size}; write or copy it again"
        )
    return NpyHeader(tuple(shape), dtype)


def map_npy(path: Path | str) -> npt.NDArray[Any]:
    """Map a .npy file into memory, read only; `read_npy_header` says what is refused."""
    if 0 in read_npy_header(path).shape:
        return np.asarray(np.load(path, allow_pickle=False))  # no bytes, nothing to map
    mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped
