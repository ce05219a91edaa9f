"""What an extract unit reads: rows of arrays, or texts of the data set that are still the same."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpcgeom.data.arrays import layer_files, read_rows, take_rows
from hpcgeom.data.samples import Samples, read_samples
from hpcgeom.errors import DamagedError, InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.manifest.sections import ArraysDataset, ArraysModel, ImagesDataset, Manifest
from hpcgeom.plan import paths
from hpcgeom.plan.array_samples import rows_of_model
from hpcgeom.plan.dataset import read_dataset
from hpcgeom.plan.sequences import Sequences
from hpcgeom.stages.run import Run


@functools.lru_cache(maxsize=1)
def manifest_of(run: Run) -> Manifest:
    """The manifest that a run was prepared from."""
    return load_manifest(run.sound(paths.MANIFEST), run.plan.manifest_folder).manifest


@functools.lru_cache(maxsize=1)
def samples_of(run: Run) -> Samples:
    """The samples with their texts, checked against ``samples.parquet``; images when they are read.

    Raises
    ------
    InputError
        The data set has changed since the run was prepared.
    """
    manifest = manifest_of(run)
    is_images = isinstance(manifest.dataset, ImagesDataset)
    samples = read_dataset(manifest, Path(run.plan.manifest_folder), with_digests=not is_images)
    known = read_samples(run.sound(paths.SAMPLES))
    if is_images and (samples.ids, samples.n_queries) == (known.ids, known.n_queries):
        return replace(samples, digests=known.digests)
    if samples.digest != known.digest:
        raise InputError(
            f"the data set of {run.root} has changed since it was prepared "
            f"(sample digest {samples.digest[:12]}, expected {known.digest[:12]}): "
            "restore it, or start another run"
        )
    return samples


def read_sequences(run: Run, model: str) -> tuple[Sequences, npt.NDArray[np.int32]]:
    """The sequences of a model, and the batch (within its unit) of each.

    Raises
    ------
    DamagedError
        The table that prepare wrote cannot be read.
    """
    import pyarrow.parquet as pq

    path = run.sound(paths.prepared(model))
    try:
        table = pq.ParquetFile(path).read()
        names = ("row", "window", "n_tokens", "n_ordinary", "n_before")
        return Sequences(*(table[name].to_numpy() for name in names)), table["batch"].to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise DamagedError(f"{path} cannot be read ({error}): hpcgeom verify, then hpcgeom resume") from error


def points_of(run: Run, model: str, layers: Sequence[int], start: int, stop: int) -> npt.NDArray[np.floating]:
    """Rows of points that exist already: (layers, rows, features).

    Raises
    ------
    InputError
        A value is not finite; names the sample and the layer.
    """
    section = _section(run, model)
    n_base, folder = run.plan.samples.n_base, Path(run.plan.manifest_folder)
    matched = _matched_rows(run, model)
    parts = []
    for source, first, last in ((section.source, 0, n_base), (section.query_source, n_base, stop)):
        low, high = max(start, first), min(stop, last)
        if source is not None and low < high:
            files = layer_files(source, folder, layers)
            if matched is not None and first == 0:
                rows = [take_rows(files[layer], matched[low:high]) for layer in layers]
            else:
                rows = [read_rows(files[layer], low - first, high - first) for layer in layers]
            parts.append(np.stack(rows))
    block = np.concatenate(parts, axis=1)
    refuse_non_finite(block, layers, start, f"model '{model}'")
    return block


def _section(run: Run, model: str) -> ArraysModel:
    section = next(item for item in manifest_of(run).all_models if item.name == model)
    assert isinstance(section, ArraysModel), model
    return section


@functools.lru_cache(maxsize=1)
def _matched_rows(run: Run, model: str) -> npt.NDArray[np.int64] | None:
    """The row of every sample in the arrays of a model; None where rows are the samples, in order."""
    dataset = manifest_of(run).dataset
    assert isinstance(dataset, ArraysDataset), dataset
    if all(item.ids is None for item in manifest_of(run).all_models if isinstance(item, ArraysModel)):
        return None
    ids = read_samples(run.sound(paths.SAMPLES)).ids[: run.plan.samples.n_base]
    return rows_of_model(_section(run, model), dataset, Path(run.plan.manifest_folder), ids)


def refuse_non_finite(block: npt.NDArray[np.floating], layers: Sequence[int], start: int, where: str) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    InputError
        A value is not finite; names the row and the layer.
    """
    wrong = np.argwhere(~np.isfinite(block).all(axis=2))
    if len(wrong):
        position, row = (int(value) for value in wrong[0])
        raise InputError(
            f"{where}: layer {layers[position]} of row {start + row} is not finite ({block.dtype}), as are "
            f"{len(wrong) - 1} more: mend these points"
        )
