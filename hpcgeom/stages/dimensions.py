"""Intrinsic dimensions of one layer from its neighbor lists, by every estimator and at every scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.bayes import BayesResult, twonn_bayes
from hpcgeom.geometry.gride import GrideResult, gride, gride_resampling_errors, scales
from hpcgeom.geometry.mle import levina_bickel
from hpcgeom.geometry.plateau import plateau
from hpcgeom.geometry.trimmed import twonn_mle_trimmed
from hpcgeom.geometry.twonn import twonn, twonn_by_mu_fraction, twonn_mle, twonn_mle_censored
from hpcgeom.types import Distances, Estimate, Indices, Status, Values

Explain = Callable[[Status], Status]
Settings = Mapping[str, Any]

CURVES = ("gride", "levina_bickel")
"""Estimators with a number at each of several scales: they have variables of their own."""
QUANTILES = (0.16, 0.5, 0.84)
"""Of distributions: the median, and one standard deviation to either side where they are normal."""


def axes(settings: Settings) -> dict[str, npt.NDArray[Any]]:
    """Coordinates of what the settings ask for on one layer, by the name of their dimension."""
    return {
        "estimator": np.array(_of_one_number(settings["estimators"]), dtype=object),
        "quantile": np.array(QUANTILES, dtype=np.float64),
        "n2": scales(int(settings["gride_range_max"])),
        "levina_bickel_k": np.array(settings["levina_bickel_k"], dtype=np.int64),
        "mu_fraction": np.array(settings["mu_fractions"], dtype=np.float64),
        "data_fraction": np.array(settings["data_fractions"], dtype=np.float64),
        "variance_fraction": np.array(settings["variance_fractions"], dtype=np.float64),
    }


def dimensions(
    distances: Distances, indices: Indices | None, settings: Settings, explain: Explain = Status
) -> Values:
    """Intrinsic dimension by each estimator, at each scale, and at each share of the ratios.

    Parameters
    ----------
    distances, indices
        As for `twonn`.
    settings
        `estimators`, `mu_fraction`, `mu_fractions`, `gride_range_max`, `plateau_tolerance` and
        `levina_bickel_k`, as in a manifest.
    explain
        Gives the status to write in place of one that an estimator found.

    Returns
    -------
    dict
        Arrays by name of the results' variable.
    """
    values = _estimates(distances, indices, settings, explain)
    if "gride" in settings["estimators"]:
        values |= _gride(distances, indices, settings, explain)
    if "levina_bickel" in settings["estimators"]:
        values |= _levina_bickel(distances, indices, settings, explain)
    value, error = twonn_by_mu_fraction(distances, settings["mu_fractions"], indices)
    return values | {"twonn_by_mu_fraction": value, "twonn_by_mu_fraction_error": error}


def estimate(
    name: str, distances: Distances, indices: Indices | None, mu_fraction: float
) -> Estimate | BayesResult:
    """One estimator by its name in the manifest, or `twonn_mle_trimmed`, which manifests do not offer."""
    if name == "twonn_mle_trimmed":
        return twonn_mle_trimmed(distances, mu_fraction)
    if name == "twonn":
        return twonn(distances, mu_fraction, indices)
    if name == "twonn_mle":
        return twonn_mle(distances, indices)
    if name == "twonn_bayes":
        return twonn_bayes(distances, indices=indices)
    return twonn_mle_censored(distances, mu_fraction, indices)


def _of_one_number(estimators: Sequence[str]) -> list[str]:
    return [name for name in estimators if name not in CURVES]


def _estimates(distances: Distances, indices: Indices | None, settings: Settings, explain: Explain) -> Values:
    mu_fraction = float(settings["mu_fraction"])
    names = _of_one_number(settings["estimators"])
    found = [estimate(name, distances, indices, mu_fraction) for name in names]
    values: Values = {
        "intrinsic_dimension": np.array([item.value for item in found], dtype=np.float64),
        "intrinsic_dimension_error": np.array([item.error for item in found], dtype=np.float64),
        "n_points": np.array([item.n_points for item in found], dtype=np.int64),
        "status": np.array([explain(item.status) for item in found], dtype=np.int8),
    }
    for item in found:
        if isinstance(item, BayesResult):
            values["twonn_bayes_shape"] = np.array(item.shape, dtype=np.float64)
            values["twonn_bayes_rate"] = np.array(item.rate, dtype=np.float64)
            values["twonn_bayes_quantile"] = item.quantiles(QUANTILES)
    return values


def _gride(distances: Distances, indices: Indices | None, settings: Settings, explain: Explain) -> Values:
    range_max = int(settings["gride_range_max"])
    found = gride(distances, range_max)
    resampling = np.full(found.value.shape, np.nan)
    # Row numbers may be of more or fewer neighbors than distances; halves are of both together.
    if indices is not None and indices.shape == distances.shape:
        resampling = gride_resampling_errors(distances, indices, range_max)
    statuses = _explained(found.status, explain)
    return {
        "gride": found.value,
        "gride_error": found.error,
        "gride_resampling_error": resampling,
        "gride_distance": found.distance,
        "gride_status": statuses,
        **_plateau(found, resampling, statuses, float(settings["plateau_tolerance"])),
    }


def _plateau(
    found: GrideResult,
    resampling: npt.NDArray[np.float64],
    statuses: npt.NDArray[np.int8],
    tolerance: float,
) -> Values:
    """Where the curve is flat; where no scale was measured, the status is that of the smallest one."""
    # The longer of both errors, where both are known: all ratios alike have no spread between halves.
    flat = plateau(found.value, np.fmax(found.error, resampling), tolerance=tolerance)
    status = int(flat.status)
    if status == Status.TOO_FEW_NEIGHBORS and not (statuses == Status.OK).any():
        status = int(statuses[0])
    is_flat = flat.status is Status.OK
    return {
        "plateau_dimension": np.array(flat.value, dtype=np.float64),
        "plateau_dimension_error": np.array(flat.error, dtype=np.float64),
        "plateau_n2_min": np.array(found.n2[flat.start] if is_flat else 0, dtype=np.int64),
        "plateau_n2_max": np.array(found.n2[flat.stop - 1] if is_flat else 0, dtype=np.int64),
        "plateau_status": np.array(status, dtype=np.int8),
    }


def _levina_bickel(
    distances: Distances, indices: Indices | None, settings: Settings, explain: Explain
) -> Values:
    beside = indices if indices is not None and indices.shape == distances.shape else None
    found = levina_bickel(distances, settings["levina_bickel_k"], beside)
    return {
        "levina_bickel": found.value,
        "levina_bickel_error": found.error,
        "levina_bickel_status": _explained(found.status, explain),
    }


def _explained(statuses: npt.NDArray[np.int8], explain: Explain) -> npt.NDArray[np.int8]:
    return np.array([explain(Status(int(status))) for status in statuses], dtype=np.int8)
