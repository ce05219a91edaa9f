"""Extract: every layer's activations of a range of samples, pooled or not, into shards that the unit owns."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom import faults
from hpcgeom.models import Window, merge_windows
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan, Plan
from hpcgeom.plan.points import Block, are_tokens, blocks, n_points
from hpcgeom.plan.sequences import Sequences
from hpcgeom.plan.units import DETAILS
from hpcgeom.stages import inputs, splits
from hpcgeom.stages.base import DURABLE, Work, Write, each, require_layout
from hpcgeom.stages.details import write_details
from hpcgeom.stages.forward import Forward, OwnLayers, Pass
from hpcgeom.stages.run import Run
from hpcgeom.stages.together import Sums, crew_of, joined
from hpcgeom.store import activations, npz
from hpcgeom.store.records import FileEntry
from hpcgeom.types import Unit

Activations = dict[tuple[str, str], npt.NDArray[np.floating]]
"""(site, pooling) -> (layers, points, features)."""
Windows = dict[tuple[str, str, int], list[tuple[int, Window]]]
"""(site, pooling, row) -> numbers of windows, and what the forward passes gave for them."""


class Extract:
    """Runs a model over a unit's rows, or copies points that exist already."""

    name = "extract"
    inputs: tuple[str, ...] = ()

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Load the weights of the unit's model."""
        require_layout(run, "extract")
        model = run.plan.model(unit.model)
        if model.family == "arrays":
            yield each(lambda item: _write_copy(run, model, item))
            return
        with Forward(run, model, crew_of(run)) as forward:
            yield partial(_do, run, forward)


def _do(run: Run, forward: Forward, units: Sequence[Unit]) -> Iterator[tuple[Unit, Write]]:
    if units[0].site == DETAILS:
        yield from each(lambda _: write_details(run, forward.plan, forward))(units)
        return
    began = time.monotonic()
    for unit, values in values_of(run, forward, units):
        work = {**forward.work_of(unit), "compute_s": round(time.monotonic() - began, 3)}
        yield unit, partial(_write, run, forward, unit, values, work)
        began = time.monotonic()


def _places(plan: Plan, model: ModelPlan, unit: Unit) -> dict[tuple[str, str], Block]:
    """Where the unit stores its points, by site and pooling."""
    number = unit.start // plan.unit_rows
    return {(item.site, item.pooling): blocks(plan, model, item)[number] for item in model.representations}


def values_of(run: Run, forward: Forward, units: Sequence[Unit]) -> Iterator[tuple[Unit, Activations]]:
    """Activations of the units' points, at the layers that this process has, in the points' order."""
    passes = forward.run(units)
    for unit, batches in groupby(passes, key=lambda each: each.unit):
        yield unit, _of_unit(run, forward, unit, batches)


def _of_unit(run: Run, forward: Forward, unit: Unit, batches: Iterable[Pass]) -> Activations:
    places, sequences = _places(run.plan, forward.plan, unit), forward.sequences
    parts = forward.parts
    points = {
        key: UnitPoints(forward.memory.empty((len(part.positions), places[key].n_points, part.item.width)))
        for key, part in parts.items()
    }
    windows: Windows = defaultdict(list)
    n_windows = np.bincount(sequences.row)
    for batch in batches:
        members, rows = batch.members, sequences.row[batch.members]
        is_whole = n_windows[rows] == 1
        for key, part in parts.items():
            numbers, pooled = rows, batch.pooled[key]
            if are_tokens(part.item):  # those of one window stand after those of the one before
                numbers = sequences.points_of(members)
            elif not is_whole.all():
                _keep_windows(windows, key, sequences, members[~is_whole], pooled[:, ~is_whole])
                numbers, pooled = rows[is_whole], pooled[:, is_whole]
            points[key].put(numbers - places[key].first, pooled)
    for (site, pooling, row), found in windows.items():
        ordered = [window for _, window in sorted(found, key=lambda part: part[0])]
        merged = merge_windows(ordered, pooling)
        points[site, pooling].put(np.array([row - unit.start]), merged[:, None])
    return {key: each.whole() for key, each in points.items()}


class UnitPoints:
    """Points of a unit, as they come; NaN where none comes.

    Parameters
    ----------
    block
        Memory for them, (layers, points, features), with any numbers in it.
    """

    def __init__(self, block: npt.NDArray[np.float32]) -> None:
        self._block, self._is_there = block, np.zeros(block.shape[1], np.bool_)

    def put(self, places: npt.NDArray[np.intp], points: npt.NDArray[np.float32]) -> None:
        """Put points of all layers in their places."""
        self._block[:, places], self._is_there[places] = points, True

    def whole(self) -> npt.NDArray[np.float32]:
        """All points of the unit, (layers, points, features)."""
        self._block[:, ~self._is_there] = np.nan
        return self._block


