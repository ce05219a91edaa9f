"""What is measured between the layers of given arrays, as a run measures it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpcgeom.api.measured_dataset import Read, relative_depth
from hpcgeom.catalog.sites import NO_POOLING, POINTS_SITE
from hpcgeom.data.neighbor_files import NamedArray
from hpcgeom.geometry.cka import cka_matrix
from hpcgeom.geometry.half_sets import half_sample_set_errors
from hpcgeom.stages.between import pair_numbers, pair_sums
from hpcgeom.stages.between_results import (
    Coordinates,
    Variables,
    add_same_depth,
    cka_variables,
    hide_constant,
    place_chance,
    place_of,
    place_pairs,
)
from hpcgeom.types import Values


def of_lists(
    read: Read, axes: Coordinates, settings: Mapping[str, Any], count: Callable[..., Values] = pair_sums
) -> Variables:
    """Overlaps of all layers and what else their lists say, with what they are by chance.

    Parameters
    ----------
    settings
        Of the geometry, as in a plan.
    count
        What counts common neighbors, as `pair_sums` does.
    """
    n_points = read[0][2].n_points
    indices = [layer.indices for *_, layer in read if layer.indices is not None]
    lists = np.stack([each[:, : min(one.shape[1] for one in indices)] for each in indices])
    numbers = pair_numbers(count(lists, n_points, settings), n_points, settings)
    if settings["error_splits"]:
        numbers |= _half_sample_errors(lists, settings)
    hide_constant(numbers, np.array([layer.is_constant for *_, layer in read]))
    variables: Variables = {}
    places = [place_of(axes, name, POINTS_SITE, NO_POOLING, layer) for name, layer, _ in read]
    place_pairs(variables, axes, places, numbers)
    for name in axes["model"]:
        place_chance(variables, axes, name, NO_POOLING, n_points)
    add_same_depth(variables, axes, places, relative_depth(read, axes))
    return variables


def _half_sample_errors(lists: Any, settings: Mapping[str, Any]) -> Values:
    overlap, jaccard = half_sample_set_errors(
        lists, settings["overlap_k"], n_splits=settings["error_splits"], seed=settings["seed"]
    )
    found = {"overlap_half_sample_error": overlap}
    return found | ({"jaccard_half_sample_error": jaccard} if settings["jaccard"] else {})


def of_points(read: Read, axes: Coordinates, points: Sequence[NamedArray]) -> Variables:
    """Alignment of all layers (CKA).

    Raises
    ------
    InputError
        A value is not finite.
    """
    opened = [array.open() for array in points]
    found = cka_matrix(
        lambda layer, start, stop: np.asarray(opened[layer][start:stop]), len(read), read[0][2].n_points
    )
    variables: Variables = {}
    places = [place_of(axes, name, POINTS_SITE, NO_POOLING, layer) for name, layer, _ in read]
    place_pairs(variables, axes, places, cka_variables(found))
    return variables
