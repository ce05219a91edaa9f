"""Everything that is measured on one layer alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from hpcgeom.data.labels import encode
from hpcgeom.data.samples import read_samples
from hpcgeom.geometry.decimation import first_two_within, subsets
from hpcgeom.geometry.twonn import twonn
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.plan.points import are_tokens, n_base_points
from hpcgeom.search import RowSource, neighbors_of_rows
from hpcgeom.stages.certificates import account, certificates
from hpcgeom.stages.clouds import cloud_profile
from hpcgeom.stages.clusters import agreement, cluster_profile
from hpcgeom.stages.dimensions import dimensions
from hpcgeom.stages.label_profile import label_profile
from hpcgeom.stages.points import sample_of_points
from hpcgeom.stages.pointwise import local_profile
from hpcgeom.stages.retrieving import retrieve
from hpcgeom.stages.run import Run
from hpcgeom.stages.search import layer_rows, standard_rows
from hpcgeom.stages.token_clouds import token_clouds
from hpcgeom.store import neighbors
from hpcgeom.store.neighbors import Lists
from hpcgeom.types import Estimate, Status, Unit, Values


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
    points, metric = standard_rows(run, model, item, position), run.plan.manifest["neighbors"]["metric"]
    values |= distinct_profile(lists, points, settings, metric)
    if settings["local_dimension_k"]:
        local = local_profile(
            lists.distinct_distances,
            int(settings["local_dimension_k"]),
            lists.duplicate_of,
            partial(_status, lists=lists),
        )
        if are_tokens(item):
            del local["local_dimension"]  # tokens of different models are no common axis
        values |= local
    if settings["clusters"] is not None:
        values |= _clusters(run, model, item, lists)
    if settings["token_clouds"] and are_tokens(item):
        stored, of_samples = layer_rows(run, model, item, position), sample_of_points(run, model, item)
        n_values = int(settings["token_clouds"])
        values |= token_clouds(stored, of_samples, run.plan.samples.n_base, n_values)
    if settings["spectrum"]:
        values |= cloud_profile(layer_rows(run, model, item, position), n_base, settings)
    if settings["labels"]:
        rows = sample_of_points(run, model, item)
        samples = read_samples(run.sound(paths.SAMPLES))
        values |= label_profile(samples, lists, points, rows[:n_base], settings, metric)
        if n_base < unit.stop:
            of_queries = neighbors.read_rows(store, group, "neighbor_index", position, n_base, unit.stop)
            values |= retrieve(run.plan, samples, of_queries, rows, is_constant=n_distinct == 1)
    return values


def _clusters(run: Run, model: ModelPlan, item: Representation, lists: Lists) -> Values:
    settings, samples = run.plan.manifest["geometry"], read_samples(run.sound(paths.SAMPLES))
    rows, n_base = sample_of_points(run, model, item)[: len(lists.duplicate_of)], samples.n_base

    def explain(status: Status) -> Status:
        # That some points are equal does not explain what DADApy could not do.
        return status if status is Status.NO_SOLUTION else _status(status, lists)

    found = cluster_profile(lists, settings["clusters"], explain)
    if settings["labels"]:
        codes = [encode(samples.labels[label][:n_base])[0][rows] for label in settings["labels"]]
        found |= agreement(found["cluster"], codes)
    if are_tokens(item):
        del found["cluster"]  # as of local_dimension
    return found


def distinct_profile(lists: Lists, rows: RowSource, settings: Mapping[str, Any], metric: str) -> Values:
    """All dimensions of a layer, over its distinct points; `rows` are searched again for decimation."""
    explain = partial(_status, lists=lists)
    distances, indices = lists.distinct_distances, lists.distinct_indices
    return dimensions(distances, indices, settings, explain) | _decimated(lists, rows, settings, metric)


def _status(status: Status, lists: Lists) -> Status:
    """The status that says why: equal points explain a lack of distinct ones."""
    n_distinct = len(lists.representatives)
    if status == Status.OK or n_distinct == len(lists.duplicate_of):
        return status
    return Status.CONSTANT if n_distinct == 1 else Status.DUPLICATES


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
