"""``results.zarr``: one labeled dataset, built beside its place and renamed in."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec

from hpcgeom.errors import InputError
from hpcgeom.store import files
from hpcgeom.store.variables import RESULTS, flags

BUILDING = ".results.zarr.building"
ASIDE = ".results.zarr.old"


def describe(results: xr.Dataset) -> xr.Dataset:
    """Give every variable its attributes from the registry, and check its dimensions and dtype.

    Raises
    ------
    AssertionError
        A variable is not registered, or is not shaped as registered: an error of ours.
    """
    for name, variable in results.data_vars.items():
        known = RESULTS[str(name)]
        assert variable.dims == known.dims, (name, variable.dims, known.dims)
        assert variable.dtype == np.dtype(known.dtype), (name, variable.dtype)
        variable.attrs.update(known.attributes())
        if str(name).endswith("status"):
            variable.attrs.update(flags())
    return results


def write(results: xr.Dataset, path: Path) -> None:
    """Write the dataset; readers see the old one or the new one, never a part."""
    building, aside = path.with_name(BUILDING), path.with_name(ASIDE)
    for left_over in (building, aside):
        shutil.rmtree(left_over, ignore_errors=True)
    with warnings.catch_warnings(), files.full_disk_is_a_resource_error(path):
        # See store.arrays.consolidate.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        results.to_zarr(
            building,
            mode="w-",
            zarr_format=3,
            consolidated=True,
            encoding=_encoding(results),
            write_empty_chunks=True,
        )
    files.sync_files(file for file in building.rglob("*") if file.is_file())
    if path.exists():
        path.rename(aside)
    building.rename(path)
    files.sync_folder(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def open_results(run: Path) -> xr.Dataset:
    """The results of a run, read lazily.

    Raises
    ------
    InputError
        The run has none yet.
    """
    path = run / "results.zarr"
    if not path.exists():
        raise InputError(f"{run} has no results.zarr: hpcgeom status {run} says what is missing")
    results: xr.Dataset = xr.open_zarr(path, chunks=None)
    return results


def _encoding(results: xr.Dataset) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in results.variables.items():
        is_pair = "other_model" in variable.dims and "model" in variable.dims
        chunks = tuple(
            1 if is_pair and dim in ("model", "other_model") else max(size, 1)
            for dim, size in zip(variable.dims, variable.shape, strict=True)
        )
        encoding[str(name)] = {"compressors": [Crc32cCodec()], "chunks": chunks}
        # A chunk that is lost must not read as numbers, nor as a status of "ok".
        if variable.dtype.kind == "f":
            encoding[str(name)]["_FillValue"] = np.nan
        elif variable.dtype.kind == "i":
            encoding[str(name)]["fill_value"] = -1
    return encoding
