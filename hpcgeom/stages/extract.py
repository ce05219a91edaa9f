"""Extract: every layer's pooled activations of a range of rows, into shards that the unit owns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.models import Window, merge_windows
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan
from hpcgeom.plan.sequences import Sequences
from hpcgeom.plan.units import DETAILS
from hpcgeom.stages import inputs
from hpcgeom.stages.base import Work, require_layout
from hpcgeom.stages.details import write_details
from hpcgeom.stages.forward import Forward
from hpcgeom.stages.run import Run
from hpcgeom.store import activations, npz
from hpcgeom.types import Unit

Blocks = dict[tuple[str, str], npt.NDArray[np.floating]]
"""(site, pooling) -> (layers, rows, features)."""


class Extract:
    """Runs a model over a unit's rows, or copies points that exist already."""

    name = "extract"

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Load the weights of the unit's model."""
        require_layout(run, "extract")
        model = run.plan.model(unit.model)
        if model.family == "arrays":
            yield lambda item: _write(run, model, item, _copy(run, model, item))
            return
        forward = Forward(run, model)
        try:
            yield lambda item: _do(run, model, forward, item)
        finally:
            forward.close()


def _do(run: Run, model: ModelPlan, forward: Forward, unit: Unit) -> dict[str, Any]:
    if unit.site == DETAILS:
        return write_details(run, model, forward)
    return _write(run, model, unit, _extract(model, forward, unit))


def _copy(run: Run, model: ModelPlan, unit: Unit) -> Blocks:
    item = model.representations[0]
    return {(item.site, item.pooling): inputs.points_of(run, model.name, item.layers, unit.start, unit.stop)}


def _extract(model: ModelPlan, forward: Forward, unit: Unit) -> Blocks:
    """Pooled activations of the unit's rows, scattered back into sample order."""
    blocks: Blocks = {
        (item.site, item.pooling): np.full(
            (len(item.layers), unit.stop - unit.start, item.width), np.nan, dtype=np.float32
        )
        for item in model.representations
    }
    several = _in_windows(forward.sequences)
    parts: dict[tuple[str, str, int], list[tuple[int, Window]]] = defaultdict(list)
    for members, found in forward.batches(unit):
        rows = forward.sequences.row[members]
        is_alone = ~several[rows]
        for (site, pooling), pooled in found.items():
            blocks[site, pooling][:, rows[is_alone] - unit.start] = pooled[:, is_alone]
            for place in np.flatnonzero(~is_alone):
                window = _window(forward.sequences, int(members[place]), pooled[:, place])
                parts[site, pooling, int(rows[place])].append(window)
    for (site, pooling, row), windows in parts.items():
        ordered = [window for _, window in sorted(windows, key=lambda each: each[0])]
        blocks[site, pooling][:, row - unit.start] = merge_windows(ordered, pooling)
    return blocks


def _in_windows(sequences: Sequences) -> npt.NDArray[np.bool_]:
    """(N,) whether a sample has more than one sequence."""
    return np.bincount(sequences.row) > 1


def _window(sequences: Sequences, position: int, values: npt.NDArray[np.float32]) -> tuple[int, Window]:
    n_ordinary, n_tokens = int(sequences.n_ordinary[position]), int(sequences.n_tokens[position])
    return int(sequences.window[position]), Window(values.copy(), n_ordinary, n_tokens)


def _write(run: Run, model: ModelPlan, unit: Unit, blocks: Blocks) -> dict[str, Any]:
    store = run.root / paths.activations(model.name)
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for (site, pooling), block in blocks.items():
        group = paths.group(site, pooling)
        activations.write(store, group, unit.start, block, f"model '{model.name}', {site}/{pooling}")
        stored = block.astype(model.store_dtype, copy=False)
        sums[group.replace("/", "|")] = stored.astype(np.float64).sum(axis=1)
    npz.save(run.root / paths.column_sums(model.name, unit.start, unit.stop), sums)
    return {"batch_splits": []}


def column_means(run: Run, model: ModelPlan, site: str, pooling: str) -> npt.NDArray[np.float64]:
    """float64 mean of every layer's stored points, from the extract units' sums: (layers, features)."""
    key = paths.group(site, pooling).replace("/", "|")
    total: npt.NDArray[np.float64] | None = None
    for start, stop in run.plan.row_ranges():
        part = npz.load(run.sound(paths.column_sums(model.name, start, stop), "extract"))[key]
        total = part if total is None else total + part
    assert total is not None
    return total / run.plan.samples.n
