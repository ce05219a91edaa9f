"""Named columns out of a user's table: JSON lines, CSV, TSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcgeom.data.files import read_text_file, readable, require_file
from hpcgeom.data.wording import listed, nearest
from hpcgeom.errors import InputError

TABLE_SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Table:
    """Some columns of a table, with the place that each row came from.

    Attributes
    ----------
    path
        The file.
    columns
        Column name to one value per row, as the file holds them.
    numbers
        One per row: the line it starts on, or its row number (from 0) in Parquet.
    n_blank
        Blank lines between rows, skipped.
    """

    path: Path
    columns: Mapping[str, Sequence[object]]
    numbers: Sequence[int]
    n_blank: int = 0

    def place(self, row: int) -> str:
        """Return ``file:line``, or ``file row n`` in Parquet."""
        number = self.numbers[row]
        return f"{self.path} row {number}" if suffix_of(self.path) == ".parquet" else f"{self.path}:{number}"

    def names(self, column: str) -> tuple[str, ...]:
        """Return a column of strings or whole numbers, as strings; ``None`` becomes an empty string.

        Raises
        ------
        InputError
            If a value is of another type.
        """
        return tuple(self._name(row, column, value) for row, value in enumerate(self.columns[column]))

    def strings(self, column: str) -> tuple[str, ...]:
        """Return a column of strings; ``None`` becomes an empty string.

        Raises
        ------
        InputError
            If a value is of another type.
        """
        return tuple(self._string(row, column, value) for row, value in enumerate(self.columns[column]))

    def _name(self, row: int, column: str, value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return (
            str(value) if isinstance(value, int) else self._string(row, column, value, "a string or integer")
        )

    def _string(self, row: int, column: str, value: object, expected: str = "a string") -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InputError(
                f"{self.place(row)}: column {column!r} is {value!r} ({type(value).__name__}); "
                f"expected {expected}: write it as one"
            )
        return value


def suffix_of(path: Path | str) -> str:
    """Return the suffix in lower case, with ``.gz`` where the name ends in it: ``.csv.gz``."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


def require_suffix(path: Path | str, accepted: Sequence[str]) -> Path:
    """Return the path of an existing file with one of the accepted suffixes.

    Raises
    ------
    InputError
        If it is a folder, a pattern, does not exist, or has another suffix.
    """
    path = Path(path)
    with readable(path):
        is_folder, exists = path.is_dir(), path.exists()
    if is_folder:
        raise InputError(f"{path} is a folder; expected one file: {', '.join(accepted)}; name one in it")
    if not exists and any(mark in path.name for mark in "*?["):
        raise InputError(f"{path} is a pattern; expected one file: {', '.join(accepted)}; name one")
    if not exists and not path.suffix:
        raise InputError(
            f"{path} does not exist and has no suffix; expected a file of one of {', '.join(accepted)}. A "
            "data set of a hub, or one that a script loads, is not read: save the split that you mean as "
            ".parquet where you trust it, and name that file"
        )
    if suffix_of(path) not in accepted:
        found = repr(suffix_of(path)) if path.suffix else "none"
        raise InputError(
            f"{path}: the suffix is {found}; expected one of {', '.join(accepted)}: convert the file"
        )
    return require_file(path)


def read_table(path: Path | str, columns: Sequence[str]) -> Table:
    """Read some columns of a .jsonl, .csv, .tsv (each also .gz) or .parquet file.

    Raises
    ------
    InputError
        If the file cannot be read, a line does not parse, a column is missing (with those found and the
        nearest), or there are no rows.
    """
    path = require_suffix(path, TABLE_SUFFIXES)
    suffix = suffix_of(path).removesuffix(".gz")
    wanted = tuple(dict.fromkeys(columns))
    if suffix == ".parquet":
        table = _parquet(path, wanted)
    elif suffix == ".jsonl":
        table = _json_lines(path, wanted)
    else:
        table = _delimited(path, wanted, "\t" if suffix == ".tsv" else ",")
    if not table.numbers:
        raise InputError(f"{path} has columns and no rows; expected at least one row: check the file")
    return table


def _require_columns(place: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    if repeated := sorted({name for name in found if found.count(name) > 1}):
        raise InputError(f"{place}: column {listed(repeated)} occurs more than once; rename one")
    for name in wanted:
        if name not in found:
            raise InputError(
                f"{place}: no column {name!r}{nearest(name, found)}; "
                f"found: {listed(found, shown=20) or 'none'}; rename it, or name another one"
            )


def _json_lines(path: Path, wanted: Sequence[str]) -> Table:
    columns: dict[str, list[object]] = {name: [] for name in wanted}
    numbers, n_blank = [], 0
    for number, line in enumerate(read_text_file(path).rstrip().split("\n"), start=1):
        if not line.strip():
            n_blank += 1
            continue
        row = _json_object(f"{path}:{number}", line)
        _require_columns(f"{path}:{number}", list(row), wanted)
        numbers.append(number)
        for name in wanted:
            columns[name].append(row[name])
    return Table(path, columns, numbers, n_blank)


def _json_object(place: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: not JSON ({error}); expected one object a line: correct the line"
        ) from error
    if not isinstance(row, dict):
        raise InputError(
            f"{place}: {type(row).__name__} found; expected one JSON object a line: correct the line"
        )
    return row


def _delimited(path: Path, wanted: Sequence[str], delimiter: str) -> Table:
    with contextlib.closing(_split_rows(path, delimiter)) as rows:
        return _columns_of(path, rows, wanted)


def _columns_of(path: Path, rows: Iterator[tuple[int, list[str]]], wanted: Sequence[str]) -> Table:
    header_line, header = next((number, fields) for number, fields in rows if fields)
    _require_columns(f"{path}:{header_line}", header, wanted)
    positions = {name: header.index(name) for name in wanted}
    columns: dict[str, list[object]] = {name: [] for name in wanted}
    numbers, n_blank = [], 0
    for number, fields in rows:
        if not fields:
            n_blank += 1
            continue
        if len(fields) != len(header):
            raise InputError(
                f"{path}:{number}: {len(fields)} fields found, {len(header)} expected from the header; "
                "quote fields that hold the separator"
            )
        numbers.append(number)
        for name, position in positions.items():
            columns[name].append(fields[position])
    return Table(path, columns, numbers, n_blank)


def _split_rows(path: Path, delimiter: str) -> Generator[tuple[int, list[str]], None, None]:
    lines = io.StringIO(read_text_file(path).rstrip("\n"), newline="\n")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    limit = csv.field_size_limit(sys.maxsize)  # texts are longer than the default of 131,072 characters
    line = 1
    try:
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{line}: not a valid row ({error}); check its quotes") from error
    finally:
        csv.field_size_limit(limit)


def _parquet(path: Path, wanted: Sequence[str]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        _require_columns(str(path), file.schema_arrow.names, wanted)
        columns: dict[str, list[object]] = file.read(columns=list(wanted)).to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}): write or copy it again") from error
    return Table(path, columns, range(len(columns[wanted[0]])))