def _keep_windows(
    windows: Windows,
    key: tuple[str, str],
    sequences: Sequences,
    members: npt.NDArray[np.intp],
    pooled: npt.NDArray[np.float32],
) -> None:
    """Put aside what was pooled over windows, until all windows of their samples are there."""
    for place, position in enumerate(members.tolist()):
        windows[(*key, int(sequences.row[position]))].append(_window(sequences, position, pooled[:, place]))


def _window(sequences: Sequences, position: int, values: npt.NDArray[np.float32]) -> tuple[int, Window]:
    n_ordinary, n_tokens = int(sequences.n_ordinary[position]), int(sequences.n_tokens[position])
    return int(sequences.window[position]), Window(values.copy(), n_ordinary, n_tokens)


def _write_copy(run: Run, model: ModelPlan, unit: Unit) -> dict[str, Any]:
    """Points that exist already."""
    item = model.representations[0]
    points = inputs.points_of(run, model.name, item.layers, unit.start, unit.stop)
    sums, entries = _write_layers(run, model, unit, {(item.site, item.pooling): points}, {})
    npz.save(run.root / paths.column_sums(model.name, unit.start, unit.stop), sums)
    return {"batch_splits": [], DURABLE: entries}


def _write(
    run: Run, forward: Forward, unit: Unit, values: Activations, work: Mapping[str, float]
) -> dict[str, Any]:
    """Write a unit; where others have layers of it, together with them."""
    sums, entries = _write_layers(run, forward.plan, unit, values, forward.parts)
    facts: dict[str, Any] = {}
    if forward.crew is not None:
        receipts = forward.crew.receipts(unit)
        keys = [sums_key(item.site, item.pooling) for item in forward.plan.representations]
        sums = joined([sums, *(receipt.sums for receipt in receipts)], keys)
        facts["processes"] = [forward.crew.made_by(), *(receipt.made_by for receipt in receipts)]
        entries += [entry for receipt in receipts for entry in receipt.files]
    npz.save(run.root / paths.column_sums(forward.plan.name, unit.start, unit.stop), sums)
    return {
        "batch_splits": splits.of_unit(run, unit),
        "strategy": forward.strategy,
        **work,
        **facts,
        DURABLE: entries,
    }


def write_part(run: Run, forward: Forward, unit: Unit, values: Activations) -> None:
    """Write the layers that this process has of a unit, and tell the leader."""
    assert forward.crew is not None
    forward.crew.send(unit, *_write_layers(run, forward.plan, unit, values, forward.parts))
    faults.reached("part-written", stage=unit.stage, index=unit.index, key=unit.key)


def _write_layers(
    run: Run, model: ModelPlan, unit: Unit, values: Activations, parts: Mapping[tuple[str, str], OwnLayers]
) -> tuple[Sums, list[FileEntry]]:
    """Write points of layers; their column sums, and what was written."""
    store, places = run.root / paths.activations(model.name), _places(run.plan, model, unit)
    sums: Sums = {}
    entries: list[FileEntry] = []
    for (site, pooling), block in values.items():
        place = places[site, pooling]
        where = f"model '{model.name}', {site}/{pooling}"
        first = parts[site, pooling].positions.start if parts else 0
        written = activations.write(store, place.group, place.start, block, where, first)
        entries += [
            FileEntry.written(path.relative_to(run.root).as_posix(), shard.checksum)
            for path, shard in written.items()
        ]
        sums[sums_key(site, pooling)] = np.stack([shard.column_sums for shard in written.values()])
    return sums, entries


def sums_key(site: str, pooling: str) -> str:
    """Name of a representation in the files of column sums."""
    return paths.group(site, pooling).replace("/", "|")


def column_means(run: Run, model: ModelPlan, site: str, pooling: str) -> npt.NDArray[np.float64]:
    """float64 mean of every layer's stored points, from the extract units' sums: (layers, features)."""
    key = sums_key(site, pooling)
    total: npt.NDArray[np.float64] | None = None
    for start, stop in run.plan.row_ranges():
        part = npz.load(run.sound(paths.column_sums(model.name, start, stop), "extract"))[key]
        total = part if total is None else total + part
    assert total is not None
    return total / n_points(run.plan, model, model.representation(site, pooling))
