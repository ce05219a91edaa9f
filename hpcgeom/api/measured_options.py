"""What is asked for of given arrays: which estimators these allow, and which options go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from hpcgeom.api import measured_by_dadapy
from hpcgeom.errors import InputError
from hpcgeom.manifest.geometry_section import Estimator, Geometry
from hpcgeom.stages.dimensions import CURVES

ESTIMATORS = (*get_args(Estimator), "twonn_mle_trimmed")
DEFAULTS = Geometry()


def chosen_estimators(
    wanted: Sequence[str] | None, from_mus: bool, only_indices: bool, by_dadapy: bool
) -> list[str]:
    possible = (
        [] if only_indices and not from_mus else [e for e in ESTIMATORS if not (from_mus and e in CURVES)]
    )
    if by_dadapy:
        measured_by_dadapy.check_estimators(wanted or ())
        possible = [name for name in possible if name in measured_by_dadapy.ESTIMATORS]
    if wanted is None:
        return [name for name in DEFAULTS.estimators if name in possible]
    for name in wanted:
        if name not in ESTIMATORS:
            raise InputError(f"there is no estimator '{name}': expected one of {', '.join(ESTIMATORS)}")
        if name not in possible:
            needs = "distances to more than two neighbors" if from_mus else "distances or ratios"
            raise InputError(
                f"estimator '{name}' needs {needs}, which are not given: pass them, or leave it out"
            )
    return list(dict.fromkeys(wanted))


def native_options(settings: Mapping[str, Any]) -> list[str]:
    """Options that are asked for and that the native backend alone has."""
    curves = [
        name
        for name in ("mu_fractions", "data_fractions")
        if tuple(settings[name]) != getattr(DEFAULTS, name)
    ]
    by_name = ("jaccard", "error_splits", "information_imbalance", "cka", "local_dimension_k", "spectrum")
    return curves + [name for name in by_name if settings[name]]


def check_points(settings: Mapping[str, Any], *, has_points: bool, only_points: bool) -> None:
    """Refuse what only points can give where there are none, or something else is measured.

    Raises
    ------
    InputError
        It is asked for, or a number of splits is negative.
    """
    if settings["error_splits"] < 0:
        raise InputError(
            f"error_splits: expected 0 or more splits, found {settings['error_splits']}; 32 is usual"
        )
    if settings["cka"] and not has_points:
        raise InputError("cka: alignment is of points, found none: pass points, or leave it out")
    if settings["spectrum"] and not only_points:
        raise InputError(
            "spectrum: variances, norms and directions are of points, found none to measure: "
            "pass points alone, or leave it out"
        )
