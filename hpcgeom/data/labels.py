"""Labels of samples, from a table by id or from a list in sample order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpcgeom.data.files import read_text_file
from hpcgeom.data.npy import map_npy, read_npy_header
from hpcgeom.data.tables import TABLE_SUFFIXES, read_table, require_suffix, suffix_of
from hpcgeom.data.wording import counted, listed
from hpcgeom.errors import InputError

_LIST_SUFFIXES = (".npy", ".txt", ".txt.gz")


def labels_from_file(
    path: Path | str, ids: Sequence[str], *, id_column: str = "id", label_column: str = "label"
) -> tuple[str, ...]:
    """Read one label per sample.

    Parameters
    ----------
    path
        A table (.tsv, .csv, .jsonl, each also .gz, or .parquet) with one row per id; rows of other ids
        are ignored. Or a .npy or .txt with one value per sample, in sample order.
    ids
        The samples, in order.
    id_column, label_column
        The columns of a table.

    Returns
    -------
    tuple of str
        One per sample, in the order of `ids`.

    Raises
    ------
    InputError
        If the file cannot be read, samples have no label (with their ids), a list has another length
        (with both numbers), or an id has two different labels.
    """
    path = require_suffix(path, (*TABLE_SUFFIXES, *_LIST_SUFFIXES))
    if suffix_of(path) in _LIST_SUFFIXES:
        labels = values_in_order(path, len(ids))
    else:
        found = _by_id(path, id_column, label_column)
        labels = tuple(found.get(sample_id, "") for sample_id in ids)
    missing = [sample_id for sample_id, label in zip(ids, labels, strict=True) if not label.strip()]
    if missing:
        raise InputError(
            f"{len(missing)} of {counted(len(ids), 'sample')} without a label in {path}: {listed(missing)}; "
            "add them to the file, or exclude them"
        )
    return labels


def values_in_order(path: Path | str, n_samples: int) -> tuple[str, ...]:
    """Read one string per sample from a .npy (strings, integers, booleans) or a .txt (one a line).

    Raises
    ------
    InputError
        If the file cannot be read, holds values of another type or shape, or of another number.
    """
    path = require_suffix(path, _LIST_SUFFIXES)
    if suffix_of(path) == ".npy":
        values = _npy_strings(path)
    else:
        values = tuple(line.strip() for line in read_text_file(path).rstrip("\n").split("\n"))
    if len(values) != n_samples:
        raise InputError(
            f"{path} has {counted(len(values), 'value')} for {counted(n_samples, 'sample')}; "
            "give one per sample, in sample order"
        )
    return values


def encode(labels: Sequence[str]) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Turn labels into class codes.

    Returns
    -------
    codes : ndarray of int32, shape (N,)
        Position of each label in `classes`.
    classes : tuple of str
        The distinct labels, sorted by code point.
    """
    classes = tuple(sorted(set(labels)))
    codes = {label: code for code, label in enumerate(classes)}
    return np.array([codes[label] for label in labels], dtype=np.int32), classes


def _by_id(path: Path, id_column: str, label_column: str) -> dict[str, str]:
    table = read_table(path, [id_column, label_column])
    found: dict[str, str] = {}
    for row, (sample_id, label) in enumerate(
        zip(table.names(id_column), table.names(label_column), strict=True)
    ):
        if found.setdefault(sample_id, label) != label:
            raise InputError(
                f"{table.place(row)}: {sample_id!r} has the label {label!r} here and "
                f"{found[sample_id]!r} before; keep one"
            )
    return found


def _npy_strings(path: Path) -> tuple[str, ...]:
    header = read_npy_header(path)
    if len(header.shape) != 1 or header.dtype.kind not in "iubU":
        raise InputError(
            f"{path} holds {header.dtype} of shape {header.shape}; expected one dimension of strings, "
            "integers or booleans: save it again as such"
        )
    values = map_npy(path).tolist()
    return tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
