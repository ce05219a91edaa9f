"""The samples of points that exist already, where models say which samples their rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpcgeom.data.arrays import array_samples, layer_files, points_shape
from hpcgeom.data.files import read_text_file
from hpcgeom.data.matched import common_ids, rows_of
from hpcgeom.data.samples import Samples
from hpcgeom.errors import InputError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import ArraysDataset, ArraysModel


def read_ids(path: Path, n: int, what: str = "the arrays") -> list[str]:
    """Ids of a file, one a line.

    Raises
    ------
    InputError
        There are not `n` of them.
    """
    ids = read_text_file(path).rstrip("\n").split("\n")
    if len(ids) != n:
        raise InputError(f"{path} has {len(ids)} ids, but {what} have {n} points: give one id a line")
    return ids


def matched_samples(models: Sequence[ArraysModel], dataset: ArraysDataset, folder: Path) -> Samples:
    """The samples of models with ids of their own: those of the data set, else of the first model, in order.

    Raises
    ------
    InputError
        Models have different samples and `dataset.samples` is not ``intersect``, or none is in all.
    """
    own = {f"model '{model.name}'": _own_ids(model, dataset, folder) for model in models}
    of_dataset = {}
    if dataset.ids is not None:
        text = read_text_file(resolve_path(folder, dataset.ids))
        of_dataset = {"dataset.ids": text.rstrip("\n").split("\n")}
    ids, notices = common_ids({**of_dataset, **own}, intersect=dataset.samples == "intersect")
    n_features = points_shape(_first_layer(models[-1], folder))[0][1]
    return replace(array_samples(len(ids), n_features, ids), notices=notices)


def rows_of_model(
    model: ArraysModel, dataset: ArraysDataset, folder: Path, ids: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Rows of samples in the arrays of a model, (len(ids),).

    Raises
    ------
    InputError
        Its ids have changed.
    """
    return rows_of(ids, _own_ids(model, dataset, folder), f"model '{model.name}'")


def _own_ids(model: ArraysModel, dataset: ArraysDataset, folder: Path) -> list[str]:
    """Ids of the rows of a model: its own, else those of the data set, else numbers."""
    n = points_shape(_first_layer(model, folder))[0][0]
    name = model.ids if model.ids is not None else dataset.ids
    if name is None:
        return [str(row) for row in range(n)]
    return read_ids(resolve_path(folder, name), n, f"the arrays of model '{model.name}'")


def _first_layer(model: ArraysModel, folder: Path) -> Path:
    return next(iter(layer_files(model.source, folder).values()))
