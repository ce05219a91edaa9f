"""The numbers of a run from arrays that exist already: points, neighbor lists, ratios of distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from hpcgeom.api import measured_by_dadapy, measured_dataset, measured_labels, measured_pairs
from hpcgeom.api.measured_dataset import Read
from hpcgeom.api.measured_layers import Arrays, Layer, Reading, read_layer
from hpcgeom.api.measured_options import (
    DEFAULTS,
    check_backend,
    check_points,
    checked_clusters,
    chosen_estimators,
)
from hpcgeom.data.labels import encode, labels_from_file
from hpcgeom.data.neighbor_conventions import SelfColumn
from hpcgeom.data.neighbor_files import Given, find_arrays
from hpcgeom.errors import InputError
from hpcgeom.geometry.lists import check_ks
from hpcgeom.manifest.fields import MAX_INT64
from hpcgeom.plan.packing import pack
from hpcgeom.stages import between
from hpcgeom.stages.between_results import Coordinates, Variables
from hpcgeom.types import Labels, Values

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

OfModels: TypeAlias = Given | Mapping[str, Given]
LabelsGiven: TypeAlias = "str | Path | npt.NDArray[Any] | Sequence[str]"
OfLabels: TypeAlias = "LabelsGiven | Mapping[str, LabelsGiven]"
Models = dict[str, dict[int, Arrays]]

GIVEN_METRIC = "that of the given arrays"
ONLY_MODEL, ONLY_LABEL = "arrays", "label"
_DEFAULT_KS = tuple(k for k in DEFAULTS.overlap_k if isinstance(k, int))


def measure(
    points: OfModels | None = None,
    *,
    distances: OfModels | None = None,
    indices: OfModels | None = None,
    mus: OfModels | None = None,
    labels: OfLabels | None = None,
    layers: Literal["all"] | Sequence[int] = "all",
    self_column: SelfColumn = "auto",
    squared: bool = False,
    estimators: Sequence[str] | None = None,
    mu_fraction: float = DEFAULTS.mu_fraction,
    mu_fractions: Sequence[float] = DEFAULTS.mu_fractions,
    gride_range_max: int = DEFAULTS.gride_range_max,
    plateau_tolerance: float = DEFAULTS.plateau_tolerance,
    levina_bickel_k: Sequence[int] = DEFAULTS.levina_bickel_k,
    data_fractions: Sequence[float] = DEFAULTS.data_fractions,
    local_dimension_k: int | None = None,
    clusters: Mapping[str, Any] | None = None,
    spectrum: bool = DEFAULTS.spectrum,
    variance_fractions: Sequence[float] = DEFAULTS.variance_fractions,
    overlap_k: Sequence[int] | None = None,
    exclude_same: Mapping[str, str] | None = None,
    jaccard: bool = False,
    error_splits: int = 0,
    information_imbalance: bool = False,
    cka: bool = False,
    n_neighbors: int | None = None,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    seed: int = DEFAULTS.seed,
    backend: Literal["native", "dadapy"] = "native",
) -> xr.Dataset:
    """Intrinsic dimension and overlaps of every layer, from points or from neighbor lists.

    Each of the first four is one array a layer: a pattern with ``{layer}`` or a path (.npy or Zarr), an
    array, or a mapping from layers to these; or a mapping from names of models to all that, to compare them.

    Parameters
    ----------
    points
        (N, D), of which the neighbors are searched; with `distances` and `indices`, what these are held
        against.
    distances
        (N, K), Euclidean, ascending; float64, or float32 with a notice.
    indices
        (N, K'), row numbers of the neighbors; K' may differ from K.
    mus
        (N,), ratios r2 / r1, in place of distances.
    labels
        One for each point: a path, an array or strings; or these by the name of the label.
    layers
        All that there are, without a gap, or those named.
    self_column
        Whether points are in their own lists: ``drop`` (they are, and are dropped), ``none``, or ``auto``.
    squared
        Whether distances are squared; their roots are taken.
    estimators
        Of `measured_options.ESTIMATORS`; those of a manifest that can be measured if None.
    mu_fraction, mu_fractions, gride_range_max, plateau_tolerance, levina_bickel_k, data_fractions, seed
        As in a manifest; `data_fractions` and `seed` are for points only.
    local_dimension_k
        As in a manifest; for points and for distances.
    clusters
        As in a manifest, ``{}`` for the defaults; for points, and for distances with indices. By DADApy.
    spectrum, variance_fractions
        As in a manifest; for points only.
    overlap_k
        As in a manifest; those of its defaults that the lists reach if None.
    exclude_same
        As in a manifest: names of `labels`.
    jaccard, error_splits, information_imbalance
        As in a manifest: what else is measured between layers, by their lists.
    cka
        As in a manifest; for points only.
    n_neighbors, metric
        Of the search: 64 neighbors, or N - 1 where that is less, if None.
    backend
        ``dadapy``, for lists and ratios: dimensions by TwoNN and GRIDE, overlaps and label overlaps are
        DADApy's, where it can be imported; what it does not have is not measured then.

    Returns
    -------
    Dataset
        As `open_results` gives, with the variables that the arrays allow, at site ``points`` without
        pooling. ``attrs["notices"]`` says by what conventions the arrays were read.

    Raises
    ------
    InputError
        An array is not what it should be, arrays contradict each other, or an option cannot be used;
        DADApy is asked for and cannot be imported.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).standard_normal((1000, 2))
    >>> found = measure(points).squeeze()
    >>> round(found.intrinsic_dimension.sel(estimator="twonn").item())
    2
    """
    by_dadapy = measured_by_dadapy.is_asked(backend)
    models = _models(points, distances, indices, mus, layers)
    settings = {
        "estimators": chosen_estimators(estimators, mus is not None, distances is None is points, by_dadapy),
        "mu_fraction": mu_fraction,
        "mu_fractions": list(mu_fractions),
        "gride_range_max": gride_range_max,
        "plateau_tolerance": plateau_tolerance,
        "levina_bickel_k": list(levina_bickel_k),
        "data_fractions": list(data_fractions),
        "local_dimension_k": local_dimension_k,
        "clusters": checked_clusters(clusters),
        "spectrum": spectrum,
        "variance_fractions": list(variance_fractions),
        "seed": seed,
        "exclude_same": measured_labels.checked_excluded(exclude_same, labels),
        "jaccard": jaccard,
        "error_splits": error_splits,
        "information_imbalance": information_imbalance,
        "cka": cka,
    }
    only_points = distances is indices is mus is None
    check_points(settings, has_points=points is not None, only_points=only_points)
    check_backend(settings, by_dadapy, only_points=only_points)
    ranks = _most_ranks(overlap_k, settings)
    reading = Reading(settings, self_column, squared, n_neighbors, metric, ranks, by_dadapy)
    dataset = _measured(models, reading, labels, overlap_k, metric if only_points else GIVEN_METRIC)
    return measured_by_dadapy.described(dataset) if by_dadapy else dataset


def _most_ranks(overlap_k: Sequence[int] | None, settings: Mapping[str, Any]) -> int:
    """Columns of row numbers that are looked at."""
    if settings["error_splits"] or settings["information_imbalance"] or settings["exclude_same"]:
        return MAX_INT64
    return max(_DEFAULT_KS if overlap_k is None else overlap_k, default=1)


def _measured(
    models: Models, reading: Reading, labels: OfLabels | None, overlap_k: Sequence[int] | None, metric: str
) -> xr.Dataset:
    """The dataset of what is measured on the arrays of all layers."""
    read = [
        (model, layer, read_layer(arrays, reading))
        for model, of_layers in models.items()
        for layer, arrays in of_layers.items()
    ]
    settings = reading.settings
    _check_sizes(read)
    codes = _codes(labels, read[0][2].n_points)
    ks = _ks(overlap_k, labels, read, settings)
    axes = measured_dataset.axes_of(read, settings, ks, list(codes))
    asked = {**settings, "overlap_k": ks}
    variables = _variables(models, read, axes, codes, asked, reading)
    return measured_dataset.dataset(variables, axes, read, settings, metric)


def _variables(
    models: Models,
    read: Read,
    axes: Coordinates,
    codes: Mapping[str, Labels],
    settings: Mapping[str, Any],
    reading: Reading,
) -> Variables:
    """What is measured on each layer and between layers."""

    def of_labels(model: str, layer: int, found: Layer) -> Values:
        return measured_labels.of_labels(found, models[model][layer], codes, settings, reading)

    variables = measured_dataset.profiles(read, axes, codes, of_labels)
    if settings["overlap_k"]:
        count = measured_by_dadapy.pair_sums if reading.by_dadapy else between.pair_sums
        variables |= measured_pairs.of_lists(read, axes, settings, count)
    if settings["cka"]:
        arrays = [arrays["points"] for of_layers in models.values() for arrays in of_layers.values()]
        variables |= measured_pairs.of_points(read, axes, arrays)
    return variables


def _models(
    points: OfModels | None,
    distances: OfModels | None,
    indices: OfModels | None,
    mus: OfModels | None,
    layers: Literal["all"] | Sequence[int],
) -> Models:
    """The arrays of each layer of each model, by kind; the same models and layers for all kinds."""
    given = {"points": points, "distances": distances, "indices": indices, "mus": mus}
    kinds = tuple(kind for kind, value in given.items() if value is not None)
    _check_kinds(kinds)
    models: Models = {}
    for kind in kinds:
        by_name = _by_name(given[kind])
        if models and set(by_name) != set(models):
            raise InputError(
                f"{kind} are given of {', '.join(by_name)} and {kinds[0]} of {', '.join(models)}; "
                f"expected the same models: name them alike"
            )
        for name, arrays in by_name.items():
            found = find_arrays(arrays, layers, f"{kind} of {name}")
            of_layers = models.setdefault(name, {layer: {} for layer in found})
            if set(found) != set(of_layers):
                raise InputError(
                    f"{name}: {kind} have layers {pack(list(found))} and {kinds[0]} have "
                    f"{pack(list(of_layers))}; expected the same: name those wanted with layers (--layers)"
                )
            for layer, array in found.items():
                of_layers[layer][kind] = array
    return models


def _check_kinds(kinds: tuple[str, ...]) -> None:
    allowed = (
        ("points",),
        ("distances",),
        ("indices",),
        ("mus",),
        ("distances", "indices"),
        ("indices", "mus"),
        ("points", "distances", "indices"),
    )
    if kinds not in allowed:
        raise InputError(
            f"{' and '.join(kinds) or 'no arrays'} given; expected points, distances with or without "
            f"indices, indices, or mus with or without indices (points beside distances and indices "
            f"check them): pass one of these"
        )


def _by_name(given: Any) -> dict[str, Given]:
    if isinstance(given, Mapping) and any(isinstance(key, str) for key in given):
        wrong = [name for name in given if not isinstance(name, str) or not name.strip() or "/" in name]
        if wrong:
            raise InputError(f"{wrong[0]!r} is no name of a model; expected text without '/': rename it")
        return dict(given)
    return {ONLY_MODEL: given}


def _check_sizes(read: Read) -> None:
    first = read[0][2]
    for _, _, layer in read[1:]:
        if layer.n_points != first.n_points:
            raise InputError(
                f"{layer.where} is of {layer.n_points} points and {first.where} of {first.n_points}; "
                f"expected the same points in the same order in all layers: save them again, or "
                f"measure them apart"
            )


def _codes(labels: Any, n_points: int) -> dict[str, Labels]:
    if labels is None:
        return {}
    named = labels if isinstance(labels, Mapping) else {ONLY_LABEL: labels}
    return {name: _encoded(name, given, n_points) for name, given in named.items()}


def _encoded(name: str, given: Any, n_points: int) -> Labels:
    if isinstance(given, str) or hasattr(given, "__fspath__"):
        return encode(labels_from_file(given, [str(row) for row in range(n_points)]))[0]
    values = np.asarray(given)
    if values.ndim != 1 or values.dtype.kind not in "iubU" or len(values) != n_points:
        raise InputError(
            f"label {name} is {values.dtype} of shape {values.shape}; expected ({n_points},) integers "
            f"or strings: give one per point, in the order of the points"
        )
    return encode([str(value) for value in values.tolist()])[0]


def _ks(
    wanted: Sequence[int] | None, labels: OfLabels | None, read: Read, settings: Mapping[str, Any]
) -> list[int]:
    """Numbers of neighbors of the overlaps; none where there are no row numbers."""
    lengths = [layer.indices.shape[1] for *_, layer in read if layer.indices is not None]
    asked = {name: settings[name] or None for name in ("jaccard", "error_splits", "information_imbalance")}
    for option, value in {"overlap_k": wanted, "labels": labels, **asked}.items():
        if value is not None and not lengths:
            raise InputError(
                f"{option}: overlaps are of row numbers of neighbors, found none: pass indices, or "
                f"leave it out"
            )
    if wanted is not None:
        return sorted(set(check_ks(wanted, min(lengths), "overlap_k")))
    return [k for k in _DEFAULT_KS if lengths and k <= min(lengths)]
