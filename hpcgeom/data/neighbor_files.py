"""Arrays that exist already, one for each layer: as files, as Zarr arrays or in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from hpcgeom.data.arrays import layer_files, open_zarr
from hpcgeom.data.npy import map_npy
from hpcgeom.errors import InputError

Array = npt.NDArray[Any]
Given: TypeAlias = str | Path | Array | Mapping[int, str | Path | Array]
"""One array a layer: a pattern with ``{layer}``, the path or array of the only layer, or each by number."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedArray:
    """An array of one layer, and what it is called in messages."""

    name: str
    source: Path | Array

    def load(self) -> Array:
        """All of it, in memory.

        Raises
        ------
        InputError
            It is neither a .npy file nor a Zarr array, or it is damaged.
        """
        return read_array(self.source) if isinstance(self.source, Path) else self.source

    def open(self) -> Any:
        """What is cut into arrays by slices of its rows; a file is not read before.

        Raises
        ------
        InputError
            As `load`.
        """
        return open_array(self.source) if isinstance(self.source, Path) else self.source


def find_arrays(
    given: Given, layers: Literal["all"] | Sequence[int] = "all", name: str = "array"
) -> dict[int, NamedArray]:
    """The array of each layer, ascending; nothing is read.

    Parameters
    ----------
    given
        A pattern (`layer_files`), a path, an array, or paths and arrays by layer.
    layers
        All that there are, or those named.
    name
        What arrays in memory are called in messages.

    Raises
    ------
    InputError
        A file or a layer is missing, a layer is no number from 0 on, or `given` is something else.
    """
    if isinstance(given, str | Path):
        return {
            layer: NamedArray(str(path), path) for layer, path in layer_files(str(given), "", layers).items()
        }
    if isinstance(given, np.ndarray):
        given = {0: given}
    if not isinstance(given, Mapping):
        raise InputError(
            f"{name}: found {type(given).__name__}; expected a pattern, a path, an array, or these by layer: "
            f"pass for example {{0: array}}"
        )
    wrong = [layer for layer in given if not isinstance(layer, int | np.integer) or layer < 0]
    if wrong or not given:
        raise InputError(f"{name}: expected layers by number from 0 on, found {wrong or 'none'}; number them")
    wanted = sorted(given) if layers == "all" else sorted(set(layers))
    if missing := [layer for layer in wanted if layer not in given]:
        raise InputError(
            f"{name}: layer {missing[0]} is missing; found {sorted(given)}: name those that there are"
        )
    found = {}
    for layer in wanted:
        one = given[layer]
        path = isinstance(one, str | Path)
        found[int(layer)] = NamedArray(
            str(one) if path else f"{name} of layer {layer}", Path(str(one)) if path else np.asarray(one)
        )
    return found


def read_array(path: Path) -> Array:
    """A .npy file or a Zarr array, whole.

    Raises
    ------
    InputError
        It is neither, or it is damaged; a pickle is never opened.
    """
    array = open_array(path)
    try:
        return np.array(array[...])
    except (OSError, ValueError, RuntimeError) as error:  # a codec of Zarr refuses damaged bytes
        raise InputError(f"{path} is damaged ({error}): write or copy it again") from error


def open_array(path: Path) -> Any:
    """A .npy file, mapped, or a Zarr array.

    Raises
    ------
    InputError
        It is neither; a pickle is never opened.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    if not path.is_dir() and path.suffix.lower() != ".npy":
        raise InputError(f"{path} is neither .npy nor a folder with a Zarr array: save it as one of these")
    return open_zarr(path) if path.is_dir() else map_npy(path)
