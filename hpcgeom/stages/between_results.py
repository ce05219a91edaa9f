"""Results between layers: put together from what was counted, and placed where their layers stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.cka import CkaMatrix, cka_from_sums
from hpcgeom.geometry.cka_sums import CkaSums
from hpcgeom.geometry.half_sets import half_sample_errors_of
from hpcgeom.geometry.sets import chance_levels
from hpcgeom.plan import paths
from hpcgeom.plan.between import ALIGNMENT, HALVES, PAIRS
from hpcgeom.plan.points import Cohort, cohorts, members, n_base_points
from hpcgeom.stages.between import OF_LAYERS, at_layers, pair_numbers
from hpcgeom.stages.run import Run
from hpcgeom.store import npz
from hpcgeom.store.variables import RESULTS
from hpcgeom.types import Status, Values

Coordinates = dict[str, npt.NDArray[Any]]
Variables = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]
Floats = npt.NDArray[np.float64]

ERRORS = ("", "_error", "_half_sample_error")
"""Ends of the names of a number and of its errors."""


class Place(NamedTuple):
    """Where a layer stands on the axes of the results."""

    model: int
    site: int
    pooling: int
    layer: int


def empty(name: str, axes: Coordinates) -> npt.NDArray[Any]:
    """An array of the registered shape in which nothing is known yet."""
    variable = RESULTS[name]
    shape = tuple(len(axes[dim]) for dim in variable.dims)
    kind = np.dtype(variable.dtype)
    if name.endswith("status"):
        return np.full(shape, int(Status.ABSENT), dtype=kind)
    if name in ("same_depth_layer", "cluster"):
        return np.full(shape, -1, dtype=kind)
    return np.full(shape, np.nan if kind.kind == "f" else 0, dtype=kind)


def place_of(axes: Coordinates, model: str, site: str, pooling: str, layer: int) -> Place:
    """Where a layer stands."""
    names = {"model": model, "site": site, "pooling": pooling, "layer": layer}
    return Place(*(list(axes[dim]).index(value) for dim, value in names.items()))


def between_layers(run: Run, axes: Coordinates, depth: Floats) -> Variables:
    """All results between layers, and what they are by chance.

    Parameters
    ----------
    axes
        Of the results.
    depth
        (models, layers): relative depth.
    """
    variables: Variables = {}
    everywhere: list[Place] = []
    for site, pooling in run.plan.groups():
        here = members(run.plan, site, pooling)
        places = [
            place_of(axes, model.name, site, pooling, layer) for model, item in here for layer in item.layers
        ]
        everywhere += places
        place_pairs(variables, axes, places, _numbers(run, site, pooling))
        for model, item in here:
            place_chance(variables, axes, model.name, pooling, n_base_points(run.plan, model, item))
    add_same_depth(variables, axes, everywhere, depth)
    return variables


def place_pairs(
    variables: Variables, axes: Coordinates, places: Sequence[Place], numbers: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Put numbers between layers of one site and pooling where their layers stand.

    Parameters
    ----------
    variables
        Added to.
    places
        Of each layer, those of a model one after the other.
    numbers
        By variable: (k, layers, layers), (layers, layers), or (layers,).
    """
    model, site, pooling, layer = np.array(places).T
    pairs = (model[:, None], layer[:, None], model[None, :], layer[None, :])
    for name, values in numbers.items():
        whole = _variable(variables, axes, name)
        if values.ndim == 1:
            whole[model, site, pooling, layer] = values
        else:
            whole[site[0], pooling[0]][pairs] = np.moveaxis(values, 0, -1) if values.ndim == 3 else values
    for end in ERRORS:
        if f"overlap{end}" not in numbers:
            continue
        next_one = _variable(variables, axes, f"consecutive_overlap{end}")
        for (a, place), (b, other) in pairwise(enumerate(places)):
            if place.model == other.model:
                next_one[place] = numbers[f"overlap{end}"][:, a, b]


def place_chance(variables: Variables, axes: Coordinates, model: str, pooling: str, n_points: int) -> None:
    """Put what neighbors drawn at random have in common where the model and its pooling stand."""
    where = list(axes["model"]).index(model), list(axes["pooling"]).index(pooling)
    names = ("overlap", "jaccard")
    for name, levels in zip(names, chance_levels(n_points, axes["k"].tolist()), strict=True):
        if name in variables:
            _variable(variables, axes, f"{name}_chance")[where] = levels


