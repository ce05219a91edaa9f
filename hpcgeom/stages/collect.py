"""Collect: put the partial results together into ``results.zarr``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hpcgeom.data.labels import encode
from hpcgeom.data.samples import read_samples
from hpcgeom.plan import measures, paths
from hpcgeom.plan.points import are_tokens, cohorts, n_base_points
from hpcgeom.plan.units import representations
from hpcgeom.stages import dimensions
from hpcgeom.stages.base import Work, each, require_inputs
from hpcgeom.stages.between_results import Coordinates, Variables, between_layers, empty, place_of
from hpcgeom.stages.lens import lens_profile
from hpcgeom.stages.minimum import minimum_layers
from hpcgeom.stages.points import sample_of_points
from hpcgeom.stages.run import Run
from hpcgeom.store import npz, results
from hpcgeom.store.variables import RESULTS, VALERIANI
from hpcgeom.types import Unit


class Collect:
    """Turns partial results into one labeled dataset."""

    name = "collect"
    inputs = ("geometry",)

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Check that all partial results are there."""
        require_inputs(run, self)
        yield each(lambda item: _work(run))


def _work(run: Run) -> dict[str, Any]:
    dataset = results.describe(build(run))
    results.write(dataset, run.root / paths.RESULTS)
    return {"n_variables": len(dataset.data_vars)}


def build(run: Run) -> xr.Dataset:
    """The results of a run, from its partial results."""
    axes = _axes(run)
    about = _about_models(run, axes["layer"])
    variables = _profiles(run, axes)
    variables |= minimum_layers(variables, axes["layer"])
    variables |= between_layers(run, axes, about["relative_depth"][1])
    variables |= lens_profile(run, len(axes["layer"]))
    if run.plan.manifest["dataset"].get("samples") == "intersect":
        n_given = np.array([model.n_rows for model in run.plan.models], dtype=np.int64)
        variables["n_given_samples"] = (("model",), n_given)
    labels = run.plan.manifest["geometry"]["labels"]
    if labels:
        variables |= _chance(run, labels)
    used = {dim for dims, _ in variables.values() for dim in dims}
    coordinates: dict[str, Any] = {name: values for name, values in axes.items() if name in used}
    coordinates |= about
    return xr.Dataset(variables, coords=coordinates, attrs=_attributes(run))


def _axes(run: Run) -> Coordinates:
    geometry = run.plan.manifest["geometry"]
    deepest = run.plan.deepest_layer
    names = [model.name for model in run.plan.models]
    groups = run.plan.groups()
    return {
        "model": _text(names),
        "site": _text(list(dict.fromkeys(site for site, _ in groups))),
        "pooling": _text(list(dict.fromkeys(pooling for _, pooling in groups))),
        "layer": np.arange(deepest + 1),
        "k": np.array(geometry["overlap_k"], dtype=np.int64),
        **dimensions.axes(geometry),
        "sample": _text(read_samples(run.sound(paths.SAMPLES)).ids[: run.plan.samples.n_base]),
        "cloud_component": np.arange(1, measures.axes(run.plan)["cloud_component"] + 1),
        "component": np.arange(1, measures.axes(run.plan)["component"] + 1),
        "label": _text(geometry["labels"]),
        "other_model": _text(names),
        "other_layer": np.arange(deepest + 1),
    }


def _text(values: Sequence[str]) -> npt.NDArray[np.object_]:
    return np.array(values, dtype=object)


def _profiles(run: Run, axes: Coordinates) -> Variables:
    variables: Variables = {}
    for model, item, _, layer in representations(run.plan):
        path = run.sound(paths.profile(model.name, item.site, item.pooling, layer), "geometry")
        where = place_of(axes, model.name, item.site, item.pooling, layer)
        for name, value in npz.load(path).items():
            if value.size == 0 and value.ndim:
                continue  # no estimator of one number was asked for
            if name not in variables:
                variables[name] = (RESULTS[name].dims, empty(name, axes))
            target = variables[name][1]
            put(target, where, value)
    return variables


def put(target: npt.NDArray[Any], where: tuple[int, ...], value: npt.NDArray[Any]) -> None:
    """Write what was measured on one layer; shorter axes, as of fewer components, are filled from 0 on."""
    target[tuple(where) + tuple(slice(n) for n in value.shape)] = value


