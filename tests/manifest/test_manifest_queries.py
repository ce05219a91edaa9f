"""The section of queries: what it may hold, what contradicts it, and that it changes no other manifest."""

from __future__ import annotations

import pytest
from manifest_examples import ARRAYS, BERT, FASTA, IMAGES, POINTS, TEXT, TOKENS, catalog

from hpcgeom.manifest import canonical, difference, manifest_digest

ESM = catalog("esm2")
GPT2 = catalog("gpt2")
IGPT = catalog("igpt")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        (TEXT + "  query: {path: q.tsv, columns: {id: name}}\n" + BERT, "TextQuery"),
        (FASTA + "  query: {path: q.fa}\n" + ESM, "FastaQuery"),
        (IMAGES + "  query: {path: q}\n" + IGPT, "ImagesQuery"),
        (TOKENS + "  query: {path: q.npy, ids: q.txt}\n" + GPT2, "TokensQuery"),
        (ARRAYS + "  query: {}\n" + POINTS + "    query_source: q{layer}.npy\n", "ArraysQuery"),
    ],
    ids=["text", "fasta", "images", "tokens", "arrays"],
)
def test_every_kind_of_samples_may_have_queries(load, text, query):
    manifest = load(text)
    assert type(manifest.dataset.query).__name__ == query
    assert canonical(manifest)["dataset"]["query"] is not None


@pytest.mark.parametrize("text", [TEXT + BERT, ARRAYS + POINTS], ids=["text", "arrays"])
def test_manifests_without_queries_keep_their_identity(load, text):
    settings = canonical(load(text))
    assert "query" not in settings["dataset"]
    assert "query_source" not in settings["models"][0]


def test_queries_are_in_the_digest_and_in_the_difference(load):
    without, one, other = (
        load(FASTA + query + ESM) for query in ("", "  query: {path: q.fa}\n", "  query: {path: r.fa}\n")
    )
    assert len({manifest_digest(each) for each in (without, one, other)}) == 3
    assert difference(canonical(one), canonical(other)) == ['dataset.query.path: "q.fa" -> "r.fa"']
    assert difference(canonical(without), canonical(one))[0].startswith("dataset.query: absent -> ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            FASTA + "  query: {}\n" + ESM,
            r"5: dataset.query.path: expected the key path \(The FASTA file of the queries\), found none",
        ),
        (
            FASTA + "  query: q.fa\n" + ESM,
            "5: dataset.query: expected a mapping of keys, found the text 'q.fa'",
        ),
        (
            FASTA + "  query: {path: q.fa, max_length: 3}\n" + ESM,
            "5: dataset.query.max_length: expected one of path, labels, found 'max_length'",
        ),
        (
            FASTA + "  query: {path: q.fa, labels: {fold: {header: 'x=(.)'}}}\n" + ESM,
            r"5: dataset.query.labels.fold: expected a name of dataset.labels \(it has none\), found 'fold'",
        ),
        (
            FASTA + "  labels: {fold: {file: fold.npy}}\n  query: {path: q.fa}\n" + ESM,
            "6: dataset.query.labels: expected the label 'fold', because fold.npy lists the labels of the",
        ),
        (
            TOKENS + "  query: {path: q.jsonl, ids: ids.txt}\n" + GPT2,
            "5: dataset.query.ids: expected no ids, because the lines of a .jsonl have a key id: remove ids",
        ),
        (
            ARRAYS + "  query: {}\n" + POINTS,
            r"7: models\[0\]: expected the key query_source, because there is dataset.query, found none",
        ),
        (
            ARRAYS + POINTS + "    query_source: q{layer}.npy\n",
            r"9: models\[0\].query_source: expected the key dataset.query beside query_source, found none: ",
        ),
        (
            ARRAYS + "  query: {}\n" + POINTS + "    query_source: q.npy\n",
            r"10: models\[0\].query_source: expected a path with \{layer\} in it once, such as",
        ),
    ],
    ids=lambda value: "" if "name: demo" in value else value[:40],
)
def test_contradictions_are_told_with_their_line(refused, text, expected):
    refused(text, expected)


def test_labels_in_tables_and_headers_are_inherited(load):
    manifest = load(
        FASTA
        + "  labels: {fold: {header: 'x=(.)'}, family: {file: family.tsv}, class: {file: class.txt}}\n"
        + "  query: {path: q.fa, labels: {class: {file: query_class.txt}}}\n"
        + ESM
    )
    assert manifest.labels == ("class", "family", "fold")
