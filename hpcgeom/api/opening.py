"""Opening what a run left behind, with xarray."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpcgeom.errors import InputError
from hpcgeom.plan import paths
from hpcgeom.store import results

if TYPE_CHECKING:
    import xarray as xr


def open_results(run: Path | str) -> xr.Dataset:
    """The results of a run: one dataset indexed by model, layer and k.

    Raises
    ------
    InputError
        The run has none yet.
    """
    return results.open_results(Path(run))


def open_activations(run: Path | str, model: str) -> xr.DataTree:
    """The activations of a model: group ``/<site>/<pooling>``, ``activations(layer, sample, feature)``.

    Raises
    ------
    InputError
        The run has no such model.
    """
    return _open_tree(Path(run), paths.activations(model))


def open_neighbors(run: Path | str, model: str) -> xr.DataTree:
    """The neighbor lists of a model: group ``/<site>/<pooling>``, ``neighbor_index(layer, sample, rank)``...

    Raises
    ------
    InputError
        The run has no such model.
    """
    return _open_tree(Path(run), paths.neighbors(model))


def _open_tree(run: Path, name: str) -> xr.DataTree:
    import xarray as xr

    if not (run / name).exists():
        known = sorted(path.name for path in (run / name).parent.glob("*.zarr"))
        raise InputError(f"{run / name} does not exist: the run has {', '.join(known) or 'no stores yet'}")
    return xr.open_datatree(run / name, engine="zarr", chunks=None)
