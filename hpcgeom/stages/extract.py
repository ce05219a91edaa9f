"""Extract: every layer's pooled activations of a range of rows, into shards that the unit owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan
from hpcgeom.stages import inputs
from hpcgeom.stages.base import Work, require_layout
from hpcgeom.stages.requests import encode, request_of, tokenizer_of
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
        with _Extractor(run, model) as extractor:
            yield lambda item: _write(run, model, item, extractor.blocks(item))


def _copy(run: Run, model: ModelPlan, unit: Unit) -> Blocks:
    item = model.representations[0]
    return {(item.site, item.pooling): inputs.points_of(run, model.name, item.layers, unit.start, unit.stop)}


class _Extractor:
    """A loaded model with the batches and texts that it is fed."""

    def __init__(self, run: Run, model: ModelPlan) -> None:
        from hpcgeom.models import Replicate, pad

        self._run, self._plan = run, model
        self._manifest = inputs.manifest_of(run)
        request = request_of(run.plan, model, self._manifest)
        self._request, self._pad = request, pad
        self._model = Replicate().open_model(request, device="cpu", threads=run.plan.threads)
        self._tokenizer = tokenizer_of(request)
        self._ids, self._texts = inputs.texts_of(run)
        self._batch, self._n_tokens = inputs.read_batches(run, model.name)

    def __enter__(self) -> _Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self._model.close()

    def blocks(self, unit: Unit) -> Blocks:
        """Pooled activations of the unit's rows, batch by batch, scattered back into sample order."""
        blocks: Blocks = {
            (item.site, item.pooling): np.full(
                (len(item.layers), unit.stop - unit.start, item.width), np.nan, dtype=np.float32
            )
            for item in self._plan.representations
        }
        batches = self._batch[unit.start : unit.stop]
        for number in range(int(batches.max()) + 1):
            rows = np.flatnonzero(batches == number)
            for key, pooled in self._forward(unit.start + rows).items():
                blocks[key][:, rows] = pooled
        return blocks

    def _forward(self, rows: npt.NDArray[np.intp]) -> Mapping[tuple[str, str], npt.NDArray[np.float32]]:
        from hpcgeom.models import NonFiniteActivation

        ids = [self._ids[row] for row in rows]
        texts = [self._texts[row] for row in rows]
        encodings = encode(self._tokenizer, self._manifest, self._request, ids, texts)
        found = np.array([len(encoding.ids) for encoding in encodings])
        if (found != self._n_tokens[rows]).any():
            row = int(np.flatnonzero(found != self._n_tokens[rows])[0])
            raise InputError(
                f"sample '{ids[row]}' has {found[row]} tokens, but prepare counted "
                f"{self._n_tokens[rows[row]]}: the tokenizer has changed since; start another run"
            )
        try:
            extracted: Mapping[tuple[str, str], npt.NDArray[np.float32]] = self._model.extract(
                self._pad(encodings, self._tokenizer.pad_id)
            )
        except NonFiniteActivation as error:
            raise InputError(
                f"model '{self._plan.name}', sample '{ids[error.row]}': {error}: leave it out with "
                "dataset.exclude, or choose a wider dtype"
            ) from error
        return extracted


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
