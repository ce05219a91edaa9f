"""What figures and tables take from the results: models in order, profiles, scans, and words for both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from hpcgeom.errors import InputError
from hpcgeom.types import Status

Floats = npt.NDArray[np.float64]
NO_POOLING = "none"
USUAL_K = 10
PROFILES = ("intrinsic_dimension", "gride", "consecutive_overlap", "label_overlap")
"""Variables with one row for each layer."""


class SitePooling(NamedTuple):
    """Where activations are read and how tokens become points: one panel of a figure."""

    site: str
    pooling: str

    @property
    def title(self) -> str:
        """What is written above a panel."""
        return self.site if self.pooling == NO_POOLING else f"{self.site}, {self.pooling}"


class Profile(NamedTuple):
    """One number along the depth of a model; all four of shape (L,), undefined values NaN."""

    layer: npt.NDArray[np.int64]
    depth: Floats
    value: Floats
    error: Floats


class Scan(NamedTuple):
    """One number of every layer along a parameter `x`: value and error of shape (L, X)."""

    layer: npt.NDArray[np.int64]
    depth: Floats
    x: Floats
    value: Floats
    error: Floats


def names(results: xr.Dataset, dim: str) -> list[str]:
    """Values of a string dimension, as plain strings; none where the results lack it."""
    return [str(name) for name in results[dim].values] if dim in results.coords else []


def has_value(results: xr.Dataset, variable: str) -> xr.DataArray:
    """Where `variable` was measured: counts are 0 where none was."""
    found = results[variable]
    return found > 0 if found.dtype.kind == "i" else found.notnull()


def _known(results: xr.Dataset, variable: str) -> xr.DataArray:
    """Where `variable` has a value, or a status that explains why it has none."""
    known = has_value(results, variable)
    if variable == "intrinsic_dimension" and "status" in results:
        known = known | (results["status"] != Status.ABSENT)
    return known


def site_poolings(results: xr.Dataset, variable: str) -> list[SitePooling]:
    """Pairs of site and pooling for which `variable` was measured, in the order of the results."""
    known = _known(results, variable)
    rest = [dim for dim in known.dims if dim not in ("site", "pooling")]
    measured = known.any(rest).transpose("site", "pooling").values
    sites, poolings = names(results, "site"), names(results, "pooling")
    return [SitePooling(sites[row], poolings[column]) for row, column in np.argwhere(measured)]


def models_by_size(results: xr.Dataset, variable: str) -> list[str]:
    """Models for which `variable` was measured, from small to large, then by training step."""
    known = _known(results, variable)
    measured = known.any([dim for dim in known.dims if dim != "model"]).values

    def coordinate(name: str, missing: float) -> Floats:
        if name not in results.coords:
            return np.full(measured.size, missing)
        values = results[name].values.astype(np.float64)
        return np.where(np.isfinite(values), values, missing)

    keys = (coordinate("step", np.inf), coordinate("n_layers", 0.0), coordinate("n_parameters", 0.0))
    everything = names(results, "model")
    return [everything[row] for row in np.lexsort(keys) if measured[row]]


def chosen_k(results: xr.Dataset, k: int | None = None) -> int:
    """`k` itself, or, for None, the measured k nearest to 10 (the smaller of two equally near).

    Raises
    ------
    InputError
        The overlaps were not measured at `k`.
    """
    measured = sorted(int(each) for each in results["k"].values) if "k" in results.coords else []
    if not measured:
        raise InputError(
            "the results hold no overlap: expected a dimension 'k', found none: measure overlaps first"
        )
    if k is None:
        return min(measured, key=lambda each: (abs(each - USUAL_K), each))
    if k not in measured:
        choice = ", ".join(map(str, measured))
        raise InputError(
            f"overlaps were not measured at k = {k}: choose one of {choice}, "
            f"or add {k} to geometry.overlap_k in the manifest and run again"
        )
    return k


def small(results: xr.Dataset) -> xr.Dataset:
    """All but what is between two models or layers or of every point, read into memory once."""
    large = [name for name in results.data_vars if {"other_model", "sample"} & set(results[name].dims)]
    return results.drop_vars(large).compute()


def kept_layers(results: xr.Dataset, model: str, place: SitePooling) -> npt.NDArray[np.bool_]:
    """Layers (L,) that were measured at a site, even if in vain: the others are not drawn as gaps."""
    at = {"model": model, "site": place.site, "pooling": place.pooling}
    kept = np.zeros(results.sizes["layer"], dtype=np.bool_)
    for variable in PROFILES:
        if variable in results:
            known = _known(results, variable).sel(at)
            kept |= known.any([dim for dim in known.dims if dim != "layer"]).values
    return kept


def profile(results: xr.Dataset, variable: str, model: str, place: SitePooling, **at: object) -> Profile:
    """`variable` and its error along the kept layers of one model, at one value of all other dimensions."""
    where = {"model": model, "site": place.site, "pooling": place.pooling, **at}
    position = np.flatnonzero(kept_layers(results, model, place))
    found = results[variable].where(has_value(results, variable)).sel(where)
    value = np.asarray(found.values, dtype=np.float64)[position]
    error = np.full(value.shape, np.nan)
    if name := error_of(results, variable):
        error = np.asarray(results[name].sel(where).values, dtype=np.float64)[position]
    return Profile(*_layers(results, model, position), value, error)


def error_of(results: xr.Dataset, variable: str) -> str:
    """Name of the error of a variable: that of random halves where it was measured; empty for none."""
    possible = (f"{variable}_half_sample_error", f"{variable}_error")
    return next((name for name in possible if name in results), "")


def _layers(
    results: xr.Dataset, model: str, position: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Numbers of layers and their depth; a layer without a depth stands at 0."""
    depth = np.asarray(results["relative_depth"].sel(model=model).values, dtype=np.float64)[position]
    return results["layer"].values[position].astype(np.int64), np.nan_to_num(depth, nan=0.0)


