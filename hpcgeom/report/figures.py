"""All figures by name, and which of them given results allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import xarray as xr
from matplotlib.figure import Figure

from hpcgeom.errors import InputError
from hpcgeom.report.layer_curves import CURVES, Curve, layer_curve
from hpcgeom.report.pair_figures import cka, information_imbalance, jaccard, overlap
from hpcgeom.report.profiles import consecutive_overlap, intrinsic_dimension, label_overlap
from hpcgeom.report.scans import (
    MOST_LINES,
    dimension_by_fraction,
    gride,
    gride_by_layer,
)
from hpcgeom.report.select import chosen_k, has_value, small


class Kind(NamedTuple):
    """One kind of figure: how it is drawn, and the variables of which it needs at least one."""

    draw: Callable[[xr.Dataset, int | None], Figure]
    variables: tuple[str, ...]


def _curve(curve: Curve) -> Kind:
    return Kind(lambda results, k: layer_curve(results, curve), (curve.variable,))


KINDS: dict[str, Kind] = {
    "intrinsic_dimension": Kind(lambda results, k: intrinsic_dimension(results), ("intrinsic_dimension",)),
    "gride": Kind(lambda results, k: gride(results), ("gride",)),
    "gride_by_layer": Kind(lambda results, k: gride_by_layer(results), ("gride",)),
    "dimension_by_fraction": Kind(
        lambda results, k: dimension_by_fraction(results), ("decimated_dimension", "twonn_by_mu_fraction")
    ),
    **{name: _curve(curve) for name, curve in CURVES.items()},
    "consecutive_overlap": Kind(consecutive_overlap, ("consecutive_overlap",)),
    "overlap": Kind(overlap, ("overlap",)),
    "jaccard": Kind(jaccard, ("jaccard",)),
    "cka": Kind(lambda results, k: cka(results), ("cka_debiased",)),
    "information_imbalance": Kind(
        lambda results, k: information_imbalance(results), ("information_imbalance_low",)
    ),
    "label_overlap": Kind(label_overlap, ("label_overlap",)),
}


def not_drawn(results: xr.Dataset) -> dict[str, str]:
    """Figures that the results do not allow, each with the reason."""
    reasons = {
        name: _missing(results, kind) or _nothing_to_see(results, name) for name, kind in KINDS.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def draw_figure(results: xr.Dataset, name: str, k: int | None = None) -> Figure:
    """The figure `name` of `KINDS`.

    Parameters
    ----------
    results
        The Dataset of `results.zarr`.
    name
        One of `KINDS`.
    k
        Size of the neighborhoods in figures of overlaps; None takes the measured k nearest to 10, and draws
        all of them where there is one model.

    Raises
    ------
    InputError
        There is no such figure, the results do not allow it, or overlaps were not measured at `k`.
    """
    if name not in KINDS:
        raise InputError(f"there is no figure '{name}': choose one of {', '.join(KINDS)}")
    reasons = not_drawn(results)
    if name in reasons:
        possible = [each for each in KINDS if each not in reasons]
        raise InputError(
            f"figure '{name}' cannot be drawn: {reasons[name]}; "
            f"these results allow {', '.join(possible) + ': choose one' if possible else 'no figure'}"
        )
    if k is not None:
        chosen_k(results, k)
    loaded = results.compute() if _is_between(results, name) else small(results)
    return KINDS[name].draw(loaded, k)


def _is_between(results: xr.Dataset, name: str) -> bool:
    """Whether a figure is of pairs of layers."""
    return any("other_layer" in results[each].dims for each in KINDS[name].variables if each in results)


def _missing(results: xr.Dataset, kind: Kind) -> str:
    wanted = " and ".join(f"'{variable}'" for variable in kind.variables)
    present = [variable for variable in kind.variables if variable in results]
    if not present:
        return f"the results hold no {wanted}, as the manifest did not ask for it"
    if not any(bool(has_value(results, variable).any()) for variable in present):
        return f"every value of {wanted} is undefined"
    return ""


def _nothing_to_see(results: xr.Dataset, name: str) -> str:
    """Why a figure of measured values would say nothing."""
    if _is_between(results, name):
        known = results[KINDS[name].variables[0]].notnull()
        others = [dim for dim in known.dims if dim not in ("site", "pooling", "model", "layer")]
        per_side = known.any(others).sum(["model", "layer"])
        if int(per_side.max()) < 2:
            return "there is one layer only, and nothing to compare it with"
    if name == "gride_by_layer":
        layers = results["gride"].notnull().any("n2").sum("layer")
        if int(layers.max()) <= MOST_LINES:
            return f"there are at most {MOST_LINES} layers, and figure 'gride' has a line for each"
    return ""
