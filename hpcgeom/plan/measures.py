"""Which arrays are measured on one layer alone, by what a manifest asks for, and their numbers."""

from __future__ import annotations

from math import prod
from typing import Any

from hpcgeom.plan.plan import Plan

_QUANTILES = 3
_COUNTS = 8
"""Points, distinct ones, equal ones and their groups, and what the search proved of them."""


def axes(plan: Plan) -> dict[str, int]:
    """Length of every dimension of the results but those of a representation and of pairs of layers."""
    geometry = plan.manifest["geometry"]
    ks = set(geometry["overlap_k"])
    return {
        "estimator": len(set(geometry["estimators"]) - {"gride", "levina_bickel"}),
        "quantile": _QUANTILES,
        "n2": int(geometry["gride_range_max"]).bit_length() - 1,
        "levina_bickel_k": len(geometry["levina_bickel_k"]),
        "mu_fraction": len(geometry["mu_fractions"]),
        "data_fraction": len(geometry["data_fractions"]),
        "variance_fraction": len(geometry["variance_fractions"]),
        "component": max(item.width for model in plan.models for item in model.representations),
        "sample": plan.samples.n_base,
        "cloud_component": geometry["token_clouds"] or 0,
        "label": len(geometry["labels"]),
        "k": len(ks | {1} if plan.samples.n_queries and geometry["labels"] else ks),
    }


def arrays(plan: Plan) -> list[tuple[str, ...]]:
    """Dimensions of every array that is measured on one layer, without those of its representation."""
    geometry, has_queries = plan.manifest["geometry"], plan.samples.n_queries > 0
    estimators, has_labels = geometry["estimators"], bool(geometry["labels"])
    by_label: list[tuple[str, ...]] = [("label",)]
    by_label_and_k: list[tuple[str, ...]] = [("label", "k")]
    scalar: list[tuple[str, ...]] = [()]
    by_estimator: list[tuple[str, ...]] = [("estimator",)]
    by_share: list[tuple[str, ...]] = [("mu_fraction",), ("data_fraction",)]
    asked: list[tuple[Any, list[tuple[str, ...]]]] = [
        (True, scalar * _COUNTS + by_estimator * 4 + by_share * 2),
        ("twonn_bayes" in estimators, [*scalar * 2, ("quantile",)]),
        ("gride" in estimators, [("n2",)] * 5 + scalar * 5),  # the curve, and where it is flat
        ("levina_bickel" in estimators, [("levina_bickel_k",)] * 3),
        (geometry["local_dimension_k"], [("sample",), ("quantile",), *scalar * 2]),
        (geometry["clusters"] is not None, [("sample",), *scalar * 4]),
        (geometry["clusters"] is not None and has_labels, by_label),
        (geometry["token_clouds"], [("sample",)] * 3 + [("sample", "cloud_component")]),
        (geometry["spectrum"], [("component",), ("variance_fraction",), *scalar * 14]),
        (has_labels, by_label_and_k * 4 + by_label * 3),
        (has_labels and geometry["exclude_same"], by_label_and_k * 3 + by_label * 4),
        (has_labels and has_queries, by_label_and_k * 4 + by_label),
        (has_queries, scalar),
    ]
    return [dims for is_asked, found in asked if is_asked for dims in found]


def numbers(plan: Plan) -> int:
    """Numbers that are measured on one layer alone."""
    length = axes(plan)
    return sum(prod(length[dim] for dim in dims) for dims in arrays(plan))
