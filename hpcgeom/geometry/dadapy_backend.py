"""TwoNN, GRIDE and overlaps by DADApy, with the arguments and results of the native functions.

DADApy 0.3.4 needs NumPy 1, so that it has an environment of its own (``constraints-dadapy.txt``). It is asked
through its public methods. Lists are checked and rows chosen as by the native functions, because it takes
copies of a point, missing neighbors and short lists without a word. It gives no error bar but GRIDE's: TwoNN
has none here, and those of overlaps are the native ones, over the shares that it counts.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.gride import GrideResult, dadapy_filter, scales
from hpcgeom.geometry.labels import check_labels, label_overlap_from_counts
from hpcgeom.geometry.lists import check_indices, check_ks, check_stacks
from hpcgeom.geometry.overlap import Counts, overlap_from_counts
from hpcgeom.geometry.ratios import NeighborLists, read_lists
from hpcgeom.types import Distances, Estimate, Indices, Labels, Status

Floats = npt.NDArray[np.float64]

ENVIRONMENT = "an environment of its own with NumPy 1 (pip install -c constraints-dadapy.txt dadapy numba)"


def version() -> str:
    """The version of DADApy that is asked.

    Raises
    ------
    InputError
        It cannot be imported.
    """
    from importlib.metadata import version as installed

    load()
    return installed("dadapy")


def load(what: str = "backend", mend: str = "call it there, or take the backend 'native'") -> Any:
    """The module ``dadapy``.

    Parameters
    ----------
    what, mend
        What needs it, and what to do without it, for the message.

    Raises
    ------
    InputError
        It cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("dadapy")
    except ImportError as error:
        raise InputError(
            f"{what}: DADApy cannot be imported here ({error}); expected 'dadapy==0.3.4' in {ENVIRONMENT}: "
            f"{mend}"
        ) from error


def twonn(distances: Distances, fraction: float = 0.9) -> Estimate:
    """As the native `twonn`: DADApy's ``compute_id_2NN(algorithm="base")``.

    Parameters
    ----------
    distances
        Shape (N, K >= 2), float64, as for the native function.
    fraction
        In (0, 1): at 1 DADApy changes to ``ml``.

    Returns
    -------
    Estimate
        `error` is NaN.

    Raises
    ------
    InputError
        DADApy cannot be imported, bad distances (see `read_lists`), or `fraction` outside (0, 1).
    """
    if not 0.0 < fraction < 1.0:
        raise InputError(
            f"fraction: expected a number in (0, 1), found {fraction}; "
            f"at 1 DADApy takes twonn_mle: ask for that"
        )
    lists = read_lists(distances)
    if lists.status(2) is Status.OK and int(lists.rows.size * fraction) < 2:
        return lists.undefined(Status.TOO_FEW_POINTS)
    return _twonn(lists, fraction, algorithm="base", mu_fraction=fraction)


def twonn_mle(distances: Distances) -> Estimate:
    """As the native `twonn_mle`: DADApy's ``compute_id_2NN(algorithm="ml")``, without an error.

    Raises
    ------
    InputError
        DADApy cannot be imported, or bad distances (see `read_lists`).
    """
    return _twonn(read_lists(distances), 1.0, algorithm="ml")


def _twonn(lists: NeighborLists, fraction: float, **options: Any) -> Estimate:
    dadapy = load()
    status = lists.status(2)
    if status is not Status.OK:
        return lists.undefined(status)
    smallest = np.sort(lists.log_ratios(1, 2))[: int(lists.rows.size * fraction)]
    if not smallest.any():
        return lists.undefined(Status.NO_SOLUTION)
    with _quiet():
        value = _data(dadapy, lists.distances[lists.rows, :2]).compute_id_2NN(**options)[0]
    return Estimate(float(value), np.nan, lists.rows.size, Status.OK, lists.n_zero_distances)


