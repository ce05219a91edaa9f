"""The tables of `hpcgeom show`: plain text with aligned columns, one row for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from hpcgeom.report.as_json import as_json
from hpcgeom.report.select import (
    PROFILES,
    SitePooling,
    chosen_k,
    kept_layers,
    models_by_size,
    names,
    number_of_points,
    profile,
    site_poolings,
    small,
    undefined_layers,
)

__all__ = ["Column", "Table", "as_json", "profile_tables", "render"]

UNDEFINED = "-"


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
    results = small(results)
    measured = [variable for variable in PROFILES if variable in results]
    if not measured:
        return []
    return [
        Table(_title(results, model, place, k), _columns(results, model, place, k))
        for model in models_by_size(results, measured[0])
        for place in site_poolings(results, measured[0])
        if kept_layers(results, model, place).any()
    ]


def render(results: xr.Dataset, width: int = 100, k: int | None = None) -> str:
    """All profile tables as text for a terminal, a pipe or a file.

    A table wider than `width` is cut between columns, and its parts repeat the layers; no cell is wrapped or
    shortened.

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
    return f"{model}: site {place.site}{pooling}; N = {number_of_points(results, [model], [place])}{size}"


def _columns(results: xr.Dataset, model: str, place: SitePooling, k: int | None) -> list[Column]:
    """Columns of one table, a row for each layer that the model has at this site."""
    columns = _dimensions(results, model, place)
    if "participation_ratio" in results:
        line = profile(results, "participation_ratio", model, place)
        cells = [_with_error(v, error) for v, error in zip(line.value, line.error, strict=True)]
        columns.append(Column(("particip.", "ratio"), cells))
    if "consecutive_overlap" in results:
        line = profile(results, "consecutive_overlap", model, place, k=k)
        columns.append(Column(("overlap", "with next"), [_share(value) for value in line.value]))
    for label in names(results, "label") if "label_overlap" in results else []:
        line = profile(results, "label_overlap", model, place, label=label, k=k)
        columns.append(Column(("overlap", label), [_share(value) for value in line.value]))
    for label in names(results, "label") if "label_overlap_excluded" in results else []:
        line = profile(results, "label_overlap_excluded", model, place, label=label, k=k)
        if np.isfinite(line.value).any():
            columns.append(
                Column(("overlap", f"{label},", "excluded"), [_share(value) for value in line.value])
            )
    columns += _clusters(results, model, place)
    for label in names(results, "label") if "retrieval_accuracy" in results else []:
        line = profile(results, "retrieval_accuracy", model, place, label=label, k=1)
        columns.append(Column(("top-1", label), [_share(value) for value in line.value]))
    kept = kept_layers(results, model, place)
    layers = results["layer"].values[kept].tolist()
    depths = results["relative_depth"].sel(model=model).values[kept]
    distinct = _distinct(results, model, place, kept)
    words = _words(results, model, place, layers)
    return [
        Column(("layer",), [str(layer) for layer in layers]),
        Column(("rel.", "depth"), [f"{depth:.2f}" if np.isfinite(depth) else UNDEFINED for depth in depths]),
        *columns,
        *([Column(("distinct", "points"), distinct)] if distinct else []),
        *([Column(("status",), words, left=True)] if any(words) else []),
    ]


def _clusters(results: xr.Dataset, model: str, place: SitePooling) -> list[Column]:
    """Numbers of clusters, and how far they are the classes of each label."""
    columns = []
    if "n_clusters" in results:
        line = profile(results, "n_clusters", model, place)
        cells = [f"{value:.0f}" if np.isfinite(value) else UNDEFINED for value in line.value]
        columns.append(Column(("clusters",), cells))
    for label in names(results, "label") if "adjusted_rand" in results else []:
        line = profile(results, "adjusted_rand", model, place, label=label)
        columns.append(Column(("clusters'", "Rand", label), [_share(value) for value in line.value]))
    return columns


def _dimensions(results: xr.Dataset, model: str, place: SitePooling) -> list[Column]:
    """Intrinsic dimension by each estimator; by GRIDE at each n2 where no other was asked for."""
    if "intrinsic_dimension" in results:
        each = [("estimator", name, _head(name)) for name in names(results, "estimator")]
        variable = "intrinsic_dimension"
    elif "gride" in results:
        each = [("n2", n2, ("gride", f"n2 = {n2}")) for n2 in results["n2"].values.tolist()]
        variable = "gride"
    else:
        return []
    columns = []
    for dim, value, head in each:
        line = profile(results, variable, model, place, **{dim: value})
        cells = [_with_error(v, error) for v, error in zip(line.value, line.error, strict=True)]
        columns.append(Column(head, cells))
    return columns


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


def _distinct(results: xr.Dataset, model: str, place: SitePooling, kept: npt.NDArray[np.bool_]) -> list[str]:
    """Numbers of distinct points, where any layer has equal ones; else nothing."""
    if "n_distinct_points" not in results:
        return []
    at = {"model": model, "site": place.site, "pooling": place.pooling}
    chosen = results["n_distinct_points"].sel(at).values[kept]
    if "n_all_points" in results:
        everything = int(results["n_all_points"].sel(at).max())
    else:
        everything = int(results.attrs.get("n_samples", chosen.max()))
    return [f"{int(each):,}" for each in chosen] if (chosen < everything).any() else []


def _words(results: xr.Dataset, model: str, place: SitePooling, layers: Sequence[int]) -> list[str]:
    """What the status of each layer says; the estimators are named where they differ."""
    by_estimator = {
        estimator: undefined_layers(results, model, place, estimator)
        for estimator in names(results, "estimator")
    }
    cells = []
    for layer in layers:
        words = {estimator: found[layer] for estimator, found in by_estimator.items() if layer in found}
        alike = len(words) == len(by_estimator) and len(set(words.values())) == 1
        named = [f"{estimator}: {word}" for estimator, word in words.items()]
        cells.append(next(iter(words.values())) if alike else "; ".join(named))
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
