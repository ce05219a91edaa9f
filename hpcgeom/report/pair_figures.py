"""Figures of what is between layers: overlaps, Jaccard indices, alignment, information imbalance."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from hpcgeom.report.pair_maps import Pairs, draw_pairs
from hpcgeom.report.select import chosen_k


def overlap(results: xr.Dataset, k: int | None = None) -> Figure:
    """Heat maps of the share of neighbors that two layers have in common, for each pair of models.

    `k` is the measured k nearest to 10, if None.

    Raises
    ------
    InputError
        The overlaps were not measured at `k`.
    """
    lead = "Mean share of the k nearest neighbors that two layers have in common"
    return _of_neighbors(results, "overlap", "overlap", lead, k)


def jaccard(results: xr.Dataset, k: int | None = None) -> Figure:
    """Heat maps of the Jaccard index of the neighborhoods in two layers, as `overlap`.

    Raises
    ------
    InputError
        The indices were not measured at `k`.
    """
    lead = "Mean share of points that are among the k nearest neighbors in both layers, of those in either"
    return _of_neighbors(results, "jaccard", "Jaccard index", lead, k)


def _of_neighbors(results: xr.Dataset, variable: str, label: str, lead: str, k: int | None) -> Figure:
    at_k = chosen_k(results, k)
    values = results[variable].sel(k=at_k)
    return draw_pairs(results, Pairs(variable, values, f"{label}, k = {at_k}", lead, at_k))


def cka(results: xr.Dataset) -> Figure:
    """Heat maps of the alignment of two layers, debiased: the plain one rises with the number of features."""
    lead = (
        "Linear centered kernel alignment of two layers, with the unbiased estimator of HSIC (values below 0 "
        "have the color of 0)"
    )
    return draw_pairs(results, Pairs("cka_debiased", results["cka_debiased"], "CKA, debiased", lead))


def information_imbalance(results: xr.Dataset) -> Figure:
    """Heat maps of the information imbalance from one layer to another: the middle of its bounds."""
    low, high = results["information_imbalance_low"], results["information_imbalance_high"]
    lead = (
        "Information imbalance from the layer at the left to the layer below, the middle of its bounds, "
        f"which are at most {float((high - low).max()):.2g} apart"
    )
    pairs = Pairs(
        "information_imbalance_low", (low + high) / 2.0, "information imbalance", lead, is_symmetric=False
    )
    return draw_pairs(results, pairs)
