"""Queries behind the samples that they are searched in: order, roles, ids, identity."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpcgeom.data import make_samples, read_samples, take, with_queries, write_samples
from hpcgeom.errors import DamagedError, InputError

BASE = make_samples(["a", "b", "c"], ["MK", "ML", "MM"], labels={"fold": ["x", "y", "x"]}, notices=["short"])
QUERIES = make_samples(["q", "r"], ["MA", "MC"], labels={"fold": ["y", "z"]}, notices=["long"])


def test_queries_stand_behind_the_data_set_in_their_order():
    both = with_queries(BASE, QUERIES)
    assert both.ids == ("a", "b", "c", "q", "r")
    assert both.texts == ("MK", "ML", "MM", "MA", "MC")
    assert both.labels == {"fold": ("x", "y", "x", "y", "z")}
    assert both.roles == ("base", "base", "base", "query", "query")
    assert (both.n_base, both.n_queries, len(both)) == (3, 2, 5)
    assert both.notices == ("short", "queries: long")
    assert both.digests == BASE.digests + QUERIES.digests


def test_the_identity_of_samples_knows_which_are_queries():
    one, two = (
        with_queries(take(BASE, [0, 1]), take(BASE, [2])),
        with_queries(take(BASE, [0]), take(BASE, [1, 2])),
    )
    assert one.ids == two.ids == BASE.ids
    assert len({one.digest, two.digest, BASE.digest}) == 3


def test_roles_survive_a_file_and_a_selection(tmp_path):
    both = with_queries(BASE, QUERIES)
    write_samples(both, tmp_path / "samples.parquet")
    assert pq.read_table(tmp_path / "samples.parquet")["role"].to_pylist() == list(both.roles)
    again = read_samples(tmp_path / "samples.parquet")
    assert (again.ids, again.n_queries, again.digest) == (both.ids, 2, both.digest)
    some = take(both, [0, 2, 4])
    assert (some.ids, some.roles) == (("a", "c", "r"), ("base", "base", "query"))


def test_an_id_on_both_sides_is_named_with_both_places():
    with pytest.raises(InputError, match=r"'b' \(sample 1 of the data set a.fa and query 0 q.fa\)"):
        with_queries(BASE, make_samples(["b"], ["MA"], labels={"fold": ["y"]}), "a.fa", "q.fa")


@pytest.mark.parametrize(
    ("base", "queries", "expected"),
    [
        (BASE, make_samples(["q"], ["MA"]), "labels 'fold' are of the data set or of its queries only"),
        (
            with_queries(BASE, QUERIES),
            QUERIES,
            "expected samples without queries, found 2 samples that are some: take them",
        ),
        (BASE, with_queries(QUERIES, take(BASE, [0])), "samples without queries, found 1 sample that"),
    ],
    ids=["labels of one side", "queries before", "queries of queries"],
)
def test_refuses(base, queries, expected):
    with pytest.raises(InputError, match=expected):
        with_queries(base, queries)


def test_a_query_cannot_be_put_before_the_data_set():
    both = with_queries(BASE, QUERIES)
    with pytest.raises(InputError, match="rows put a query before a sample that is none: name the queries"):
        take(both, [3, 0])
    with pytest.raises(InputError, match=r"1 of 1 sample are queries: expected at least one sample .*: add"):
        take(both, [3])


def test_a_table_of_samples_with_mixed_roles_is_damaged(tmp_path):
    path = tmp_path / "samples.parquet"
    write_samples(with_queries(BASE, QUERIES), path)
    table = pq.read_table(path)
    for roles in (["query", *["base"] * 4], ["base", "target", "base", "query", "query"]):
        pq.write_table(table.set_column(3, "role", pa.array(roles)), path)
        with pytest.raises(DamagedError, match="has roles out of order: expected base, then query"):
            read_samples(path)
