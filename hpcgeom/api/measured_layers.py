"""One layer of arrays from elsewhere: read, checked, searched where it is points, and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.api import measured_by_dadapy
from hpcgeom.data.neighbor_arrays import (
    ROUNDED,
    Floats,
    Rows,
    checked_distances,
    checked_indices,
    checked_ratios,
)
from hpcgeom.data.neighbor_conventions import (
    ROOT_UNKNOWN,
    SelfColumn,
    check_against_points,
    check_pairs,
    without_self,
)
from hpcgeom.data.neighbor_files import NamedArray
from hpcgeom.errors import InputError
from hpcgeom.search import ArrayRows, Settings, search_representation
from hpcgeom.stages import dimensions, profile
from hpcgeom.stages.certificates import account
from hpcgeom.stages.clouds import cloud_profile
from hpcgeom.stages.clusters import cluster_profile
from hpcgeom.stages.pointwise import local_profile
from hpcgeom.store.neighbors import Lists
from hpcgeom.types import Values

Arrays = dict[str, NamedArray]
DEFAULT_NEIGHBORS = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """By what conventions arrays are read, and what is measured.

    Attributes
    ----------
    settings
        Of the geometry, as in a manifest.
    n_neighbors, metric
        Of the search of points.
    most_ranks
        Columns of row numbers that are kept for overlaps.
    by_dadapy
        Whether DADApy measures the given lists.
    """

    settings: Mapping[str, Any]
    self_column: SelfColumn
    squared: bool
    n_neighbors: int | None
    metric: str
    most_ranks: int
    by_dadapy: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What is known of one layer.

    Attributes
    ----------
    where
        Names of its arrays.
    values
        Numbers by variable of the results, without the dimensions of the representation.
    indices
        (N, up to `most_ranks`), int32, without the points themselves; None where not given.
    is_constant
        Whether all distances are zero; False where there are none.
    notices
        What was found out about the arrays.
    """

    where: str
    n_points: int
    values: Values
    indices: npt.NDArray[np.int32] | None
    is_constant: bool
    notices: tuple[str, ...]


