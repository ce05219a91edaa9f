"""Alignment of layers (CKA): products of their stored points, over some of the rows or of the layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.centered import CenteredLayer
from hpcgeom.geometry.cka_sums import CkaSums, feature_sums, gram_sums
from hpcgeom.plan import paths
from hpcgeom.plan.alignment import MEMORY_BYTES, cut_of
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.plan.points import Cohort, blocks, n_base_points
from hpcgeom.search.threads import one_blas_thread
from hpcgeom.stages.extract import sums_key
from hpcgeom.stages.run import Run
from hpcgeom.stages.search import layer_rows
from hpcgeom.store import npz
from hpcgeom.types import Points, Unit


def products(run: Run, unit: Unit, cohort: Cohort) -> CkaSums:
    """The unit's part of the sums over all points of layers that have the same points."""
    assert unit.blocks is not None
    cut, layers = cut_of(cohort), _layers(run, cohort)
    first, second = (cut.parts[block] for block in unit.blocks)
    with one_blas_thread():
        if cut.route == "gram":
            return gram_sums(layers, first, second, MEMORY_BYTES)
        return feature_sums(layers, range(*first), range(*second), cohort.n_points, MEMORY_BYTES)


def _layers(run: Run, cohort: Cohort) -> list[CenteredLayer]:
    """All layers, each minus its mean."""
    sources = [
        layer_rows(run, model, item, position)
        for model, item in cohort.members
        for position in range(len(item.layers))
    ]
    means = [mean for model, item in cohort.members for mean in _means(run, model, item)]

    def read_rows(layer: int, start: int, stop: int) -> Points:
        return sources[layer].read(start, stop)

    found = []
    for layer, mean in enumerate(means):
        largest = np.abs(read_rows(layer, 0, 1)[0].astype(np.float64) - mean).max()
        exponent = int(np.frexp(largest)[1])
        found.append(CenteredLayer(read_rows, layer, mean, np.zeros_like(mean), exponent, is_constant=False))
    return found


def _means(run: Run, model: ModelPlan, item: Representation) -> npt.NDArray[np.float64]:
    """Mean of every layer's points, queries left out: (layers, features).

    From the sums of the extract units. Only of a unit that holds both, points are read again, so that the
    means are bit by bit those without queries.
    """
    n_base, key = n_base_points(run.plan, model, item), sums_key(item.site, item.pooling)
    total: npt.NDArray[np.float64] | None = None
    for block, rows in zip(blocks(run.plan, model, item), run.plan.row_ranges(), strict=True):
        if block.first >= n_base:
            break
        if block.first + block.n_points <= n_base:
            part = npz.load_one(run.sound(paths.column_sums(model.name, *rows), "extract"), key)
        else:
            part = np.stack(
                [
                    layer_rows(run, model, item, position).read(block.first, n_base).sum(0, dtype=np.float64)
                    for position in range(len(item.layers))
                ]
            )
        total = part if total is None else total + part
    assert total is not None
    return np.asarray(total / n_base)