def _chance(run: Run, labels: list[str]) -> Variables:
    """Share of pairs of different points that have the same label: of samples, and of each model's tokens.

    Queries are left out.
    """
    samples = read_samples(run.sound(paths.SAMPLES))
    codes = [encode(samples.labels[label][: samples.n_base])[0] for label in labels]
    found: Variables = {"label_overlap_chance": (("label",), np.array([chance(each) for each in codes]))}
    of_tokens = np.full((len(run.plan.models), len(labels)), np.nan)
    for position, model in enumerate(run.plan.models):
        item = next(filter(are_tokens, model.representations), None)  # all of a model have the same tokens
        if item is not None:
            rows = sample_of_points(run, model, item)[: n_base_points(run.plan, model, item)]
            of_tokens[position] = [chance(each[rows]) for each in codes]
    if not np.isnan(of_tokens).all():
        found["label_overlap_chance_of_tokens"] = (("model", "label"), of_tokens)
    return found


def chance(codes: npt.NDArray[np.int32]) -> float:
    """Share of the pairs of different points that have the same code; NaN for one point."""
    if len(codes) < 2:
        return float("nan")  # one sample, whose tokens are the points
    sizes = np.bincount(codes).astype(np.float64)
    return float((sizes * (sizes - 1)).sum() / (len(codes) * (len(codes) - 1)))


def _about_models(run: Run, layers: npt.NDArray[np.int64]) -> dict[str, Any]:
    models = run.plan.models
    depth = np.full((len(models), len(layers)), np.nan)
    for position, model in enumerate(models):
        known = layers[: model.n_layers + 1]
        depth[position, : len(known)] = known / max(model.n_layers, 1)
    return {
        "family": ("model", _text([model.family for model in models])),
        "revision": ("model", _text([model.revision for model in models])),
        "n_layers": ("model", np.array([model.n_layers for model in models], dtype=np.int64)),
        "width": ("model", np.array([model.width for model in models], dtype=np.int64)),
        "n_parameters": ("model", np.array([model.n_parameters for model in models], dtype=np.int64)),
        "step": ("model", np.array([model.step for model in models], dtype=np.int64)),
        "relative_depth": (("model", "layer"), depth),
    }


def _attributes(run: Run) -> dict[str, Any]:
    manifest = run.plan.manifest
    return {
        "title": f"Geometry of hidden representations: {run.plan.name}",
        "dataset": f"{run.plan.name}, {manifest['dataset']['kind']}",
        "n_samples": run.plan.samples.n_base,
        "sample_digest": run.plan.samples.digest,
        "metric": manifest["neighbors"]["metric"],
        "n_neighbors": manifest["neighbors"]["k"],
        "store_dtype": ", ".join(sorted({model.store_dtype for model in run.plan.models})),
        "mu_fraction": manifest["geometry"]["mu_fraction"],
        "duplicates": "intrinsic dimension over distinct points, overlaps over all points",
        "step": "training step of a checkpoint, -1 where the model is not one of several",
        "references": VALERIANI,
        **about_settings(manifest["geometry"]),
        **_about_queries(run),
        **_not_compared(run),
    }


def about_settings(geometry: Mapping[str, Any]) -> dict[str, str]:
    """Which neighbors are left out of the excluded overlaps, and how clusters were found, where they were."""
    found, pairs, clusters = {}, geometry["exclude_same"], geometry["clusters"]
    if pairs:
        found["exclude_same"] = ", ".join(f"{label}: {pairs[label]}" for label in sorted(pairs))
    if clusters is not None:
        left_out = "points of a halo left out" if clusters["halo"] else "halos included"
        found["clusters"] = f"density peaks by DADApy of distinct points, z = {clusters['z']:g}, {left_out}"
    return found


def _about_queries(run: Run) -> dict[str, Any]:
    """What is of the queries; nothing where there are none."""
    n_queries = run.plan.samples.n_queries
    if not n_queries:
        return {}
    return {
        "n_query_samples": n_queries,
        "queries": "n_samples, intrinsic dimensions and overlaps are of the data set without its queries; "
        "retrieval_accuracy and retrieval_overlap are of the queries, whose neighbors are of the data set; "
        "n_proven_rows, n_certified_rows, n_recomputed_rows and largest_relative_error are of both",
    }


def _not_compared(run: Run) -> dict[str, str]:
    """Why models have no overlap though models are compared: their tokens are not the same points."""
    apart = []
    for site, pooling in run.plan.groups() if run.plan.manifest["geometry"]["cross_model"] else ():
        found = cohorts(run.plan, site, pooling)
        if len(found) > 1:
            names = (", ".join(model.name for model, _ in cohort.members) for cohort in found)
            apart.append(f"{site}/{pooling}: {' | '.join(names)}")
    if not apart:
        return {}
    return {"not_compared": f"models that cut the samples into different tokens; {'; '.join(apart)}"}
