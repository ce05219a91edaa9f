"""Texts out of a table, or one per line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from hpcgeom.data.files import read_text_file
from hpcgeom.data.names import Place, check_labels
from hpcgeom.data.notices import blank_notice, repeat_notice
from hpcgeom.data.samples import Samples, make_samples
from hpcgeom.data.tables import TABLE_SUFFIXES, read_table, require_suffix, suffix_of
from hpcgeom.data.wording import counted, listed, nearest
from hpcgeom.errors import InputError

TEXT_SUFFIXES = (*TABLE_SUFFIXES, ".txt", ".txt.gz")
_COLUMNS: Mapping[str, str] = MappingProxyType({"id": "id", "text": "text"})


def read_text(
    path: Path | str,
    columns: Mapping[str, str] = _COLUMNS,
    labels: Mapping[str, str] | None = None,
) -> Samples:
    """Read texts from .jsonl, .csv, .tsv, .txt (each also .gz) or .parquet.

    Repeated texts stay, and are counted in the notices. Lengths are characters.

    Parameters
    ----------
    path
        One file. A .txt holds one text a line; its ids are the line numbers, as ``line-000001``,
        and blank lines are skipped.
    columns
        The columns that hold ``id`` (strings or integers) and ``text``, where they have other names.
    labels
        Name of a label to the column that holds it (strings, integers or booleans).

    Raises
    ------
    InputError
        If the file cannot be read, a line does not parse, a column is missing or of another type, an id
        occurs twice, or a text or label is empty.
    """
    path = require_suffix(path, TEXT_SUFFIXES)
    labels = labels or {}
    if unknown := sorted(set(columns) - set(_COLUMNS)):
        raise InputError(
            f"columns names {listed(unknown)}{nearest(unknown[0], _COLUMNS)}; expected id and text: correct "
            "it"
        )
    if suffix_of(path) in (".txt", ".txt.gz"):
        return _lines(path, {**columns, **labels})
    named = {**_COLUMNS, **columns}
    table = read_table(path, [named["id"], named["text"], *labels.values()])
    ids, texts = table.names(named["id"]), table.strings(named["text"])
    _refuse_empty(path, ids, texts, table.place)
    values = {name: table.names(column) for name, column in labels.items()}
    for name, of_label in values.items():
        check_labels(name, of_label, ids)
    notices = [*blank_notice(path, table.n_blank), *repeat_notice(texts, "texts")]
    return make_samples(ids, texts, labels=values, notices=notices, place=table.place)


def _lines(path: Path, columns: Mapping[str, str]) -> Samples:
    if named := {name: column for name, column in columns.items() if _COLUMNS.get(name) != column}:
        raise InputError(
            f"{path} is plain lines and has no column {listed(named.values())}; use a .csv or .jsonl"
        )
    lines = read_text_file(path).rstrip("\n").split("\n")
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
    texts = [lines[number - 1] for number in numbers]
    return make_samples(
        [f"line-{number:06d}" for number in numbers],
        texts,
        notices=[*blank_notice(path, len(lines) - len(numbers)), *repeat_notice(texts, "texts")],
        place=lambda row: f"{path}:{numbers[row]}",
    )


def _refuse_empty(path: Path, ids: Sequence[str], texts: Sequence[str], place: Place) -> None:
    if empty := [row for row, text in enumerate(texts) if not text.strip()]:
        raise InputError(
            f"{path}: {counted(len(empty), 'text')} of {len(texts)} empty: "
            f"{listed(ids[row] for row in empty)} (first at {place(empty[0])}); fill or remove them"
        )
