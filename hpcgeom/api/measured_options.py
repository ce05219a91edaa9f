"""What is asked for of given arrays: which estimators these allow, and which options go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from hpcgeom.api import measured_by_dadapy
from hpcgeom.errors import InputError
from hpcgeom.geometry import dadapy_backend
from hpcgeom.manifest.geometry_section import Clusters, Estimator, Geometry
from hpcgeom.stages.dimensions import CURVES

ESTIMATORS = (*get_args(Estimator), "twonn_mle_trimmed")
DEFAULTS = Geometry()
_NATIVE = (
    "jaccard",
    "error_splits",
    "information_imbalance",
    "cka",
    "local_dimension_k",
    "spectrum",
    "exclude_same",
)


def chosen_estimators(
    wanted: Sequence[str] | None, from_mus: bool, only_indices: bool, by_dadapy: bool
) -> list[str]:
    """The estimators to apply: those that are wanted, else those of a manifest's defaults that can be.

    Parameters
    ----------
    from_mus
        Whether ratios are given in place of distances.
    only_indices
        Whether there are neither points nor distances.

    Raises
    ------
    InputError
        One that is wanted does not exist, or cannot be applied to what is given.
    """
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
            raise InputError(
                f"there is no estimator '{name}': expected one of {', '.join(ESTIMATORS)}: choose one of them"
            )
        if name not in possible:
            needs = "distances to more than two neighbors" if from_mus else "distances or ratios"
            raise InputError(
                f"estimator '{name}' needs {needs}, which are not given: pass them, or leave it out"
            )
    return list(dict.fromkeys(wanted))


def check_backend(settings: Mapping[str, Any], by_dadapy: bool, *, only_points: bool) -> None:
    """Refuse options that the native backend alone has where DADApy measures; so are points alone.

    Raises
    ------
    InputError
        There is such an option, or there are points alone.
    """
    if not by_dadapy:
        return
    curves = [
        name
        for name in ("mu_fractions", "data_fractions")
        if tuple(settings[name]) != getattr(DEFAULTS, name)
    ]
    native = curves + [name for name in _NATIVE if settings[name]]
    measured_by_dadapy.check_options(native, only_points=only_points)


def checked_clusters(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Settings of clusters with their defaults, as in a manifest; None where none are asked for.

    Raises
    ------
    InputError
        A setting is none or not what it should be, or DADApy cannot be imported.
    """
    if wanted is None:
        return None
    try:
        found = Clusters(**wanted)
    except (ValidationError, TypeError) as error:
        raise InputError(
            f"clusters: expected z, a positive number, and halo, true or false, found {wanted}; pass {{}} "
            f"for the defaults"
        ) from error
    dadapy_backend.load("clusters", "measure there, or leave clusters out")
    return found.model_dump()


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
