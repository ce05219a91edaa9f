"""Clusters of one layer as peaks of the density, and how far they are the classes of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpcgeom.geometry.clusters import HALO, adjusted_rand, density_peaks
from hpcgeom.stages.dimensions import Explain
from hpcgeom.store.neighbors import Lists
from hpcgeom.types import Labels, Status, Values


def cluster_profile(lists: Lists, settings: Mapping[str, Any], explain: Explain = Status) -> Values:
    """Cluster of every point.

    Distinct points are clustered, and a copy is in the cluster of the first of its kind.

    Parameters
    ----------
    settings
        `z` and `halo`, as `geometry.clusters` of a manifest.
    explain
        Gives the status to write in place of one that was found.

    Returns
    -------
    dict
        Arrays by name of the results' variable. Points of a halo, and all where there is no clustering, have
        the cluster -1.

    Raises
    ------
    InputError
        DADApy cannot be imported, or distinct points lie at distance zero.
    """
    kept = lists.representatives
    number = np.full(len(lists.duplicate_of) + 1, HALO, dtype=np.int64)  # the last one is of the neighbor -1
    number[kept] = np.arange(kept.size)
    found = density_peaks(
        lists.distinct_distances[kept],
        number[lists.distinct_indices[kept]],
        z=float(settings["z"]),
        halo=bool(settings["halo"]),
    )
    of_points = found.assignment[number[lists.duplicate_of]]
    return {
        "cluster": of_points,
        "n_clusters": np.array(found.centers.size, dtype=np.int64),
        "n_unclustered_points": np.array(np.count_nonzero(of_points == HALO), dtype=np.int64),
        "n_densities_at_limit": np.array(found.n_at_limit, dtype=np.int64),
        "cluster_status": np.array(explain(found.status), dtype=np.int8),
    }


def agreement(cluster: Labels, codes: Sequence[Labels]) -> Values:
    """Adjusted Rand index of clusters and classes, over the points that are in a cluster.

    Parameters
    ----------
    cluster
        (N,), -1 for points in none.
    codes
        (N,) integers from 0, of each label set.
    """
    inside = cluster != HALO
    found = [adjusted_rand(cluster[inside], each[inside]).value for each in codes]
    return {"adjusted_rand": np.array(found, dtype=np.float64)}
