"""The tables of `hpcgeom show`: plain text with aligned columns, and the same numbers for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from hpcgeom.report.select import (
    SitePooling,
    chosen_k,
    models_by_size,
    names,
    number_of_points,
    profile,
    site_poolings,
    status_words,
    undefined_layers,
)

UNDEFINED = "-"
PROFILE_DIMS = ("model", "site", "pooling", "layer")
PROFILES = ("intrinsic_dimension", "consecutive_overlap", "label_overlap")
MODEL_COORDINATES = ("family", "n_layers", "width", "n_parameters", "revision", "step")
EXPORTED: dict[str, dict[str, str]] = {
    "intrinsic_dimension": {
        "error": "intrinsic_dimension_error",
        "n_points": "n_points",
        "status": "status",
    },
    "gride": {"error": "gride_error", "distance": "gride_distance", "status": "gride_status"},
    "twonn_by_mu_fraction": {"error": "twonn_by_mu_fraction_error"},
    "decimated_dimension": {"error": "decimated_dimension_error"},
    "consecutive_overlap": {"error": "consecutive_overlap_error"},
    "label_overlap": {"error": "label_overlap_error"},
    "label_overlap_balanced": {"error": "label_overlap_balanced_error"},
}
"""Variables of `as_json` and what stands beside each value."""


class Column(NamedTuple):
    """A column of text: lines of the head, and one cell for each row."""

    head: tuple[str, ...]
    cells: list[str]
    left: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (*self.head, *self.cells)))


class Table(NamedTuple):
    """The profile of one model at one site and pooling: a title, and columns with one row for each layer."""

    title: str
    columns: list[Column]


def profile_tables(results: xr.Dataset, k: int | None = None) -> list[Table]:
    """One table for each model, site and pooling, models from small to large.

    Parameters
    ----------
    results
        The Dataset of `results.zarr`.
    k
        Size of the neighborhoods of the overlaps; None takes the measured k nearest to 10.

    Raises
    ------
    InputError
        Overlaps were not measured at `k`.
    """
    if k is not None or "k" in results.coords:
        k = chosen_k(results, k)
    measured = [variable for variable in PROFILES if variable in results]
    tables = []
    for variable in measured[:1]:
        for model in models_by_size(results, variable):
            for place in site_poolings(results, variable):
                columns = _columns(results, model, place, k)
                if columns[0].cells:
                    tables.append(Table(_title(results, model, place, k), columns))
    return tables


def render(results: xr.Dataset, width: int = 100, k: int | None = None) -> str:
    """All profile tables as text for a terminal, a pipe or a file.

    A table wider than `width` is cut between columns, and its parts repeat the layers; no cell is ever wrapped
    or shortened.

    Raises
    ------
    InputError
        Overlaps were not measured at `k`.
    """
    blocks = []
    for table in profile_tables(results, k):
        parts = [_lines(columns) for columns in _parts(table.columns, width)]
        blocks.append("\n\n".join([table.title + "\n" + parts[0], *parts[1:]]))
    return "\n\n".join(blocks) + "\n" if blocks else "The results hold no profile.\n"


def _title(results: xr.Dataset, model: str, place: SitePooling, k: int | None) -> str:
    pooling = "" if place.pooling == "none" else f", pooling {place.pooling}"
    size = f", k = {k}" if k is not None else ""
    return f"{model}: site {place.site}{pooling}; N = {number_of_points(results)}{size}"


def _columns(results: xr.Dataset, model: str, place: SitePooling, k: int | None) -> list[Column]:
    """Columns of one table, cut to the layers that the model has at this site."""
    at: dict[str, object] = {"site": place.site, "pooling": place.pooling}
    columns = []
    for estimator in names(results, "estimator") if "intrinsic_dimension" in results else []:
        line = profile(results, "intrinsic_dimension", model, **at, estimator=estimator)
        cells = [_with_error(value, error) for value, error in zip(line.value, line.error, strict=True)]
        columns.append(Column(_head(estimator), cells))
    if "consecutive_overlap" in results and k is not None:
        line = profile(results, "consecutive_overlap", model, **at, k=k)
        columns.append(Column(("overlap", "with next"), [_share(value) for value in line.value]))
    for label in names(results, "label") if "label_overlap" in results and k is not None else []:
        line = profile(results, "label_overlap", model, **at, label=label, k=k)
        columns.append(Column(("overlap", label), [_share(value) for value in line.value]))
    distinct = _distinct(results, model, at, line.layer)
    words = _words(results, model, at, line.layer)
    columns += [Column(("distinct", "points"), distinct)] if distinct else []
    columns += [Column(("status",), words, left=True)] if any(words) else []
    first = [
        Column(("layer",), [str(layer) for layer in line.layer]),
        Column(("relative", "depth"), [f"{depth:.2f}" for depth in line.depth]),
    ]
    empty = {UNDEFINED, ""}
    keep = [any(column.cells[row] not in empty for column in columns) for row in range(line.layer.size)]
    return [
        column._replace(cells=[cell for cell, kept in zip(column.cells, keep, strict=True) if kept])
        for column in first + columns
    ]


def _head(estimator: str) -> tuple[str, ...]:
    """A long name on two lines, broken after its last underscore."""
    stem, mark, end = estimator.rpartition("_")
    return (stem + mark, end) if len(estimator) > 12 and mark else (estimator,)


def _with_error(value: float, error: float) -> str:
    if not np.isfinite(value):
        return UNDEFINED
    return f"{value:.2f} ± {error:.2f}" if np.isfinite(error) else f"{value:.2f}"


def _share(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else UNDEFINED


def _distinct(results: xr.Dataset, model: str, at: dict[str, object], layers: npt.NDArray) -> list[str]:
    """Numbers of distinct points, where any layer has equal ones; else nothing."""
    if "n_distinct_points" not in results:
        return []
    chosen = results["n_distinct_points"].sel({"model": model, **at, "layer": layers}).values
    everything = results.attrs.get("n_samples", chosen.max(initial=0))
    known = chosen[np.isfinite(chosen) & (chosen > 0)]
    if not (known < everything).any():
        return []
    return [f"{int(each):,}" if np.isfinite(each) and each > 0 else UNDEFINED for each in chosen]


def _words(results: xr.Dataset, model: str, at: dict[str, object], layers: npt.NDArray) -> list[str]:
    """What the status of each layer says; the estimators are named where they differ."""
    by_estimator = {
        estimator: undefined_layers(results, model, **at, estimator=estimator)
        for estimator in names(results, "estimator")
    }
    cells = []
    for layer in layers.tolist():
        words = {estimator: found[layer] for estimator, found in by_estimator.items() if layer in found}
        alike = len(words) == len(by_estimator) and len(set(words.values())) == 1
        written = (
            sorted(set(words.values())) if alike else [f"{name}: {word}" for name, word in words.items()]
        )
        cells.append("; ".join(written))
    return cells


def _parts(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Columns in groups that fit `width`; each group begins with layer and depth."""
    always, rest = list(columns[:2]), list(columns[2:])
    groups: list[list[Column]] = [[*always]]
    for column in rest:
        used = sum(each.width + 2 for each in groups[-1]) - 2
        if used + 2 + column.width > width and len(groups[-1]) > len(always):
            groups.append([*always])
        groups[-1].append(column)
    return groups


