"""Everything that is measured on one layer alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.data.labels import encode
from hpcgeom.data.samples import Samples, read_samples
from hpcgeom.geometry.decimation import first_two_within, subsets
from hpcgeom.geometry.gride import gride
from hpcgeom.geometry.labels import label_overlap_counts, label_overlap_from_counts
from hpcgeom.geometry.trimmed import twonn_mle_trimmed
from hpcgeom.geometry.twonn import twonn, twonn_by_mu_fraction, twonn_mle, twonn_mle_censored
from hpcgeom.plan import paths
from hpcgeom.plan.points import n_base_points
from hpcgeom.search import RowSource, neighbors_of_rows
from hpcgeom.stages.certificates import account, certificates
from hpcgeom.stages.points import sample_of_points
from hpcgeom.stages.retrieving import retrieve
from hpcgeom.stages.run import Run
from hpcgeom.stages.search import standard_rows
from hpcgeom.store import neighbors
from hpcgeom.store.neighbors import Lists
from hpcgeom.types import Distances, Estimate, Indices, Labels, Status, Unit

Values = dict[str, npt.NDArray[Any]]
Explain = Callable[[Status], Status]


def measure(run: Run, unit: Unit) -> Values:
    """All numbers of the unit's layer; queries enter none but those of retrieval and of the search.

    Returns
    -------
    dict
        Arrays by name of the results' variable, without the leading dimensions of the representation.
    """
    settings = run.plan.manifest["geometry"]
    model = run.plan.model(unit.model)
    item = model.representation(unit.site, unit.pooling)
    position = item.layers.index(unit.layer)
    store, group = run.root / paths.neighbors(unit.model), paths.group(unit.site, unit.pooling)
    n_base = n_base_points(run.plan, model, item)
    lists = neighbors.read_lists(store, group, position, n_base)
    n_distinct = len(lists.representatives)
    values: Values = {
        "n_all_points": np.array(n_base),
        "n_zero_distances": np.array(np.count_nonzero(lists.distances[:, 0] == 0.0)),
        "n_distinct_points": np.array(n_distinct),
        "n_duplicate_groups": np.array(np.count_nonzero(np.bincount(lists.duplicate_of) > 1)),
        **({"n_queries": np.array(unit.stop - n_base)} if run.plan.samples.n_queries else {}),
        **account(certificates(run, model, item, position)),
    }
    values |= distinct_profile(
        lists,
        standard_rows(run, model, item, position),
        settings,
        run.plan.manifest["neighbors"]["metric"],
    )
    if settings["labels"]:
        rows, is_constant = sample_of_points(run, model, item), n_distinct == 1
        samples = read_samples(run.sound(paths.SAMPLES))
        values |= _labels(samples, lists, rows[:n_base], settings, is_constant=is_constant)
        if n_base < unit.stop:
            of_queries = neighbors.read_rows(store, group, "neighbor_index", position, n_base, unit.stop)
            values |= retrieve(run.plan, samples, of_queries, rows, is_constant=is_constant)
    return values


def distinct_profile(lists: Lists, rows: RowSource, settings: Mapping[str, Any], metric: str) -> Values:
    """All dimensions of a layer, over its distinct points; `rows` are searched again for decimation."""
    explain = partial(_status, lists=lists)
    distances, indices = lists.distinct_distances, lists.distinct_indices
    return dimensions(distances, indices, settings, explain) | _decimated(lists, rows, settings, metric)


def dimensions(
    distances: Distances, indices: Indices | None, settings: Mapping[str, Any], explain: Explain = Status
) -> Values:
    """Intrinsic dimension by each estimator, at each scale, and at each share of the ratios.

    Parameters
    ----------
    distances, indices
        As for `twonn`.
    settings
        `estimators`, `mu_fraction`, `mu_fractions` and `gride_range_max`, as in a manifest.
    explain
        Gives the status to write in place of one that an estimator found.
    """
    values = _estimates(distances, indices, settings, explain)
    if "gride" in settings["estimators"]:
        values |= _gride(distances, int(settings["gride_range_max"]), explain)
    return values | _fractions(distances, indices, settings)


def estimate(name: str, distances: Distances, indices: Indices | None, mu_fraction: float) -> Estimate:
    """One estimator by its name in the manifest, or `twonn_mle_trimmed`, which manifests do not offer."""
    if name == "twonn_mle_trimmed":
        return twonn_mle_trimmed(distances, mu_fraction)
    if name == "twonn":
        return twonn(distances, mu_fraction, indices)
    if name == "twonn_mle":
        return twonn_mle(distances, indices)
    return twonn_mle_censored(distances, mu_fraction, indices)


def _estimates(
    distances: Distances, indices: Indices | None, settings: Mapping[str, Any], explain: Explain
) -> Values:
    names = [name for name in settings["estimators"] if name != "gride"]
    found = [estimate(name, distances, indices, float(settings["mu_fraction"])) for name in names]
    return {
        "intrinsic_dimension": np.array([item.value for item in found], dtype=np.float64),
        "intrinsic_dimension_error": np.array([item.error for item in found], dtype=np.float64),
        "n_points": np.array([item.n_points for item in found], dtype=np.int64),
        "status": np.array([explain(item.status) for item in found], dtype=np.int8),
    }


def _status(status: Status, lists: Lists) -> Status:
    """The status that says why: equal points explain a lack of distinct ones."""
    n_distinct = len(lists.representatives)
    if status == Status.OK or n_distinct == len(lists.duplicate_of):
        return status
    return Status.CONSTANT if n_distinct == 1 else Status.DUPLICATES


def _gride(distances: Distances, range_max: int, explain: Explain) -> Values:
    found = gride(distances, range_max)
    statuses = [explain(Status(int(status))) for status in found.status]
    return {
        "gride": found.value,
        "gride_error": found.error,
        "gride_distance": found.distance,
        "gride_status": np.array(statuses, dtype=np.int8),
    }


def _fractions(distances: Distances, indices: Indices | None, settings: Mapping[str, Any]) -> Values:
    value, error = twonn_by_mu_fraction(distances, settings["mu_fractions"], indices)
    return {"twonn_by_mu_fraction": value, "twonn_by_mu_fraction_error": error}


def _decimated(lists: Lists, rows: RowSource, settings: Mapping[str, Any], metric: str) -> Values:
    """TwoNN on disjoint random subsets; rows whose list is too short there are searched again, exactly."""
    fractions = settings["data_fractions"]
    value, error = np.full(len(fractions), np.nan), np.full(len(fractions), np.nan)
    representatives = lists.representatives
    for position, fraction in enumerate(fractions):
        found: list[Estimate] = []
        for chosen in subsets(len(representatives), float(fraction), int(settings["seed"])):
            subset = representatives[chosen]
            nearest, short = first_two_within(lists.distinct_distances, lists.distinct_indices, subset)
            if short.any() and len(subset) > 2:
                nearest[short] = neighbors_of_rows(rows, subset[short], subset, 2, metric)[0]
            found.append(twonn(nearest, float(settings["mu_fraction"])))
        values = np.array([item.value for item in found])
        if len(found) == 1:
            value[position], error[position] = found[0].value, found[0].error
        elif len(found) > 1:
            value[position] = values.mean()
            error[position] = values.std(ddof=1) / np.sqrt(len(found))
    return {"decimated_dimension": value, "decimated_dimension_error": error}


def _labels(
    samples: Samples,
    lists: Lists,
    rows: npt.NDArray[np.int64],
    settings: Mapping[str, Any],
    *,
    is_constant: bool,
) -> Values:
    """Label overlaps; a point has the label of the sample, at `rows`, that it is of."""
    codes = [encode(samples.labels[label][: samples.n_base])[0][rows] for label in settings["labels"]]
    return label_overlaps(lists.indices, codes, settings["overlap_k"], is_constant=is_constant)


def label_overlaps(
    indices: Indices, codes: Sequence[Labels], ks: Sequence[int], *, is_constant: bool
) -> Values:
    """Plain and balanced label overlaps, (labels, ks) each, for the codes (N,) of each label."""
    columns: dict[str, list[npt.NDArray[np.float64]]] = {
        name: []
        for name in (
            "label_overlap",
            "label_overlap_error",
            "label_overlap_balanced",
            "label_overlap_balanced_error",
        )
    }
    for each in codes:
        counts = label_overlap_counts(indices, each, ks)
        plain = label_overlap_from_counts(counts, ks)
        balanced = label_overlap_from_counts(counts, ks, each)
        for name, numbers in zip(columns, (*plain, *balanced), strict=True):
            # Neighbors in a constant layer are row order: no number says anything about it.
            columns[name].append(np.full(len(ks), np.nan) if is_constant else numbers)
    return {name: np.stack(numbers) for name, numbers in columns.items()}
