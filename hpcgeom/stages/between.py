"""What is counted between all pairs of layers: common neighbors, also inside halves, and products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.half_sets import HalfSums, half_sums, halves, squared_differences
from hpcgeom.geometry.imbalance import ImbalanceCounts, imbalance_bounds, imbalance_counts
from hpcgeom.geometry.lanes import passes
from hpcgeom.geometry.overlap import overlap_counts, overlap_from_counts
from hpcgeom.geometry.rows import row_blocks
from hpcgeom.geometry.sets import common_bins, jaccard_from_sums, set_squares, set_sums
from hpcgeom.plan import paths
from hpcgeom.plan.between import ALIGNMENT, HALF_ROWS, HALVES, PAIRS
from hpcgeom.plan.points import Cohort, cohorts
from hpcgeom.stages import alignment
from hpcgeom.stages.run import Run
from hpcgeom.store import neighbors
from hpcgeom.types import Indices, Unit, Values

Settings = Mapping[str, Any]

OF_LAYERS = ("n_short", "n_compared", "diagonal_sums")
"""Counts whose last axis is that of the layers; the last two of all others are those of pairs of layers."""


def measure(run: Run, unit: Unit) -> Values:
    """The unit's part of what is counted between all layers at its site and pooling.

    Returns
    -------
    dict
        Arrays (..., layers of all models, layers of all models) that add up over units; zero for pairs of
        layers that are not compared. Models with fewer points than others end before the last units.
    """
    compared = cohorts(run.plan, unit.site, unit.pooling)
    n_layers = sum(len(cohort.layers) for cohort in compared)
    if unit.kind == ALIGNMENT:
        compared = [compared[unit.number]]
    total: Values = {}
    for cohort in compared:
        if unit.start >= cohort.n_points:
            continue
        for name, numbers in _WORK[unit.kind](run, unit, cohort).items():
            n_axes = 1 if name in OF_LAYERS else 2
            shape = (*numbers.shape[:-n_axes], *(n_layers,) * n_axes)
            whole = total.setdefault(name, np.zeros(shape, numbers.dtype))
            whole[at_layers(cohort.layers, n_axes)] = numbers
    return total


def at_layers(layers: Sequence[int], n_axes: int) -> Any:
    """Index of some layers along the last axes of an array."""
    return (..., *np.ix_(*(layers,) * n_axes))


def pair_sums(lists: Indices, n_points: int, settings: Settings) -> Values:
    """Sums over a block of points that `pair_numbers` needs; they add up over blocks.

    Parameters
    ----------
    lists
        Shape (layers, points, K): neighbors in each layer.
    n_points
        All points, among which the neighbors are.
    settings
        Of the geometry, as in a plan: `overlap_k`, `jaccard`, `information_imbalance`.
    """
    ks = settings["overlap_k"]
    sums = _common(np.ascontiguousarray(lists[:, :, : max(ks)]), ks, with_jaccard=settings["jaccard"])
    return sums | (asdict(imbalance_counts(lists, n_points)) if settings["information_imbalance"] else {})


def _common(lists: Indices, ks: Sequence[int], *, with_jaccard: bool) -> Values:
    if not with_jaccard:
        counts, squares = overlap_counts(lists, None, ks)
        return {"counts": counts, "squares": squares}
    parts = []
    for part in passes(ks):  # some ks at a time: bins of all would be large
        bins = common_bins(lists, ks[part.which])
        parts.append((*set_sums(bins), *set_squares(bins)))
    counts, jaccard, squares, jaccard_squares = (np.concatenate(each) for each in zip(*parts, strict=True))
    whole = counts.astype(np.int64)
    return {"counts": whole, "squares": squares, "jaccard": jaccard, "jaccard_squares": jaccard_squares}


def pair_numbers(sums: Mapping[str, npt.NDArray[Any]], n_points: int, settings: Settings) -> Values:
    """Results between layers by name of the variable, ([k,] layers, layers), from sums over all points."""
    ks = settings["overlap_k"]
    value, error = overlap_from_counts(sums["counts"], sums["squares"], n_points, ks)
    numbers: Values = {"overlap": value, "overlap_error": error}
    if settings["jaccard"]:
        value, error = jaccard_from_sums(sums["jaccard"], sums["jaccard_squares"], n_points)
        numbers |= {"jaccard": value, "jaccard_error": error}
    if settings["information_imbalance"]:
        counts = ImbalanceCounts(**{field.name: sums[field.name] for field in fields(ImbalanceCounts)})
        bounds = imbalance_bounds(counts, n_points)
        numbers |= {
            "information_imbalance_low": bounds.low,
            "information_imbalance_high": bounds.high,
            "n_unknown_ranks": bounds.n_censored,
        }
    return numbers


def _pairs(run: Run, unit: Unit, cohort: Cohort) -> Values:
    settings = run.plan.manifest["geometry"]
    k = int(run.plan.manifest["neighbors"]["k"]) if settings["information_imbalance"] else None
    stop = min(unit.stop, cohort.n_points)
    lists = _lists(run, cohort, unit.start, stop, k or max(settings["overlap_k"]))
    return pair_sums(lists, cohort.n_points, settings)


def _halves(run: Run, unit: Unit, cohort: Cohort) -> Values:
    """Squared differences of the two halves of the unit's split, and how many lists end too soon in them."""
    settings = run.plan.manifest["geometry"]
    ks, k = settings["overlap_k"], int(run.plan.manifest["neighbors"]["k"])
    splits = halves(cohort.n_points, unit.number + 1, int(settings["seed"]))
    side = next(islice(splits, unit.number, None))
    total: HalfSums | None = None
    for start, stop in row_blocks(cohort.n_points, HALF_ROWS):
        part = half_sums(_lists(run, cohort, start, stop, k), side, ks, start)
        total = part if total is None else total + part
    assert total is not None
    overlap, jaccard = squared_differences(total, side, ks)
    found = {"overlap": overlap, "n_short": total.n_short}
    return found | ({"jaccard": jaccard} if settings["jaccard"] else {})


def _alignment(run: Run, unit: Unit, cohort: Cohort) -> Values:
    return asdict(alignment.products(run, unit, cohort))


_WORK = {PAIRS: _pairs, HALVES: _halves, ALIGNMENT: _alignment}


def _lists(run: Run, cohort: Cohort, start: int, stop: int, k: int) -> npt.NDArray[np.int32]:
    """Lists of some points in all layers of models that have the same points: (layers, points, k)."""
    found = []
    for model, item in cohort.members:
        store, group = run.root / paths.neighbors(model.name), paths.group(item.site, item.pooling)
        found += [
            neighbors.read_rows(store, group, "neighbor_index", position, start, stop)[:, :k]
            for position in range(len(item.layers))
        ]
    return np.stack(found)
