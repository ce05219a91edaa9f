"""Points that exist already: one (N, D) array per layer, as .npy files or Zarr arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.data.npy import map_npy, read_npy_header
from hpcgeom.data.samples import Samples, sample_digest
from hpcgeom.data.wording import counted, listed, nearest
from hpcgeom.errors import InputError
from hpcgeom.types import Points

_LAYER = "{layer}"
_DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class PointsFile:
    """The array of one layer: where it is, its shape (n_points, n_features) and its dtype."""

    layer: int
    path: Path
    n_points: int
    n_features: int
    dtype: np.dtype[Any]


def open_points(
    pattern: str, base_dir: Path | str, layers: Literal["all"] | Sequence[int] = "all"
) -> tuple[PointsFile, ...]:
    """Find the arrays of all layers and check that they describe the same points.

    Only headers are read. Parameters are those of `layer_files`.

    Raises
    ------
    InputError
        If a file is missing or is not a two-dimensional array of float16, float32 or float64, or two layers
        differ in their number of points.
    """
    found = []
    for layer, path in layer_files(pattern, base_dir, layers).items():
        (n_points, n_features), dtype = points_shape(path)
        found.append(PointsFile(layer, path, n_points, n_features, dtype))
    for other in found[1:]:
        if other.n_points != found[0].n_points:
            raise InputError(
                f"{other.path} has {counted(other.n_points, 'point')} and {found[0].path} has "
                f"{found[0].n_points}; all layers must describe the same points: save them again"
            )
    return tuple(found)


def layer_files(
    pattern: str, base_dir: Path | str, layers: Literal["all"] | Sequence[int] = "all"
) -> dict[int, Path]:
    """Find the file of each layer, in numeric order.

    Parameters
    ----------
    pattern
        A path in which ``{layer}`` stands for the number (``layer{layer}.npy``; zeros may lead), or the path
        of the only layer, 0. Relative paths start at `base_dir`; ``..`` and symbolic links are followed.
    base_dir
        A folder, as a rule the manifest's.
    layers
        All that are found, which must be without a gap, or those named.

    Raises
    ------
    InputError
        If nothing is found, a layer is missing, or two files have the same number.
    """
    _check_pattern(pattern)
    whole = Path(base_dir) / pattern
    if _LAYER not in pattern:
        if layers != "all" and list(layers) != [0]:
            raise InputError(
                f"{pattern} has no {{layer}}, so its only layer is 0; found layers {list(layers)}: leave "
                "layers out, or write {layer} for the number"
            )
        if not whole.exists():
            raise InputError(f"{whole} does not exist{_near(whole)}: check the path")
        return {0: whole}
    found = _numbered(whole)
    wanted = list(range(min(found), max(found) + 1)) if layers == "all" else list(layers)
    if missing := [layer for layer in wanted if layer not in found]:
        raise InputError(
            f"{whole}: layer {listed(missing)} missing; found {counted(len(found), 'file')}, layers "
            f"{min(found)} to {max(found)}: add the missing files, or name the layers wanted"
        )
    return {layer: found[layer] for layer in sorted(set(wanted))}


def points_shape(path: Path | str) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Read shape and dtype of an array of points from its header or metadata alone.

    Returns
    -------
    shape : (n_points, n_features)
    dtype : numpy dtype, as stored

    Raises
    ------
    InputError
        If the file is not .npy or a Zarr array, not two-dimensional, empty, or not float16, 32 or 64.
    """
    path = Path(path)
    shape: tuple[int, ...]
    if path.is_dir():
        array = open_zarr(path)
        shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    elif path.suffix.lower() == ".npy":
        header = read_npy_header(path)
        shape, dtype = header.shape, header.dtype
    else:
        raise InputError(f"{path} is neither .npy nor a folder with a Zarr array: save it as one of these")
    if len(shape) != 2 or 0 in shape:
        raise InputError(
            f"{path} has shape {shape}; expected (points, features), both at least 1: reshape it"
        )
    if dtype.name not in _DTYPES:
        raise InputError(f"{path} holds {dtype}; expected one of {', '.join(_DTYPES)}: convert it")
    return (shape[0], shape[1]), dtype


