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

    For the pooling `tokens` every token is a point, and the points of the samples ``start`` to ``stop - 1``
    are in a group of their own, ``/<site>/tokens/rows-<start>-<stop>``: ``activations(layer, point,
    feature)`` with the coordinates ``sample(point)`` and ``position(point)``. To put them together::

        parts = open_activations(run, model)["resid/tokens"].children
        datasets = [parts[name].dataset for name in sorted(parts)]
        options = {"data_vars": "minimal", "coords": "minimal", "compat": "override", "join": "override"}
        points = xarray.concat(datasets, "point", **options)

    Raises
    ------
    InputError
        The run has no such model.
    """
    return _open_tree(Path(run), paths.activations(model))


def open_neighbors(run: Path | str, model: str) -> xr.DataTree:
    """The neighbor lists of a model: group ``/<site>/<pooling>``, ``neighbor_index(layer, sample, rank)``...

    For the pooling `tokens` the dimension is ``point``, with the coordinates ``sample(point)`` and
    ``position(point)``; `neighbor_index` counts the tokens of all samples, in the order in which
    `open_activations` has them.

    Raises
    ------
    InputError
        The run has no such model.
    """
    return _open_tree(Path(run), paths.neighbors(model))


def open_details(run: Path | str, model: str) -> xr.DataTree:
    """What was kept whole of chosen samples of a model: group ``/<site>/<row>``.

    Each group has ``input_id(position)``, and the sample's id in ``attrs["sample"]``. Of places in a block,
    ``activations(layer, position, feature)``; ``attention(layer, head, query, key)``; ``logits`` and
    ``probabilities`` ``(position, token)``, or ``(class,)`` of a vision transformer; of the logit lens,
    ``entropy``, ``kl_to_last`` and ``cosine_to_last`` ``(layer, position)``, ``top_token`` and
    ``top_probability`` ``(layer, position, top)``.

    Raises
    ------
    InputError
        The run has no such model, or nothing was kept whole of it.
    """
    tree = _open_tree(Path(run), paths.activations(model))
    details = tree.filter(lambda node: node.level == 0 or "sample" in node.attrs)
    if not details.children:
        raise InputError(
            f"{Path(run) / paths.activations(model)} holds no details: name samples and sites in "
            "representations.details of a manifest, and start another run"
        )
    return details


def _open_tree(run: Path, name: str) -> xr.DataTree:
    import xarray as xr

    if not (run / name).exists():
        known = sorted(path.name for path in (run / name).parent.glob("*.zarr"))
        there = (
            f"the run has {', '.join(known)}: name one of these models"
            if known
            else f"{run} has no such stores yet: name the directory of a run, and see hpcgeom status"
        )
        raise InputError(f"{run / name} does not exist: {there}")
    return xr.open_datatree(run / name, engine="zarr", chunks=None)