def scan(results: xr.Dataset, variable: str, dim: str, model: str, place: SitePooling) -> Scan:
    """`variable` along `dim` for every layer of one model that has a value, with the longer of its errors."""
    at = {"model": model, "site": place.site, "pooling": place.pooling}
    value = results[variable].sel(at).transpose("layer", dim).values.astype(np.float64)
    error = np.full(value.shape, np.nan)
    for name in (f"{variable}_error", f"{variable}_resampling_error"):
        if name in results:
            error = np.fmax(error, results[name].sel(at).transpose("layer", dim).values.astype(np.float64))
    position = np.flatnonzero(np.isfinite(value).any(axis=1))
    x = results[dim].values.astype(np.float64)
    return Scan(*_layers(results, model, position), x, value[position], error[position])


def status_words(results: xr.Dataset, variable: str = "status") -> dict[int, str]:
    """What each value of a status variable means, from its CF attributes."""
    attributes = results[variable].attrs if variable in results else {}
    if "flag_values" not in attributes or "flag_meanings" not in attributes:
        return {int(status): status.name.lower() for status in Status}
    values = np.atleast_1d(attributes["flag_values"]).tolist()
    return dict(zip(map(int, values), str(attributes["flag_meanings"]).split(), strict=True))


def undefined_layers(results: xr.Dataset, model: str, place: SitePooling, estimator: str) -> dict[int, str]:
    """Layers of one model whose status is neither ok nor absent, each with its word."""
    if "status" not in results:
        return {}
    words = status_words(results)
    at = {"model": model, "site": place.site, "pooling": place.pooling, "estimator": estimator}
    status = results["status"].sel(at).values.astype(int)
    layers = results["layer"].values
    return {
        int(layer): words.get(int(code), f"status {code}").replace("_", " ")
        for layer, code in zip(layers, status, strict=True)
        if code not in (Status.OK, Status.ABSENT)
    }


def number_ranges(numbers: Iterable[int]) -> str:
    """Ascending integers as people write them: 0–2, 7."""
    ordered = sorted(set(numbers))
    if not ordered:
        return ""
    starts = [ordered[0], *(b for a, b in pairwise(ordered) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ordered) if b != a + 1), ordered[-1]]
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True))


def number_of_points(
    results: xr.Dataset, models: Sequence[str] = (), places: Sequence[SitePooling] = ()
) -> str:
    """N with separated thousands: samples, or what they are many of where every token is a point.

    Parameters
    ----------
    models, places
        Whose points; where these have different numbers, the least and the most are named.
    """
    if "n_all_points" in results and models and places:
        at = [
            {"model": model, "site": each.site, "pooling": each.pooling}
            for model in models
            for each in places
        ]
        found = sorted({int(results["n_all_points"].sel(one).max()) for one in at} - {0})
        return " to ".join(f"{n:,}" for n in dict.fromkeys((found[0], found[-1]))) if found else "unknown"
    if "n_samples" in results.attrs:
        return f"{int(results.attrs['n_samples']):,}"
    if "n_points" in results:
        return f"{int(results['n_points'].max()):,}"
    return "unknown"


def listed(words: Sequence[str], most: int = 8) -> str:
    """Words joined by commas; a long list is cut in the middle and says how many there are."""
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[:3])}, ..., {words[-1]} ({len(words)} in all)"