def read_rows(path: Path | str, start: int, stop: int) -> Points:
    """Read the rows [start, stop) of an array of points; a .npy is mapped, never read whole.

    Returns
    -------
    ndarray of shape (stop - start, D), C order, native bytes
        float64 where the file holds float64, else float32 (float16 widens exactly).

    Raises
    ------
    InputError
        If `points_shape` would refuse the file, or the rows are not all there.
    """
    path = Path(path)
    (n_points, _), _ = points_shape(path)
    if not 0 <= start <= stop <= n_points:
        raise InputError(
            f"{path} has {counted(n_points, 'point')}; rows {start} to {stop} are not all there: ask for "
            "others"
        )
    return _read(path, f"rows {start} to {stop}", lambda array: array[start:stop])


def take_rows(path: Path | str, rows: npt.NDArray[np.int64]) -> Points:
    """Read some rows of an array of points, in the order of `rows`; as `read_rows`.

    Raises
    ------
    InputError
        As `read_rows`.
    """
    path = Path(path)
    (n_points, _), _ = points_shape(path)
    if rows.size and not 0 <= rows.min() <= rows.max() < n_points:
        raise InputError(
            f"{path} has {counted(n_points, 'point')}; row {rows.max()} is not there: leave it out"
        )
    what = f"rows {rows.min()} to {rows.max()}" if rows.size else "no rows"
    return _read(path, what, lambda array: array.oindex[rows] if path.is_dir() else array[rows])


def _read(path: Path, what: str, cut: Callable[[Any], Any]) -> Points:
    _, dtype = points_shape(path)
    array = open_zarr(path) if path.is_dir() else map_npy(path)
    wide = np.float64 if dtype.itemsize == 8 else np.float32
    try:
        rows: Points = np.array(cut(array), dtype=wide, order="C")
    except (OSError, ValueError, RuntimeError) as error:  # a codec of Zarr refuses damaged bytes
        raise InputError(f"{what} of {path} are damaged ({error}): write or copy it again") from error
    return rows


def array_samples(n_points: int, n_features: int, ids: Sequence[str] | None = None) -> Samples:
    """Make the samples of an array: ids are row numbers unless given, contents are empty.

    The digests know the ids alone; the content is known by `source_digest` of the files.

    Raises
    ------
    InputError
        If the number of ids is not `n_points`, or `Samples` would refuse them.
    """
    names = tuple(map(str, range(n_points))) if ids is None else tuple(ids)
    if len(names) != n_points:
        raise InputError(f"{counted(len(names), 'id')} for {counted(n_points, 'point')}; give one per point")
    return Samples(
        ids=names,
        texts=("",) * n_points,
        lengths=np.full(n_points, n_features, dtype=np.int64),
        labels={},
        digests=tuple(sample_digest(name, "") for name in names),
    )


def _check_pattern(pattern: str) -> None:
    if other := [name for name in re.findall(r"\{[^{}]*\}", pattern) if name != _LAYER]:
        raise InputError(
            f"{pattern}: the placeholder {other[0]!r} is not known; expected {_LAYER} or none: correct it"
        )


def _near(path: Path) -> str:
    return nearest(path.name, sorted(os.listdir(path.parent))) if path.parent.is_dir() else ""


def _numbered(pattern: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for digits, path in _matches(pattern):
        other = found.setdefault(int(digits), path)
        if other != path:
            raise InputError(f"{other} and {path} are both layer {int(digits)}; keep one")
    if not found:
        raise InputError(f"no file matches {pattern}{_near(pattern)}: check the path and the numbering")
    return found


def _matches(pattern: Path) -> Iterable[tuple[str, Path]]:
    """Walk down the parts of the pattern; once digits are known, later ``{layer}`` must repeat them."""
    candidates = [("", Path())]
    for part in pattern.parts:
        longer: list[tuple[str, Path]] = []
        for digits, folder in candidates:
            if digits or _LAYER not in part:
                longer.append((digits, folder / part.replace(_LAYER, digits)))
            elif folder.is_dir():
                before, *after = (re.escape(piece) for piece in part.split(_LAYER))
                named = re.compile(before + "([0-9]+)" + r"\1".join(after))
                entries = sorted(os.listdir(folder))
                longer += [(hit[1], folder / name) for name in entries if (hit := named.fullmatch(name))]
        candidates = longer
    return [(digits, path) for digits, path in candidates if path.exists()]


def open_zarr(path: Path) -> Any:
    """A Zarr array; refuses what is none."""
    import zarr
    from zarr.errors import BaseZarrError

    try:
        return zarr.open_array(path, mode="r")
    except (BaseZarrError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be opened as a Zarr array ({type(error).__name__}); "
            "name the folder of one array, not of a group"
        ) from error
