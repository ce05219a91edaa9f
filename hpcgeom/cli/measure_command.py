"""The command that measures arrays which exist already."""

from __future__ import annotations

import json as json_text
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer

from hpcgeom.cli.measure_options import (
    BackendOption,
    CkaOption,
    ClustersOption,
    DistancesOption,
    ErrorSplitsOption,
    EstimatorsOption,
    ExcludeSameOption,
    GrideRangeMaxOption,
    ImbalanceOption,
    IndicesOption,
    JaccardOption,
    LabelsOption,
    LayersOption,
    LevinaBickelOption,
    LocalDimensionOption,
    MetricOption,
    MuFractionOption,
    MuFractionsOption,
    MusOption,
    NeighborsOption,
    OutOption,
    OverlapKOption,
    PointsOption,
    SelfColumnOption,
    SpectrumOption,
    SquaredOption,
)
from hpcgeom.cli.options import JsonOption
from hpcgeom.errors import InputError

MAX_LAYERS = 100_000
_NAMED = re.compile(r"([A-Za-z0-9][\w.-]*)=(.+)")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?")
Number = TypeVar("Number", int, float)


def measure(
    points: PointsOption = None,
    distances: DistancesOption = None,
    indices: IndicesOption = None,
    mus: MusOption = None,
    labels: LabelsOption = None,
    layers: LayersOption = None,
    self_column: SelfColumnOption = "auto",
    squared: SquaredOption = False,
    estimators: EstimatorsOption = None,
    mu_fraction: MuFractionOption = 0.9,
    mu_fractions: MuFractionsOption = None,
    gride_range_max: GrideRangeMaxOption = 64,
    levina_bickel_k: LevinaBickelOption = None,
    local_dimension_k: LocalDimensionOption = None,
    clusters: ClustersOption = None,
    spectrum: SpectrumOption = False,
    overlap_k: OverlapKOption = None,
    exclude_same: ExcludeSameOption = None,
    jaccard: JaccardOption = False,
    error_splits: ErrorSplitsOption = 0,
    information_imbalance: ImbalanceOption = False,
    cka: CkaOption = False,
    neighbors: NeighborsOption = None,
    metric: MetricOption = "euclidean",
    backend: BackendOption = "native",
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Measure points, neighbor lists or ratios that exist already, and print tables."""
    from hpcgeom.api import measured_dataset, measuring

    if out is not None:
        measured_dataset.require_new(out)
    options = {
        "self_column": self_column,
        "squared": squared,
        "mu_fraction": mu_fraction,
        "gride_range_max": gride_range_max,
        "local_dimension_k": local_dimension_k,
        "clusters": None if clusters is None else {"z": clusters},
        "spectrum": spectrum,
        "n_neighbors": neighbors,
        "metric": metric,
        "backend": backend,
        "exclude_same": _pairs("--exclude-same", exclude_same),
        "jaccard": jaccard,
        "error_splits": error_splits,
        "information_imbalance": information_imbalance,
        "cka": cka,
        "layers": None if layers is None else _layers(layers),
        "estimators": None if estimators is None else estimators.split(","),
        "overlap_k": _numbers("--overlap-k", overlap_k, int),
        "mu_fractions": _numbers("--mu-fractions", mu_fractions, float),
        "levina_bickel_k": _numbers("--levina-bickel-k", levina_bickel_k, int),
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    arrays = {"points": points, "distances": distances, "indices": indices, "mus": mus}
    given |= {name: _by_name(f"--{name}", each, measuring.ONLY_MODEL) for name, each in arrays.items()}
    found = measuring.measure(labels=_by_name("--labels", labels, measuring.ONLY_LABEL), **given)
    typer.echo(_written(found, out, as_json=json))


def _written(found: Any, out: Path | None, *, as_json: bool) -> str:
    """The text to print, after the results are in their folder."""
    from hpcgeom.api.measured_dataset import save
    from hpcgeom.cli import render
    from hpcgeom.report.tables import as_json as results_as_json
    from hpcgeom.report.tables import render as results_as_text

    places = []
    if out is not None:
        from hpcgeom.plan import paths
        from hpcgeom.report.write import write_figures

        written = save(found, out)
        drawn = sorted(write_figures(found, out / paths.FIGURES))
        places = [render.figures(drawn), f"results: {written}", f"tables:  hpcgeom show {out}"]
    if as_json:
        return json_text.dumps(results_as_json(found), indent=1)
    notices = [f"note: {notice}" for notice in found.attrs["notices"]]
    return "\n".join([results_as_text(found), *notices, *places])


def _by_name(option: str, given: Sequence[str] | None, only: str) -> dict[str, str] | None:
    """Patterns by the name that stands before their first '='; the only one may have none."""
    if not given:
        return None
    found: dict[str, str] = {}
    for text in given:
        named = _NAMED.fullmatch(text)
        name, pattern = (named[1], named[2]) if named else (only, text)
        if name in found:
            raise InputError(
                f"{option} is given twice {'without a name' if not named else f'for {name}'}; expected "
                f"different names: write {option} NAME=PATTERN for each"
            )
        found[name] = pattern
    return found


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """The name behind the '=' by that before it."""
    found: dict[str, str] = {}
    for text in given or ():
        name, mark, other = text.partition("=")
        if not (mark and name and other) or name in found:
            raise InputError(
                f"{option} '{text}': expected one pair of names for each label, such as superfamily=family; "
                f"correct it"
            )
        found[name] = other
    return found


def _layers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        numbers = range(0)
        if match:
            first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
            numbers = range(first, last + 1, step) if step else numbers
        if not 0 < len(numbers) <= MAX_LAYERS:
            raise InputError(
                f"--layers '{text}': expected numbers and ranges such as 0-12, 1-49:2 or 3,7; found "
                f"'{part}': correct it"
            )
        found += numbers
    return sorted(set(found))


def _numbers(option: str, text: str | None, kind: Callable[[str], Number]) -> list[Number] | None:
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        example = "10,30" if kind is int else "0.5,0.9"
        raise InputError(f"{option} '{text}': expected numbers such as {example}; correct it") from None
