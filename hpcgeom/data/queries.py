"""Queries behind the samples that they are searched in: one set of samples, with two roles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpcgeom.data.names import check_ids
from hpcgeom.data.samples import Samples
from hpcgeom.data.wording import counted, listed
from hpcgeom.errors import InputError

PREFIX = "query-"
"""Stands before ids that are made of rows or lines, so that those of queries are others."""


def with_queries(base: Samples, queries: Samples, base_path: object = "", query_path: object = "") -> Samples:
    """Put queries behind the samples of a data set.

    Parameters
    ----------
    base, queries
        Samples without queries, with labels of the same names.
    base_path, query_path
        Where they come from, for messages.

    Returns
    -------
    Samples
        All of them, `base` first, each in its order; notices of the queries say so.

    Raises
    ------
    InputError
        If one of them holds queries already, an id is on both sides, or a label is on one side only.
    """
    if base.n_queries or queries.n_queries:
        n_found = base.n_queries or queries.n_queries
        raise InputError(
            f"expected samples without queries, found {counted(n_found, 'sample')} that are some: take them "
            "out"
        )
    if only := sorted({*base.labels} ^ {*queries.labels}):
        raise InputError(
            f"labels {listed(only)} are of the data set or of its queries only: expected the same labels of "
            "both, so give them to both"
        )
    check_ids((*base.ids, *queries.ids), _place(len(base), base_path, query_path))
    return Samples(
        ids=(*base.ids, *queries.ids),
        texts=(*base.texts, *queries.texts),
        lengths=np.concatenate([base.lengths, queries.lengths]),
        labels={name: (*values, *queries.labels[name]) for name, values in base.labels.items()},
        digests=(*base.digests, *queries.digests),
        notices=(*base.notices, *(f"queries: {notice}" for notice in queries.notices)),
        n_queries=len(queries),
    )


def _place(n_base: int, base_path: object, query_path: object) -> Callable[[int], str]:
    def place(row: int) -> str:
        if row < n_base:
            return " ".join(filter(None, (f"sample {row} of the data set", str(base_path))))
        return " ".join(filter(None, (f"query {row - n_base}", str(query_path))))

    return place