def _lines(columns: Sequence[Column]) -> str:
    """Columns side by side; heads stand on their rows."""
    high = max(len(column.head) for column in columns)
    stacks = [("",) * (high - len(each.head)) + each.head + tuple(each.cells) for each in columns]
    aligned = [
        [cell.ljust(column.width) if column.left else cell.rjust(column.width) for cell in stack]
        for column, stack in zip(columns, stacks, strict=True)
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*aligned, strict=True))


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
    present = {name: beside for name, beside in EXPORTED.items() if name in results}
    arrays = {name: _arrays(results, name, beside) for name, beside in present.items()}
    words = status_words(results)
    keys = {name: [_coordinate(results, dim) for dim in _rest(results, name)] for name in present}
    representations = []
    for index in np.ndindex(*(results.sizes[dim] for dim in PROFILE_DIMS)):
        found = {
            name: _nested(keys[name], {part: array[index] for part, array in arrays[name].items()}, words)
            for name in present
            if np.isfinite(arrays[name]["value"][index]).any() or _explained(arrays[name], index)
        }
        if found:
            representations.append({**_place(results, index), **found})
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


def _explained(arrays: dict[str, npt.NDArray], index: tuple[int, ...]) -> bool:
    """Whether a status other than ok and absent says why there is no value."""
    return "status" in arrays and bool((arrays["status"][index] > 1).any())


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


def _place(results: xr.Dataset, index: tuple[int, ...]) -> dict[str, Any]:
    place = {dim: _plain(results[dim].values[i]) for dim, i in zip(PROFILE_DIMS, index, strict=True)}
    place["relative_depth"] = _plain(results["relative_depth"].values[index[0], index[3]])
    for name in ("n_zero_distances", "n_distinct_points"):
        if name in results:
            place[name] = _plain(results[name].transpose(*PROFILE_DIMS).values[index])
    return place


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
