"""Geometry: measure every layer alone, and count what all pairs of layers have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.overlap import overlap_counts
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.plan.points import cohorts
from hpcgeom.stages import partials, profile
from hpcgeom.stages.base import Work, each, require_inputs, require_layout
from hpcgeom.stages.run import LAID_OUT, Run
from hpcgeom.store import neighbors, npz
from hpcgeom.types import Unit

Values = dict[str, npt.NDArray[Any]]


class Geometry:
    """Turns neighbor lists into numbers, in parts that `collect` puts together."""

    name = "geometry"
    inputs = ("extract", "search", "merge")

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Check that all neighbor lists, and the activations that decimation searches again, are there."""
        for stage in LAID_OUT:
            require_layout(run, stage)
        require_inputs(run, self)
        partials.remove_merged(run)  # which a process that was killed may have left
        yield each(lambda item: _work(run, item))


def _work(run: Run, unit: Unit) -> dict[str, Any]:
    values = profile.measure(run, unit) if unit.model else _pairs(run, unit)
    npz.save(run.root / unit.owns[0], values)
    return {}


def _pairs(run: Run, unit: Unit) -> Values:
    """Sums over the unit's points of common neighbors and of their squares, for all pairs of layers.

    Returns
    -------
    dict
        ``counts`` and ``squares``: int64 (k, layers of all models, layers of all models); zero for pairs of
        layers that are not compared. Models with fewer points than others end before the last units.
    """
    ks = [int(k) for k in run.plan.manifest["geometry"]["overlap_k"]]
    compared = cohorts(run.plan, unit.site, unit.pooling)
    n_layers = sum(len(cohort.layers) for cohort in compared)
    counts = np.zeros((len(ks), n_layers, n_layers), dtype=np.int64)
    squares = np.zeros_like(counts)
    for cohort in compared:
        stop = min(unit.stop, cohort.n_points)
        if unit.start >= stop:
            continue
        lists = [_lists(run, model, item, unit.start, stop, max(ks)) for model, item in cohort.members]
        pairs = np.ix_(range(len(ks)), cohort.layers, cohort.layers)
        counts[pairs], squares[pairs] = overlap_counts(np.concatenate(lists), None, ks)
    return {"counts": counts, "squares": squares}


def _lists(
    run: Run, model: ModelPlan, item: Representation, start: int, stop: int, k: int
) -> npt.NDArray[np.int32]:
    store, group = run.root / paths.neighbors(model.name), paths.group(item.site, item.pooling)
    layers = [
        neighbors.read_rows(store, group, "neighbor_index", position, start, stop)[:, :k]
        for position in range(len(item.layers))
    ]
    return np.stack(layers)
