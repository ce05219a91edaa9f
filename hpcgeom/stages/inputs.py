"""What an extract unit reads: rows of arrays, or texts of the data set that are still the same."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpcgeom.data.arrays import layer_files, read_rows
from hpcgeom.data.samples import read_samples
from hpcgeom.errors import DamagedError, InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.manifest.sections import Manifest
from hpcgeom.plan import paths
from hpcgeom.plan.dataset import read_dataset
from hpcgeom.stages.run import Run


@functools.lru_cache(maxsize=1)
def manifest_of(run: Run) -> Manifest:
    """The manifest that a run was prepared from."""
    return load_manifest(run.sound(paths.MANIFEST), run.plan.manifest_folder).manifest


@functools.lru_cache(maxsize=1)
def texts_of(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and texts of all samples, checked against ``samples.parquet``.

    Raises
    ------
    InputError
        The data set has changed since the run was prepared.
    """
    samples = read_dataset(manifest_of(run), Path(run.plan.manifest_folder))
    known = read_samples(run.sound(paths.SAMPLES))
    if samples.digest != known.digest:
        raise InputError(
            f"the data set of {run.root} has changed since it was prepared "
            f"(sample digest {samples.digest[:12]}, expected {known.digest[:12]}): "
            "restore it, or start another run"
        )
    return samples.ids, samples.texts


def read_batches(run: Run, model: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The batch (within its unit) and the token count of every row.

    Raises
    ------
    DamagedError
        The table that prepare wrote cannot be read.
    """
    import pyarrow.parquet as pq

    path = run.sound(paths.prepared(model))
    try:
        table = pq.ParquetFile(path).read()
        batch = table["batch"].to_numpy().astype(np.int32)
        return batch, table["n_tokens"].to_numpy().astype(np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise DamagedError(f"{path} cannot be read ({error}): hpcgeom verify, then hpcgeom resume") from error


def points_of(run: Run, model: str, layers: Sequence[int], start: int, stop: int) -> npt.NDArray[np.floating]:
    """Rows of points that exist already: (layers, rows, features).

    Raises
    ------
    InputError
        A value is not finite; names the sample and the layer.
    """
    manifest = manifest_of(run)
    source = next(item.source for item in manifest.models if item.name == model)
    files = layer_files(source, Path(run.plan.manifest_folder))  # type: ignore[arg-type]
    block = np.stack([read_rows(files[layer], start, stop) for layer in layers])
    refuse_non_finite(block, layers, start, f"model '{model}'")
    return block


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
