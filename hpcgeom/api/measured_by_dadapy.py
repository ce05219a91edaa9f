"""What DADApy measures on given arrays, shaped as what is measured natively."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcgeom.errors import InputError
from hpcgeom.geometry import dadapy_backend
from hpcgeom.geometry.labels import label_overlap_from_counts
from hpcgeom.types import Distances, Indices, Labels, Values

if TYPE_CHECKING:
    import xarray as xr

BACKENDS = ("native", "dadapy")
ESTIMATORS = ("twonn", "twonn_mle", "gride")


def is_asked(backend: str) -> bool:
    """Whether DADApy is to measure; it can be imported then.

    Raises
    ------
    InputError
        There is no such backend, or DADApy cannot be imported.
    """
    if backend not in BACKENDS:
        raise InputError(
            f"there is no backend '{backend}': expected one of {', '.join(BACKENDS)}: choose one of them"
        )
    if backend == "dadapy":
        dadapy_backend.load()
    return backend == "dadapy"


def check_estimators(wanted: Sequence[str]) -> None:
    """Refuse estimators that DADApy does not have.

    Raises
    ------
    InputError
        There is one.
    """
    unknown = [name for name in wanted if name not in ESTIMATORS]
    if unknown:
        raise InputError(
            f"estimator '{unknown[0]}' is none of DADApy's; expected {', '.join(ESTIMATORS)}: leave it out, "
            f"or take the backend 'native'"
        )


def check_options(native: Sequence[str], *, only_points: bool) -> None:
    """Refuse to be asked for what DADApy does not give.

    Parameters
    ----------
    native
        Options that are asked for, and that the native backend alone has.
    only_points
        Whether there are points and no lists.

    Raises
    ------
    InputError
        There is such an option, or there are points alone.
    """
    if only_points:
        raise InputError(
            "points alone are given, and the backend 'dadapy' measures lists; expected distances, indices or "
            "mus: search the neighbors where hpcgeom is installed (hg.nearest_neighbors), and pass them"
        )
    if native:
        raise InputError(
            f"{native[0]} is an option of the backend 'native'; expected none such with 'dadapy': "
            f"leave it out"
        )


def dimensions(distances: Distances, settings: Mapping[str, Any]) -> Values:
    """Intrinsic dimension by `settings["estimators"]`, as the native variables of the results."""
    fraction = float(settings["mu_fraction"])
    found = [
        dadapy_backend.twonn(distances, fraction) if name == "twonn" else dadapy_backend.twonn_mle(distances)
        for name in settings["estimators"]
        if name != "gride"
    ]
    values: Values = {
        "intrinsic_dimension": np.array([item.value for item in found], dtype=np.float64),
        "intrinsic_dimension_error": np.array([item.error for item in found], dtype=np.float64),
        "n_points": np.array([item.n_points for item in found], dtype=np.int64),
        "status": np.array([item.status for item in found], dtype=np.int8),
    }
    if "gride" in settings["estimators"]:
        scaled = dadapy_backend.gride(distances, int(settings["gride_range_max"]))
        values |= {
            "gride": scaled.value,
            "gride_error": scaled.error,
            "gride_distance": scaled.distance,
            "gride_status": scaled.status,
        }
    return values


def pair_sums(lists: Indices, n_points: int, settings: Mapping[str, Any]) -> Values:
    """Common neighbors of all pairs of layers summed over points, as the native `pair_sums` of overlaps."""
    counts, squares = dadapy_backend.overlap_counts(lists, None, settings["overlap_k"])
    return {"counts": counts, "squares": squares}


def label_overlaps(
    indices: Indices, codes: Sequence[Labels], ks: Sequence[int], *, is_constant: bool
) -> Values:
    """Plain and balanced label overlaps, (labels, ks) each; NaN in a constant layer."""
    columns: dict[str, list[Any]] = {}
    for each in codes:
        counts = dadapy_backend.label_overlap_counts(indices, each, ks)
        for name, labels in (("label_overlap", None), ("label_overlap_balanced", each)):
            value, error = label_overlap_from_counts(counts, ks, labels)
            columns.setdefault(name, []).append(np.full(len(ks), np.nan) if is_constant else value)
            columns.setdefault(f"{name}_error", []).append(np.full(len(ks), np.nan) if is_constant else error)
    return {name: np.stack(numbers) for name, numbers in columns.items()}


def described(measured: xr.Dataset) -> xr.Dataset:
    """The same, saying that DADApy measured it."""
    notice = (
        f"measured by DADApy {dadapy_backend.version()}: TwoNN has no error bars, and GRIDE is without the "
        f"ratios that it filters"
    )
    return measured.assign_attrs(backend="dadapy", notices=[*measured.attrs["notices"], notice])