def read_layer(arrays: Arrays, reading: Reading) -> Layer:
    """Read and measure one layer; overlaps, which need other layers or labels, are left for later.

    Raises
    ------
    InputError
        An array is not what it should be, or arrays contradict each other.
    """
    if set(arrays) == {"points"}:
        return _searched(arrays["points"], reading)
    where = " and ".join(array.name for kind, array in arrays.items() if kind != "points")
    lists = _Given.read(arrays, reading, where)
    values: Values = {"n_all_points": np.array(lists.n_points)}
    if lists.distances is not None:
        # Error bars look at two neighbors of each point.
        beside = lists.indices if lists.indices is not None and lists.indices.shape[1] > 1 else None
        if "mus" not in arrays:
            values["n_zero_distances"] = np.array(np.count_nonzero(lists.distances[:, 0] == 0.0))
        if reading.by_dadapy:
            values |= measured_by_dadapy.dimensions(lists.distances, reading.settings)
        else:
            values |= dimensions.dimensions(lists.distances, beside, reading.settings)
        if reading.settings["local_dimension_k"]:
            values |= local_profile(lists.distances, reading.settings["local_dimension_k"])
        if reading.settings["clusters"] is not None:
            values |= cluster_profile(lists.as_lists(), reading.settings["clusters"])
    return Layer(
        where=where,
        n_points=lists.n_points,
        values=values,
        indices=None if lists.indices is None else _kept(lists.indices, reading),
        is_constant=lists.distances is not None and not lists.distances.any(),
        notices=tuple(lists.notices),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """Lists of one layer as they were given, checked, without the points themselves."""

    n_points: int
    distances: Floats | None
    indices: Rows | None
    notices: list[str]

    @classmethod
    def read(cls, arrays: Arrays, reading: Reading, where: str) -> _Given:
        notices: list[str] = []
        distances = _distances(arrays, reading, notices)
        indices = (
            checked_indices(arrays["indices"].load(), arrays["indices"].name) if "indices" in arrays else None
        )
        given = [array for array in (distances, indices) if array is not None]
        if len({len(array) for array in given}) > 1:
            raise InputError(
                f"{where} are of {len(given[0])} and {len(given[1])} points; expected the same: "
                f"pass both arrays of one search"
            )
        if "mus" in arrays:
            if indices is not None:
                _, indices, notice = without_self(None, indices, reading.self_column, where)
                notices.append(notice)
        else:
            distances, indices, notice = without_self(distances, indices, reading.self_column, where)
            notices.append(notice)
        for array in (distances, indices):
            if array is not None and not array.shape[1]:
                raise InputError(
                    f"{where} lists no neighbor but the points themselves; expected others: "
                    f"search more neighbors"
                )
        given_lists = cls(len(given[0]), distances, indices, notices)
        if distances is not None:
            given_lists._check_together(arrays, reading, where)
        return given_lists

    def as_lists(self) -> Lists:
        """As lists of a search, without knowing which points are equal.

        Raises
        ------
        InputError
            They are not distances and row numbers of the same neighbors.
        """
        if self.distances is None or self.indices is None or self.distances.shape != self.indices.shape:
            raise InputError(
                "clusters: expected points, or distances and indices of the same neighbors; pass these"
            )
        indices = self.indices.astype(np.int32)
        own = np.arange(self.n_points, dtype=np.int32)
        return Lists(indices, self.distances, own, indices, self.distances)

    def _check_together(self, arrays: Arrays, reading: Reading, where: str) -> None:
        assert self.distances is not None
        unknown = ROOT_UNKNOWN
        if self.indices is not None and "mus" not in arrays:
            if self.distances.shape[1] != self.indices.shape[1]:
                self.notices.append(
                    f"distances to {self.distances.shape[1]} neighbors and row numbers of "
                    f"{self.indices.shape[1]}: dimensions are from the first, overlaps from the second"
                )
            unknown = check_pairs(self.distances, self.indices, where)
            if "points" in arrays:
                points = arrays["points"].load()
                if points.ndim != 2 or len(points) != self.n_points:
                    raise InputError(
                        f"{arrays['points'].name} has shape {points.shape}; expected "
                        f"({self.n_points}, features), the points of {where}: pass these"
                    )
                check_against_points(self.distances, self.indices, points, where, reading.metric)
                unknown = ""
        if unknown and not reading.squared:
            self.notices.append(unknown)


def _distances(arrays: Arrays, reading: Reading, notices: list[str]) -> Floats | None:
    """Distances as float64; of ratios, lists of 1 and the ratio."""
    kind = next((kind for kind in ("distances", "mus") if kind in arrays), None)
    if kind is None:
        return None
    array, name = arrays[kind].load(), arrays[kind].name
    check = checked_distances if kind == "distances" else checked_ratios
    found = check(array, name, squared=reading.squared)
    if array.dtype == np.float32:
        notices.append(ROUNDED)
    return found


def _searched(points: NamedArray, reading: Reading) -> Layer:
    try:
        rows = ArrayRows(points.load())
        k = min(DEFAULT_NEIGHBORS, rows.shape[0] - 1) if reading.n_neighbors is None else reading.n_neighbors
        found = search_representation(rows, Settings(k, reading.metric)).collect()
        distinct_indices = found.indices if found.distinct_indices is None else found.distinct_indices
        distinct_distances = found.distances if found.distinct_distances is None else found.distinct_distances
        lists = Lists(
            found.indices, found.distances, found.duplicate_of, distinct_indices, distinct_distances
        )
        values = profile.distinct_profile(lists, rows, reading.settings, reading.metric)
        if reading.settings["local_dimension_k"]:
            values |= local_profile(
                lists.distinct_distances, reading.settings["local_dimension_k"], lists.duplicate_of
            )
        if reading.settings["clusters"] is not None:
            values |= cluster_profile(lists, reading.settings["clusters"])
        if reading.settings["spectrum"]:
            values |= cloud_profile(rows, rows.shape[0], reading.settings)
    except InputError as error:
        raise InputError(f"{points.name}: {error}") from error
    n_distinct = len(lists.representatives)
    values |= {
        **account([asdict(found.certificate)]),
        "n_all_points": np.array(len(found.indices)),
        "n_duplicate_groups": np.array(np.count_nonzero(np.bincount(found.duplicate_of) > 1)),
        "n_zero_distances": np.array(np.count_nonzero(found.distances[:, 0] == 0.0)),
        "n_distinct_points": np.array(n_distinct),
    }
    return Layer(
        where=points.name,
        n_points=len(found.indices),
        values=values,
        indices=_kept(found.indices, reading),
        is_constant=n_distinct == 1,
        notices=(f"{k} neighbors of each point were searched",),
    )


def _kept(indices: npt.NDArray[Any], reading: Reading) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(indices[:, : reading.most_ranks], dtype=np.int32)
