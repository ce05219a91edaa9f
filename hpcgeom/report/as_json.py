"""The results as plain Python values, for `hpcgeom show --json`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hpcgeom.report.select import names, small, status_words
from hpcgeom.types import Status

PROFILE_DIMS = ("model", "site", "pooling", "layer")
MODEL_COORDINATES = ("family", "n_layers", "width", "n_parameters", "revision", "step")
EXPORTED: dict[str, dict[str, str]] = {
    "intrinsic_dimension": {
        "error": "intrinsic_dimension_error",
        "n_points": "n_points",
        "status": "status",
    },
    "gride": {
        "error": "gride_error",
        "resampling_error": "gride_resampling_error",
        "distance": "gride_distance",
        "status": "gride_status",
    },
    "plateau_dimension": {
        "error": "plateau_dimension_error",
        "n2_min": "plateau_n2_min",
        "n2_max": "plateau_n2_max",
        "status": "plateau_status",
    },
    "levina_bickel": {"error": "levina_bickel_error", "status": "levina_bickel_status"},
    "twonn_bayes_quantile": {},
    "twonn_by_mu_fraction": {"error": "twonn_by_mu_fraction_error"},
    "decimated_dimension": {"error": "decimated_dimension_error"},
    "local_dimension_quantile": {},
    "n_clusters": {
        "status": "cluster_status",
        "n_unclustered_points": "n_unclustered_points",
        "n_densities_at_limit": "n_densities_at_limit",
    },
    "adjusted_rand": {},
    "participation_ratio": {"error": "participation_ratio_error", "status": "spectrum_status"},
    "n_components": {},
    "norm_mean": {"error": "norm_mean_error", "std": "norm_std", "max": "norm_max"},
    "mean_cosine": {"error": "mean_cosine_error", "status": "direction_status"},
    "anisotropy": {"error": "anisotropy_error", "status": "direction_status"},
    "consecutive_overlap": {
        "error": "consecutive_overlap_error",
        "half_sample_error": "consecutive_overlap_half_sample_error",
    },
    "label_overlap": {"error": "label_overlap_error"},
    "label_overlap_balanced": {"error": "label_overlap_balanced_error"},
    "label_overlap_excluded": {
        "error": "label_overlap_excluded_error",
        "n_points": "label_overlap_excluded_n_points",
    },
    "top_1_accuracy": {"error": "top_1_accuracy_error"},
    "top_1_accuracy_excluded": {"error": "top_1_accuracy_excluded_error"},
    "retrieval_accuracy": {"error": "retrieval_accuracy_error"},
    "retrieval_overlap": {"error": "retrieval_overlap_error"},
}
"""Variables of `as_json` and what stands beside each value."""


COUNTS = (
    "n_zero_distances",
    "n_distinct_points",
    "n_all_points",
    "n_duplicate_groups",
    "n_queries",
    "n_proven_rows",
    "n_certified_rows",
    "n_recomputed_rows",
    "largest_relative_error",
)


def as_json(results: xr.Dataset) -> dict[str, Any]:
    """All profiles and scans as plain Python values for `hpcgeom show --json`.

    Undefined numbers are None, so that the output is strict JSON. Overlaps of all pairs of layers are not
    here: they are in `results.zarr`.

    Returns
    -------
    dict
        `attributes`, `models` (coordinates of each), `label_overlap_chance`, and `representations`: one entry
        for each model, site, pooling and layer, whose variables are dictionaries by estimator, n2, fraction,
        label or k down to `value`, `error` and what else is known of it.
    """
    results = small(results)
    present = {name: beside for name, beside in EXPORTED.items() if name in results}
    arrays = {name: _arrays(results, name, beside) for name, beside in present.items()}
    words = status_words(results)
    keys = {name: [_coordinate(results, dim) for dim in _rest(results, name)] for name in present}
    depth = results["relative_depth"].transpose("model", "layer").values
    counts = {name: results[name].transpose(*PROFILE_DIMS).values for name in COUNTS if name in results}
    axes = [results[dim].values for dim in PROFILE_DIMS]
    representations = []
    for index in np.ndindex(*map(len, axes)):
        found = {
            name: _nested(keys[name], {part: array[index] for part, array in arrays[name].items()}, words)
            for name in present
            if _known(arrays[name]["value"][index]) or _explained(arrays[name], index)
        }
        if found:
            place = {dim: _plain(axis[i]) for dim, axis, i in zip(PROFILE_DIMS, axes, index, strict=True)}
            place["relative_depth"] = _plain(depth[index[0], index[3]])
            place |= {name: _plain(count[index]) for name, count in counts.items()}
            representations.append({**place, **found})
    chance = results.get("label_overlap_chance")
    return {
        "attributes": {name: _plain(value) for name, value in results.attrs.items()},
        "models": [_model(results, row) for row in range(results.sizes["model"])],
        "label_overlap_chance": {}
        if chance is None
        else dict(zip(names(results, "label"), map(_plain, chance.values), strict=True)),
        "representations": representations,
    }


def _rest(results: xr.Dataset, name: str) -> list[str]:
    return [str(dim) for dim in results[name].dims if dim not in PROFILE_DIMS]


def _coordinate(results: xr.Dataset, dim: str) -> list[str]:
    return [str(_plain(value)) for value in results[dim].values]


def _arrays(results: xr.Dataset, name: str, beside: dict[str, str]) -> dict[str, npt.NDArray]:
    """Values, and what stands beside them, with the dimensions of a profile in front."""
    order = (*PROFILE_DIMS, *_rest(results, name))
    parts = {"value": name, **{part: variable for part, variable in beside.items() if variable in results}}
    return {part: results[variable].transpose(*order).values for part, variable in parts.items()}


def _known(values: npt.NDArray) -> bool:
    """Whether any number was measured; counts are 0 where none was."""
    return bool((values > 0).any() if values.dtype.kind == "i" else np.isfinite(values).any())


def _explained(arrays: dict[str, npt.NDArray], index: tuple[int, ...]) -> bool:
    """Whether a status other than ok and absent says why there is no value."""
    return "status" in arrays and bool((arrays["status"][index] > Status.ABSENT).any())


def _nested(keys: list[list[str]], arrays: dict[str, npt.NDArray], words: dict[int, str]) -> dict[str, Any]:
    if not keys:
        return {
            part: words.get(int(array), str(array)) if part == "status" else _plain(array)
            for part, array in arrays.items()
        }
    return {
        key: _nested(keys[1:], {part: array[i] for part, array in arrays.items()}, words)
        for i, key in enumerate(keys[0])
    }


def _model(results: xr.Dataset, row: int) -> dict[str, Any]:
    known = {name: results[name].values[row] for name in MODEL_COORDINATES if name in results.coords}
    return {"name": names(results, "model")[row], **{name: _plain(value) for name, value in known.items()}}


def _plain(value: Any) -> Any:
    """A value as JSON has it: numbers without NaN, text, lists."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return [_plain(each) for each in value] if np.ndim(value) else _plain(np.asarray(value).item())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (int, str, bool, dict)) or value is None else str(value)
