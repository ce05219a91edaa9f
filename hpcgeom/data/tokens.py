"""Samples that are rows of tokens already: OpenAI's encoded images, or any model's input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.data.notices import repeat_notice
from hpcgeom.data.npy import map_npy, read_npy_header
from hpcgeom.data.problems import refuse
from hpcgeom.data.samples import Samples, sample_digest
from hpcgeom.data.tables import read_table, require_suffix, suffix_of
from hpcgeom.data.wording import counted
from hpcgeom.errors import InputError

_MAX = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class TokenArray:
    """Rows of tokens in a file; made by `open_tokens`.

    Attributes
    ----------
    path
        The file.
    shape
        (n_rows, tokens in the longest row), padding included.
    pad_id
        The token that fills rows up at their end, or None.
    ids
        One per row where the file names them (.jsonl), else None.
    """

    path: Path
    shape: tuple[int, int]
    pad_id: int | None
    ids: tuple[str, ...] | None
    _rows: Sequence[npt.NDArray[Any]] | npt.NDArray[Any]
    _lines: Sequence[int] = ()

    def __len__(self) -> int:
        return self.shape[0]

    def row(self, row: int) -> npt.NDArray[np.int64]:
        """Return the tokens of one row, without the padding at its end.

        Returns
        -------
        ndarray of int64, shape (n_tokens,)
            At least one token.

        Raises
        ------
        InputError
            If there is no such row, nothing but padding is in it, or a token is negative or beyond int64.
        """
        if not 0 <= row < len(self):
            raise InputError(
                f"{self.path} has {counted(len(self), 'row')}; row {row} is not there: leave it out"
            )
        tokens = np.asarray(self._rows[row])
        if self.pad_id is not None:
            kept = np.flatnonzero(tokens != self.pad_id)
            if not len(kept):
                raise InputError(
                    f"{self._place(row)} is padding only ({self.pad_id}); remove the row, or correct pad_id"
                )
            tokens = tokens[: kept[-1] + 1]
        refused = (tokens < 0) | (tokens > _MAX)
        if refused.any():
            position = int(refused.argmax())
            raise InputError(
                f"{self._place(row)}: token {tokens[position]} at position {position}; expected a number "
                "from 0 to 2^63 - 1: correct it, or set pad_id if it is padding at the end"
            )
        return tokens.astype(np.int64)

    def _place(self, row: int) -> str:
        return f"{self.path}:{self._lines[row]}" if self._lines else f"{self.path} row {row}"


def open_tokens(path: Path | str, *, pad_id: int | None = None) -> TokenArray:
    """Open rows of tokens; a .npy is mapped, and its rows are checked when they are read.

    Parameters
    ----------
    path
        A .npy of integers, (n_rows, n_tokens), such as OpenAI's encoded ImageNet (1024 columns of 0 to
        511); or a .jsonl with ``id`` and ``tokens``, a list of integers of any length, on each line.
    pad_id
        Entries equal to it at the end of a row are padding and no tokens; elsewhere they are tokens. No
        padding where None.

    Raises
    ------
    InputError
        If the file cannot be read, holds anything but integers, has another shape, or no tokens.
    """
    path = require_suffix(path, (".npy", ".jsonl", ".jsonl.gz"))
    if suffix_of(path) != ".npy":
        return _json_rows(path, pad_id)
    header = read_npy_header(path)
    if header.dtype.kind not in "iu":
        raise InputError(f"{path} holds {header.dtype}; expected integers: save tokens as integers")
    if len(header.shape) != 2 or 0 in header.shape:
        raise InputError(
            f"{path} has shape {header.shape}; expected (rows, tokens), both at least 1: reshape it"
        )
    n_rows, n_tokens = header.shape
    return TokenArray(path, (n_rows, n_tokens), pad_id, None, map_npy(path))


def token_samples(tokens: TokenArray, ids: Sequence[str] | None = None) -> Samples:
    """Make the samples of rows of tokens; every row is read and checked.

    Texts are empty, lengths are tokens without padding, and digests are those of `token_digest`. Rows
    equal to an earlier one are counted in the notices.

    Parameters
    ----------
    ids
        One per row; those of the file, or row numbers, where None.

    Raises
    ------
    InputError
        If `TokenArray.row` refuses rows (the first ten are told), the number of ids is another, or
        `Samples` would refuse them.
    """
    names = tuple(ids) if ids is not None else tokens.ids or tuple(map(str, range(len(tokens))))
    if len(names) != len(tokens):
        raise InputError(
            f"{counted(len(names), 'id')} for {counted(len(tokens), 'row')} of {tokens.path}; "
            "give one per row"
        )
    lengths: list[int] = []
    hashes: list[str] = []
    problems: list[str] = []
    for row in range(len(tokens)):
        try:
            found = tokens.row(row)
        except InputError as error:
            problems.append(str(error))
            continue
        lengths.append(len(found))
        hashes.append(_hashed(found))
    refuse(tokens.path, problems)
    return Samples(
        ids=names,
        texts=("",) * len(names),
        lengths=np.array(lengths, dtype=np.int64),
        labels={},
        digests=tuple(map(sample_digest, names, hashes)),
        notices=tuple(repeat_notice(hashes, "rows of tokens")),
    )


def token_digest(sample_id: str, tokens: npt.NDArray[np.int64]) -> str:
    """Return the digest of a row: `sample_digest` of its id and the sha256 of its little-endian int64s."""
    return sample_digest(sample_id, _hashed(tokens))


def _hashed(tokens: npt.NDArray[np.int64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(tokens, dtype="<i8").tobytes()).hexdigest()


def _json_rows(path: Path, pad_id: int | None) -> TokenArray:
    table = read_table(path, ["id", "tokens"])
    ids = table.names("id")
    problems: list[str] = []
    rows: list[npt.NDArray[Any]] = []
    for row, value in enumerate(table.columns["tokens"]):
        if problem := _list_problem(value):
            problems.append(f"{table.place(row)}: {problem}")
        else:
            rows.append(np.array(value, dtype=np.int64))
    refuse(path, problems)
    longest = max(map(len, rows))
    return TokenArray(path, (len(rows), longest), pad_id, ids, rows, tuple(table.numbers))


def _list_problem(value: object) -> str:
    if not isinstance(value, list) or not value:
        return f"tokens are {str(value)[:40]!r}; expected a list of at least one integer: correct it"
    for position, token in enumerate(value):
        if isinstance(token, bool) or not isinstance(token, int):
            found = type(token).__name__
            return f"token {token!r} at position {position} is {found}; expected integers: correct it"
        if not -_MAX <= token <= _MAX:
            return (
                f"token {token} at position {position} is beyond 2^63 - 1; expected the number of a token: "
                "correct it"
            )
    return ""