def gride(distances: Distances, range_max: int = 64) -> GrideResult:
    """As the native `gride` with ``mu_filter="dadapy"``: DADApy's ``return_id_scaling_gride``.

    Its bisection ends at 1e-7. `n_points` counts the ratios that its filter keeps.

    Parameters
    ----------
    distances, range_max
        As for the native function.

    Returns
    -------
    GrideResult
        ``TOO_FEW_POINTS`` where the filter leaves fewer than 2 ratios, and at scales n2 above the number of
        points, which DADApy does not measure.

    Raises
    ------
    InputError
        DADApy cannot be imported, bad distances (see `read_lists`), or a bad `range_max`.
    """
    dadapy, ranks, lists = load(), scales(range_max), read_lists(distances)
    found = np.full((3, ranks.size), np.nan)
    n_points = np.full(ranks.size, lists.rows.size, dtype=np.int64)
    status = np.array([lists.status(int(n2)) for n2 in ranks], dtype=np.int8)
    for i, n2 in enumerate(ranks[status == Status.OK].tolist()):
        log_mu = lists.log_ratios(n2 // 2, n2)
        pair = lists.distances[lists.rows][:, [n2 // 2 - 1, n2 - 1]]
        n_points[i] = np.count_nonzero(dadapy_filter(log_mu, pair[:, 1] / pair[:, 0])[1])
        if not log_mu.any():
            status[i], n_points[i] = Status.NO_SOLUTION, lists.rows.size
        elif n_points[i] < 2:
            status[i] = Status.TOO_FEW_POINTS
    reached = [n2 for n2, code in zip(ranks.tolist(), status, strict=True) if code == Status.OK]
    if reached:
        with _quiet():
            data = _data(dadapy, lists.distances[lists.rows, : max(reached)])
            scaled = data.return_id_scaling_gride(range_max=max(reached))
        found[:, : len(scaled[0])] = scaled
        status[(status == Status.OK) & np.isnan(found[0])] = Status.TOO_FEW_POINTS
        found[:, status != Status.OK] = np.nan
    value, error, distance = found
    return GrideResult(value, error, distance, ranks, n_points, status, lists.n_zero_distances)


def overlap(indices_a: Indices, indices_b: Indices, k: int) -> Estimate:
    """As the native `overlap`: DADApy's ``return_data_overlap``; see `overlap_counts`."""
    check_indices("indices_a", indices_a, ("points", "neighbors"))
    check_indices("indices_b", indices_b, ("points", "neighbors"))
    counts, squares = overlap_counts(indices_a[None], indices_b[None], [k])
    value, error = overlap_from_counts(counts, squares, len(indices_a), [k])
    status = Status.OK if len(indices_a) else Status.TOO_FEW_POINTS
    return Estimate(float(value[0, 0, 0]), float(error[0, 0, 0]), len(indices_a), status)


def overlap_matrix(indices: Indices, ks: Sequence[int], other: Indices | None = None) -> Floats:
    """As the native `overlap_matrix`, pair by pair; see `overlap_counts`."""
    counts, squares = overlap_counts(indices, other, ks)
    return overlap_from_counts(counts, squares, indices.shape[1], ks)[0]


def overlap_counts(indices: Indices, other: Indices | None, ks: Sequence[int]) -> tuple[Counts, Counts]:
    """As the native `overlap_counts`, from the shares that DADApy's ``return_data_overlap`` finds.

    Raises
    ------
    InputError
        DADApy cannot be imported, as for the native function, or a list has -1, which DADApy counts.
    """
    dadapy, right = load(), check_stacks(indices, other)
    numbers = check_ks(ks, min(indices.shape[2], right.shape[2]))
    _check_full(indices, "indices")
    _check_full(right, "other")
    found = np.zeros((2, len(numbers), len(indices), len(right)), dtype=np.int64)
    lists = [_with_self(layer) for layer in right]
    for a, layer in enumerate(indices if indices.shape[1] else ()):
        data = _data(dadapy, np.zeros(layer.shape), layer)
        for b, beside in enumerate(lists):
            for i, k in enumerate(numbers):
                with _quiet():
                    shares = data.return_data_overlap(dist_indices=beside, k=k, avg=False)
                common = np.rint(shares * k).astype(np.int64)
                found[:, i, a, b] = common.sum(), (common**2).sum()
    return found[0], found[1]


def label_overlap(indices: Indices, labels: Labels, k: int) -> Estimate:
    """As the native `label_overlap`: DADApy's ``return_label_overlap(weighted=False)``.

    Raises
    ------
    InputError
        As `label_overlap_counts`.
    """
    return _label_overlap(indices, labels, k, weighted=False)


def label_overlap_balanced(indices: Indices, labels: Labels, k: int) -> Estimate:
    """As the native `label_overlap_balanced`: DADApy's ``return_label_overlap``, with its defaults.

    Raises
    ------
    InputError
        As `label_overlap_counts`.
    """
    return _label_overlap(indices, labels, k, weighted=True)


def _label_overlap(indices: Indices, labels: Labels, k: int, *, weighted: bool) -> Estimate:
    counts = label_overlap_counts(indices, labels, [k])
    if not len(labels):
        return Estimate(np.nan, np.nan, 0, Status.TOO_FEW_POINTS)
    with _quiet():
        data = _data(load(), np.zeros(indices.shape), indices)
        value = data.return_label_overlap(labels, k=k, weighted=weighted)
    error = label_overlap_from_counts(counts, [k], labels if weighted else None)[1]
    return Estimate(float(value), float(error[0]), len(labels))


def label_overlap_counts(indices: Indices, labels: Labels, ks: Sequence[int]) -> Counts:
    """As the native `label_overlap_counts`, from the shares that ``return_label_overlap`` finds.

    Raises
    ------
    InputError
        DADApy cannot be imported, as for the native function, or a list has -1, which DADApy counts.
    """
    dadapy = load()
    check_indices("indices", indices, ("points", "neighbors"))
    check_labels(labels)
    if len(labels) != len(indices):
        raise InputError(
            f"labels: expected one for each of the {len(indices)} lists, found {len(labels)}; "
            f"pass labels in the order of the points"
        )
    numbers = check_ks(ks, indices.shape[1])
    _check_full(indices, "indices", len(labels))
    if not len(labels):
        return np.zeros((0, len(numbers)), dtype=np.int64)
    data = _data(dadapy, np.zeros(indices.shape), indices)
    with _quiet():
        shares = [data.return_label_overlap(labels, k=k, avg=False) for k in numbers]
    return np.rint(np.stack(shares, axis=1) * numbers).astype(np.int64)


def _check_full(indices: Indices, name: str, n_points: float = np.inf) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < n_points:
        wrong = (indices < 0) | (indices >= n_points)
        place = tuple(np.argwhere(wrong)[0].tolist())
        raise InputError(
            f"{name}: {indices[place]} at {place} is no row; DADApy would count it as a neighbor: pass lists "
            f"without gaps, or take the backend 'native'"
        )


def _with_self(indices: Indices) -> npt.NDArray[np.int64]:
    """DADApy's lists begin with the point itself."""
    return np.column_stack([np.arange(len(indices)), indices.astype(np.int64)])


def _data(dadapy: Any, distances: Distances, indices: Indices | None = None) -> Any:
    nobody = np.zeros(distances.shape, np.int64) if indices is None else indices
    lists = np.column_stack([np.zeros(len(distances)), distances]), _with_self(nobody)
    with _quiet():
        return dadapy.Data(distances=lists, maxk=distances.shape[1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without DADApy's warnings, and what it prints."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        yield