def add_same_depth(variables: Variables, axes: Coordinates, places: Sequence[Place], depth: Floats) -> None:
    """Add the overlap of every layer with that of nearest relative depth in every other model.

    Of two equally near ones the shallower is taken. Nothing is added where no two models were compared.

    Parameters
    ----------
    places
        Of all layers.
    depth
        (models, layers): relative depth.
    """
    layers_of: dict[tuple[int, int, int], list[int]] = {}
    for place in places:
        layers_of.setdefault((place.site, place.pooling, place.model), []).append(place.layer)
    compared: npt.NDArray[np.bool_] = np.any(np.isfinite(variables["overlap"][1]), axis=(3, 5, 6))
    for (s, p, m), layers in layers_of.items():
        for other in np.flatnonzero(compared[s, p, m]).tolist():
            if other == m:
                continue
            candidates = np.array(layers_of[s, p, other])
            apart = np.abs(depth[m, layers][:, None] - depth[other, candidates][None, :])
            nearest = candidates[np.argmin(np.round(apart, 12), axis=1)]  # rounding makes no layer nearer
            where = (s, p, m, layers, other)
            _variable(variables, axes, "same_depth_layer")[where] = axes["other_layer"][nearest]
            for end in ERRORS:
                if f"overlap{end}" in variables:
                    values = variables[f"overlap{end}"][1][(*where, nearest)]
                    _variable(variables, axes, f"same_depth_overlap{end}")[where] = values


def hide_constant(numbers: Mapping[str, npt.NDArray[Any]], is_constant: npt.NDArray[np.bool_]) -> None:
    """Make numbers of layers without two different points NaN: their neighbors are row order."""
    for values in numbers.values():
        if values.dtype.kind == "f":
            values[..., is_constant, :] = np.nan
            values[..., :, is_constant] = np.nan


def _variable(variables: Variables, axes: Coordinates, name: str) -> npt.NDArray[Any]:
    if name not in variables:
        variables[name] = (RESULTS[name].dims, empty(name, axes))
    return variables[name][1]


def _numbers(run: Run, site: str, pooling: str) -> Values:
    """Results of all pairs of layers, and of layers, at one site and pooling; NaN where not compared."""
    sums, compared = _sums(run, site, pooling), cohorts(run.plan, site, pooling)
    n_layers = sum(len(cohort.layers) for cohort in compared)
    profiles = [
        npz.load(run.sound(paths.profile(model.name, site, pooling, layer), "geometry"))
        for model, item in members(run.plan, site, pooling)
        for layer in item.layers
    ]
    is_constant = np.array([int(each["n_distinct_points"]) == 1 for each in profiles])
    found: Values = {}
    for cohort in compared:
        of_layers = list(cohort.layers)
        own = {kind: _taken(values, of_layers) for kind, values in sums.items()}
        for name, values in _of_cohort(run, cohort, own, is_constant[of_layers]).items():
            missing = np.nan if values.dtype.kind == "f" else 0
            n_axes = values.ndim - ("k" in RESULTS[name].dims)
            shape = (*values.shape[:-n_axes], *(n_layers,) * n_axes)
            whole = found.setdefault(name, np.full(shape, missing, values.dtype))
            whole[at_layers(of_layers, n_axes)] = values
    return found


def _taken(values: Values, layers: list[int]) -> Values:
    """The counts of some of the layers, and of their pairs."""
    return {name: each[at_layers(layers, 1 if name in OF_LAYERS else 2)] for name, each in values.items()}


def _of_cohort(
    run: Run, cohort: Cohort, sums: Mapping[str, Values], is_constant: npt.NDArray[np.bool_]
) -> Values:
    settings, n_points = run.plan.manifest["geometry"], cohort.n_points
    numbers = pair_numbers(sums[PAIRS], n_points, settings)
    if HALVES in sums:
        halves = dict(sums[HALVES])
        n_short, n_splits = halves.pop("n_short"), int(settings["error_splits"])
        for name, squares in halves.items():
            errors = half_sample_errors_of(squares, (n_short, n_short), n_splits, n_points)
            numbers[f"{name}_half_sample_error"] = errors
    hide_constant(numbers, is_constant)
    if ALIGNMENT in sums:
        numbers |= cka_variables(cka_from_sums(CkaSums(**sums[ALIGNMENT]), n_points, is_constant))
    return numbers


def cka_variables(found: CkaMatrix) -> Values:
    """CKA of all pairs of layers, and why there is none, by name of the variable."""
    return {
        "cka": found.value,
        "cka_debiased": found.debiased,
        "cka_status": found.status,
        "cka_debiased_status": found.debiased_status,
    }


def _sums(run: Run, site: str, pooling: str) -> dict[str, Values]:
    """What all units of a kind have counted, added up in their order."""
    total: dict[str, Values] = {}
    for unit in run.units("geometry"):
        if unit.kind and (unit.site, unit.pooling) == (site, pooling):
            part = npz.load(run.sound(unit.owns[0], "geometry"))
            known = total.setdefault(unit.kind, {})
            for name, values in part.items():
                known[name] = known[name] + values if name in known else values
    return total
