"""The dataset of what was measured on given arrays, shaped as the results of a run are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcgeom.api.measured_layers import Layer
from hpcgeom.catalog.sites import NO_POOLING, POINTS_SITE
from hpcgeom.errors import InputError
from hpcgeom.geometry.trimmed import trimming_bias
from hpcgeom.plan import paths
from hpcgeom.plan.packing import pack
from hpcgeom.stages import collect, dimensions
from hpcgeom.stages.between_results import Coordinates, Variables, empty
from hpcgeom.stages.minimum import minimum_layers
from hpcgeom.store import results
from hpcgeom.store.variables import RESULTS, VALERIANI
from hpcgeom.types import Labels, Values

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

Read = Sequence[tuple[str, int, Layer]]
"""Model, number of the layer, and what was measured on it."""

TRIMMED = (
    "twonn_mle_trimmed is the number of the ratios kept over the sum of their logarithms, to compare with "
    "numbers of others; twonn and twonn_mle_censored are of the same ratios, and it is too large by"
)


def axes_of(read: Read, settings: Mapping[str, Any], ks: Sequence[int], labels: Sequence[str]) -> Coordinates:
    """Coordinates of all dimensions that results may have; points are named by their row numbers."""

    def text(values: Sequence[str]) -> npt.NDArray[np.object_]:
        return np.array(values, dtype=object)

    layers = np.array(sorted({layer for _, layer, _ in read}), dtype=np.int64)
    models = text(list(dict.fromkeys(name for name, *_ in read)))
    return {
        "model": models,
        "site": text([POINTS_SITE]),
        "pooling": text([NO_POOLING]),
        "layer": layers,
        "k": np.array(ks, dtype=np.int64),
        **dimensions.axes(settings),
        "sample": text([str(row) for row in range(read[0][2].n_points)]),
        "component": np.arange(1, 1 + max(_n_components(layer) for *_, layer in read)),
        "label": text(list(labels)),
        "other_model": models,
        "other_layer": layers,
    }


def _n_components(layer: Layer) -> int:
    found = layer.values.get("covariance_eigenvalue")
    return 0 if found is None else found.size


def profiles(
    read: Read,
    axes: Coordinates,
    codes: Mapping[str, Labels],
    of_labels: Callable[[str, int, Layer], Values],
) -> Variables:
    """What was measured on each layer alone, where it stands on the axes.

    Parameters
    ----------
    codes
        Of each label, one code a point.
    of_labels
        What is measured of the labels on a layer, given its model, its number and what was measured on it.
    """
    variables: Variables = {}
    for name, layer, found in read:
        values = {**found.values, **of_labels(name, layer, found)}
        where = (list(axes["model"]).index(name), 0, 0, list(axes["layer"]).index(layer))
        for variable, value in values.items():
            if value.size == 0:
                continue
            if variable not in variables:
                variables[variable] = (RESULTS[variable].dims, empty(variable, axes))
            collect.put(variables[variable][1], where, value)
    variables |= minimum_layers(variables, axes["layer"])
    if codes:
        by_chance = np.array([collect.chance(np.asarray(each)) for each in codes.values()])
        variables["label_overlap_chance"] = (("label",), by_chance)
    return variables


def relative_depth(read: Read, axes: Coordinates) -> npt.NDArray[np.float64]:
    """(models, layers): layers relative to the deepest one that was given of the model."""
    depth = np.full((len(axes["model"]), len(axes["layer"])), np.nan)
    for row, name in enumerate(axes["model"]):
        own = [layer for model, layer, _ in read if model == name]
        depth[row, np.isin(axes["layer"], own)] = np.array(own) / max(*own, 1)
    return depth


def dataset(
    variables: Variables,
    axes: Coordinates,
    read: Read,
    settings: Mapping[str, Any],
    metric: str,
) -> xr.Dataset:
    """The dataset of `variables`, with the coordinates that these have and what was found out on the way."""
    import xarray as xr

    used = {dim for dims, _ in variables.values() for dim in dims} | {"model", "layer"}
    coordinates: dict[str, Any] = {name: values for name, values in axes.items() if name in used}
    coordinates["relative_depth"] = (("model", "layer"), relative_depth(read, axes))
    attributes = {
        "title": "Geometry of given arrays",
        "n_samples": read[0][2].n_points,
        "metric": metric,
        "mu_fraction": settings["mu_fraction"],
        "relative_depth": "of the deepest layer that was given",
        "references": VALERIANI,
        **collect.about_settings(settings),
        "notices": _notices(read, settings),
    }
    return results.describe(xr.Dataset(variables, coords=coordinates, attrs=attributes))


def _notices(read: Read, settings: Mapping[str, Any]) -> list[str]:
    """What was found out about the arrays, each once, with the layers that it is about where not all."""
    about: dict[str, dict[str, list[int]]] = {}
    for name, layer, found in read:
        for notice in found.notices:
            about.setdefault(notice, {}).setdefault(name, []).append(layer)
    lines = []
    for notice, models in about.items():
        where = "; ".join(f"{name}, layer {pack(layers)}" for name, layers in models.items())
        is_all = sum(map(len, models.values())) == len(read)
        lines.append(notice if is_all else f"{where}: {notice}")
    if "twonn_mle_trimmed" in settings["estimators"]:
        fraction = float(settings["mu_fraction"])
        lines.append(f"{TRIMMED} {trimming_bias(fraction):.3f} at mu_fraction {fraction:g}")
    return lines


def save(measured: xr.Dataset, folder: Path) -> Path:
    """Write what was measured to ``results.zarr`` in a folder, where `open_results` and the tables find it.

    Raises
    ------
    InputError
        As `require_new`.
    """
    require_new(folder)
    folder.mkdir(parents=True, exist_ok=True)
    results.write(measured, folder / paths.RESULTS)
    return folder / paths.RESULTS


def require_new(folder: Path) -> None:
    """Refuse a folder that is a run's, or has results.

    Raises
    ------
    InputError
        It is one.
    """
    for name in (paths.RESULTS, paths.PLAN, paths.MANIFEST):
        if (folder / name).exists():
            raise InputError(f"{folder / name} exists, and is never written over: name another folder")
