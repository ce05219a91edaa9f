"""Laying out the stores of a run: metadata and coordinates, by one process, before any unit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hpcgeom.data.samples import read_samples
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan
from hpcgeom.plan.points import point_arrays
from hpcgeom.plan.units import NEIGHBOR_SHARD_ROWS
from hpcgeom.stages.base import made_by
from hpcgeom.stages.details import lay_out_details
from hpcgeom.stages.points import point_axis
from hpcgeom.stages.run import Run
from hpcgeom.store import activations, neighbors
from hpcgeom.store.axes import Group
from hpcgeom.store.leases import lease
from hpcgeom.this_job import restarts
from hpcgeom.types import Unit


def lay_out_stores(run: Run, wait_s: float = 0.0) -> None:
    """Write the metadata of the stores that lack it; data that is there stays.

    Parameters
    ----------
    wait_s
        How long to wait for another living process that does so.
    """
    for unit in run.layout_units():
        records = run.records(unit.stage)
        if records.is_done(unit):
            continue
        with lease(records.path(unit).with_suffix(".lease"), restarts(), wait_s):
            if records.is_done(unit):
                continue  # by another process, in between
            records.remove(unit)
            placed = _lay_out(run, unit.stage)
            owner = Unit(
                unit.stage,
                -1,
                unit.key,
                unit.digest,
                tuple(str(path.relative_to(run.root)) for path in placed),
            )
            records.write(owner, {}, made_by())


def _lay_out(run: Run, stage: str) -> list[Path]:
    ids = read_samples(run.sound(paths.SAMPLES)).ids
    placed: list[Path] = []
    for model in run.plan.models:
        if stage == "extract":
            placed += activations.create(
                run.root / paths.activations(model.name),
                _activation_groups(run, model, ids),
                model.store_dtype,
                _about(model),
                partial(lay_out_details, model=model, sample_ids=ids),
            )
        else:
            settings = run.plan.manifest["neighbors"]
            placed += neighbors.create(
                run.root / paths.neighbors(model.name),
                _neighbor_groups(run, model, ids),
                int(settings["k"]),
                {**_about(model), "metric": settings["metric"], "standardize": settings["standardize"]},
            )
    return placed


def _activation_groups(run: Run, model: ModelPlan, ids: Sequence[str]) -> list[Group]:
    groups = []
    for item in model.representations:
        axis = point_axis(run, model, item, ids)
        groups += [
            Group(
                array.group,
                item.layers,
                item.width,
                axis.part(array.start, array.stop),
                array.shard_points,
                item.modules,
            )
            for array in point_arrays(run.plan, model, item)
        ]
    return groups


def _neighbor_groups(run: Run, model: ModelPlan, ids: Sequence[str]) -> list[Group]:
    return [
        Group(
            paths.group(item.site, item.pooling),
            item.layers,
            item.width,
            point_axis(run, model, item, ids),
            NEIGHBOR_SHARD_ROWS,
            item.modules,
        )
        for item in model.representations
    ]


def _about(model: ModelPlan) -> dict[str, object]:
    return {
        "model": model.name,
        "family": model.family,
        "revision": model.revision,
        "n_layers": model.n_layers,
        "n_parameters": model.n_parameters,
        "dtype": model.dtype,
    }
