"""The samples of a data set: who they are, what they hold, in which order."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.data.files import require_file
from hpcgeom.data.names import Place, check_ids, check_labels, is_encodable, numbered
from hpcgeom.data.wording import counted, listed, nearest
from hpcgeom.errors import DamagedError, InputError

_LABEL = "label:"
_COLUMNS = ("row", "id", "length", "role", "digest")
BASE, QUERY = "base", "query"
"""Roles of samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples in their order; row r of every array of a run is sample r.

    Attributes
    ----------
    ids
        One unique name per sample; no control characters, no line breaks.
    texts
        What the model reads, after truncation; empty strings for arrays and where only the table of
        samples was read back.
    lengths
        Shape (N,), int64: characters or residues after truncation, features for arrays. Read only.
    labels
        Name of a label to one string per sample.
    digests
        First 32 hex of the sha256 of ``id NUL content``, per sample. Labels are not part.
    notices
        What the user must be told about how the samples were read.
    n_queries
        How many of them, the last ones, are queries: their neighbors are looked for among those before.

    Raises
    ------
    InputError
        If there are no samples, or none but queries, the fields differ in length, an id or label is empty, an
        id occurs twice or holds a control character.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    lengths: npt.NDArray[np.int64]
    labels: Mapping[str, tuple[str, ...]]
    digests: tuple[str, ...]
    notices: tuple[str, ...] = ()
    n_queries: int = 0

    def __post_init__(self) -> None:
        check_ids(self.ids)
        if not 0 <= self.n_queries < len(self.ids):
            raise InputError(
                f"{self.n_queries} of {counted(len(self.ids), 'sample')} are queries: expected at least one "
                "sample that they are searched in: add some"
            )
        lengths = np.array(self.lengths, dtype=np.int64)
        lengths.setflags(write=False)
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "labels", {name: tuple(values) for name, values in self.labels.items()})
        for field in ("texts", "lengths", "digests"):
            if (n := len(getattr(self, field))) != len(self.ids):
                raise InputError(
                    f"{field} has {n} entries for {counted(len(self.ids), 'sample')}; give one per sample"
                )
        for name, values in self.labels.items():
            check_labels(name, values, self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_base(self) -> int:
        """How many samples, the first ones, may be neighbors."""
        return len(self.ids) - self.n_queries

    @property
    def roles(self) -> tuple[str, ...]:
        """``base`` or ``query``, per sample."""
        return (BASE,) * self.n_base + (QUERY,) * self.n_queries

    @property
    def digest(self) -> str:
        """Identity of ids, contents, order and roles: sha256 (64 hex) over the digests, one a line.

        Where there are queries, a line with their number follows.
        """
        lines = [*self.digests, *([f"{self.n_queries} queries"] if self.n_queries else [])]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def label_digest(self, name: str) -> str:
        """Identity of one label: sha256 (64 hex) over its values in sample order, as a JSON list.

        Raises
        ------
        InputError
            If there is no such label.
        """
        if name not in self.labels:
            raise InputError(
                f"no label {name!r}{nearest(name, self.labels)}; "
                f"found: {listed(sorted(self.labels)) or 'none'}: name one of these"
            )
        return hashlib.sha256(json.dumps(self.labels[name]).encode()).hexdigest()


def make_samples(
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    labels: Mapping[str, Sequence[str]] | None = None,
    notices: Iterable[str] = (),
    place: Place | None = None,
) -> Samples:
    """Make samples of texts: lengths are characters, digests are taken over ids and texts.

    Parameters
    ----------
    ids, texts
        One each per sample.
    labels
        Name of a label to one string per sample.
    notices
        What the user must be told.
    place
        Where a row came from, for messages; ``row <number>`` by default.

    Raises
    ------
    InputError
        If `Samples` would refuse them, or a text holds a NUL or half a surrogate pair.
    """
    place = place or numbered
    check_ids(ids, place)
    for row, text in enumerate(texts):
        if "\0" in text or not is_encodable(text):
            raise InputError(f"{place(row)}: the text holds a NUL or half a surrogate pair; remove it")
    return Samples(
        ids=tuple(ids),
        texts=tuple(texts),
        lengths=np.array([len(text) for text in texts], dtype=np.int64),
        labels={name: tuple(values) for name, values in (labels or {}).items()},
        digests=tuple(map(sample_digest, ids, texts)),
        notices=tuple(notices),
    )


def sample_digest(sample_id: str, content: str) -> str:
    """Return the first 32 hex of the sha256 of ``id NUL content``, in UTF-8."""
    return hashlib.sha256(f"{sample_id}\0{content}".encode()).hexdigest()[:32]


def first_rows(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return, per row, the first row that holds the same text: itself where the text is new.

    Returns
    -------
    ndarray of int64, shape (N,)
    """
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, row) for row, text in enumerate(texts)], dtype=np.int64)


def exclude(samples: Samples, ids: Iterable[str]) -> Samples:
    """Leave out samples by id; order and digests of the others stay.

    Raises
    ------
    InputError
        If an id is not there (with the nearest one), or nothing would be left.
    """
    unwanted = dict.fromkeys(ids)
    known = set(samples.ids)
    if missing := [sample_id for sample_id in unwanted if sample_id not in known]:
        shown = ", ".join(f"{name!r}{nearest(name, samples.ids)}" for name in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"{counted(len(missing), 'id')} to exclude not found among {counted(len(samples), 'sample')}: "
            f"{shown}{more}; correct or remove them"
        )
    rows = [row for row, sample_id in enumerate(samples.ids) if sample_id not in unwanted]
    if not rows:
        raise InputError(f"all {counted(len(samples), 'sample')} are excluded: keep at least one")
    told = (f"{counted(len(unwanted), 'sample')} of {len(samples)} excluded by id",) if unwanted else ()
    return take(samples, rows, notices=told)


def take(samples: Samples, rows: Sequence[int], notices: Iterable[str] = ()) -> Samples:
    """Return some samples, in the order of `rows`, with further notices.

    Raises
    ------
    InputError
        If a query would stand before a sample that is none, or nothing but queries would be left.
    """
    is_query = [row >= samples.n_base for row in rows]
    if is_query != sorted(is_query):
        raise InputError("rows put a query before a sample that is none: name the queries last")
    return Samples(
        ids=tuple(samples.ids[row] for row in rows),
        texts=tuple(samples.texts[row] for row in rows),
        lengths=samples.lengths[list(rows)],
        labels={name: tuple(values[row] for row in rows) for name, values in samples.labels.items()},
        digests=tuple(samples.digests[row] for row in rows),
        notices=(*samples.notices, *notices),
        n_queries=sum(is_query),
    )


def write_samples(samples: Samples, path: Path | str) -> None:
    """Write samples as Parquet: row, id, length, role, digest, and ``label:<name>`` per label.

    Roles are ``base`` and ``query``. Texts and notices are not written. Equal samples give equal bytes; the
    file appears whole or not at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    columns: dict[str, Any] = {
        "row": pa.array(np.arange(len(samples), dtype=np.int64)),
        "id": pa.array(samples.ids, pa.string()),
        "length": pa.array(samples.lengths, pa.int64()),
        "role": pa.array(samples.roles, pa.string()),
        "digest": pa.array(samples.digests, pa.string()),
    }
    for name in sorted(samples.labels):
        columns[_LABEL + name] = pa.array(samples.labels[name], pa.string())
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            pq.write_table(pa.table(columns), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_samples(path: Path | str) -> Samples:
    """Read what `write_samples` wrote; texts come back as empty strings.

    Raises
    ------
    InputError
        If there is no such file.
    DamagedError
        If it is not Parquet, or not a table of samples in their order.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = require_file(path)
    try:
        columns: dict[str, list[Any]] = pq.ParquetFile(path).read().to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read as Parquet ({error}): prepare the run again") from error
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise DamagedError(
            f"{path} is not a table of samples: it lacks {listed(missing)}; prepare the run again"
        )
    if columns["row"] != list(range(len(columns["row"]))):
        raise DamagedError(
            f"{path} is not in sample order: expected rows 0, 1, 2, ...; prepare the run again"
        )
    n_queries = columns["role"].count(QUERY)
    if columns["role"] != [BASE] * (len(columns["role"]) - n_queries) + [QUERY] * n_queries:
        raise DamagedError(
            f"{path} has roles out of order: expected {BASE}, then {QUERY}; prepare the run again"
        )
    try:
        return Samples(
            ids=tuple(columns["id"]),
            texts=("",) * len(columns["id"]),
            lengths=np.array(columns["length"], dtype=np.int64),
            labels={
                name.removeprefix(_LABEL): tuple(values)
                for name, values in columns.items()
                if name.startswith(_LABEL)
            },
            digests=tuple(columns["digest"]),
            n_queries=n_queries,
        )
    except (InputError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is not a table of samples ({error}); prepare the run again") from error
