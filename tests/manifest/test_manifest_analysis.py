"""One sentence with its line for all that is wrong with what is read and measured."""

from __future__ import annotations

import pytest
from manifest_examples import BERT, TEXT, catalog

from hpcgeom.manifest import manifest_digest


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            "modles: []",
            "9: modles: expected one of name, dataset, .*, found 'modles': did you mean 'models'?",
        ),
        ("resources: {}", "9: resources: expected one of name, .*geometry, found 'resources': remove it$"),
        (
            "neighbors: {K: 5}",
            "9: neighbors.K: expected one of k, metric, standardize, kernel, unit_work, found 'K'",
        ),
        (
            "neighbors: {standardize: resid}",
            "9: neighbors.standardize: expected true, false or a list of sites, found the text 'resid'",
        ),
        ("neighbors: {standardize: []}", "9: neighbors.standardize: expected at least 1 item, found none"),
        (
            "neighbors: {standardize: [resd]}",
            r"9: neighbors.standardize\[0\]: expected one of .*found .*'resd': did you mean 'resid'",
        ),
        (
            "neighbors: {standardize: [resid, mlp_out]}",
            r"9: neighbors.standardize\[1\]: expected one of representations.sites \(resid\), found 'mlp",
        ),
        (
            "neighbors: {kernel: float64}",
            "9: neighbors.kernel: expected .*float32.*found the text 'float64'",
        ),
        (
            "neighbors: {unit_work: 0.5}",
            "9: neighbors.unit_work: expected a number of at least 1.0, found .*0.5",
        ),
        ("neighbors: {unit_work: .inf}", "9: neighbors.unit_work: expected"),
        (
            "neighbors:",
            "9: neighbors: expected a mapping of keys, found nothing: give it a value, or remove the key",
        ),
        ("neighbors: [k]", "9: neighbors: expected a mapping of keys, found a list"),
        (
            "neighbors:\n  metric: cosine\n  k: true",
            "11: neighbors.k: expected an integer, found the boolean true",
        ),
        ("neighbors: {k: 64.0}", "9: neighbors.k: expected an integer, found the number 64.0"),
        ("neighbors: {k: '64'}", "9: neighbors.k: expected an integer, found the text '64'"),
        ("neighbors: {k: 012}", "9: neighbors.k: expected an integer, found the text '012'"),
        ("neighbors: {k: 1}", "9: neighbors.k: expected a number of at least 2, found the number 1"),
        ("neighbors: {k: -64}", "9: neighbors.k: expected a number of at least 2, found the number -64"),
        (
            "neighbors: {k: 99999999999999999999}",
            "9: neighbors.k: expected a number of at most 9223372036854775807",
        ),
        (
            "neighbors: {metric: euclidian}",
            "9: neighbors.metric: .*found the text 'euclidian': did you mean 'euclidean'",
        ),
        (
            "extract: {tokens_per_batch: 0}",
            "9: extract.tokens_per_batch: expected a number of at least 1, found .* 0",
        ),
        ("extract: {unit_rows: 300}", "9: extract.unit_rows: expected a power of two, found the number 300"),
        (
            "extract: {unit_rows: 128}",
            "9: extract.unit_rows: expected a number of at least 256, found the number 128",
        ),
        ("extract: {unit_rows: 16384}", "9: extract.unit_rows: expected a number of at most 8192"),
        ("representations: {sites: []}", "9: representations.sites: expected at least 1 item, found none"),
        (
            "representations: {sites: resid}",
            "9: representations.sites: expected a list, found the text 'resid'",
        ),
        (
            "representations: {sites: [resd]}",
            r"9: representations.sites\[0\]: .*or module:<glob>.*did you mean 'resid'",
        ),
        (
            "representations: {sites: ['module: ']}",
            r"9: representations.sites\[0\]: expected module:<glob> such as .*: write it so",
        ),
        (
            "representations:\n  sites:\n  - 3",
            r"11: representations.sites\[0\]: expected a text, found .* 3: put it in quotes",
        ),
        (
            "representations: {sites: [resid, resid]}",
            "9: representations.sites: .*every item once, found resid more than",
        ),
        (
            "representations: {pooling: [none]}",
            r"9: representations.pooling\[0\]: expected one of mean, .* or token:<i>, found the text 'none'",
        ),
        (
            "representations: {layers: al}",
            "9: representations.layers: expected all or a list of layer numbers, found",
        ),
        ("representations: {layers: 3}", "9: representations.layers: expected a list, found the number 3"),
        ("representations: {layers: []}", "9: representations.layers: expected at least 1 item, found none"),
        (
            "representations: {layers: [0, -1]}",
            r"9: representations.layers\[1\]: expected a number of at least 0, found",
        ),
        (
            "representations: {layers: [2, 1]}",
            r"9: representations.layers: expected strictly ascending numbers, found \[2, 1\]",
        ),
        (
            "representations: {layers: [1, 1]}",
            r"9: representations.layers: expected strictly ascending numbers, found \[1, 1\]: sort",
        ),
        (
            "representations: {store_dtype: bfloat16}",
            "9: representations.store_dtype: expected 'float32' or 'float16'",
        ),
        (
            "geometry: {estimators: [towNN]}",
            r"9: geometry.estimators\[0\]: expected 'twonn', .*found the text 'towNN'",
        ),
        (
            "geometry: {estimators: [gride, gride]}",
            "9: geometry.estimators: expected every item once, found gride more",
        ),
        ("geometry: {estimators: []}", "9: geometry.estimators: expected at least 1 item, found none"),
        (
            "geometry: {mu_fraction: 1}",
            "9: geometry.mu_fraction: expected a number less than 1.0, found the number 1",
        ),
        (
            "geometry: {mu_fraction: 0}",
            "9: geometry.mu_fraction: expected a number greater than 0.0, found the number 0",
        ),
        (
            "geometry: {mu_fraction: .nan}",
            "9: geometry.mu_fraction: expected a finite number, found the number nan",
        ),
        (
            "geometry: {mu_fraction: .inf}",
            "9: geometry.mu_fraction: expected a finite number, found the number inf",
        ),
        (
            "geometry: {mu_fraction: true}",
            "9: geometry.mu_fraction: expected a number, found the boolean true",
        ),
        ("geometry: {mu_fraction: 90%}", "9: geometry.mu_fraction: expected a number, found the text '90%'"),
        (
            "geometry: {gride_range_max: 48}",
            "9: geometry.gride_range_max: expected a power of two, found the number 48: round it",
        ),
        ("geometry: {gride_range_max: 1}", "9: geometry.gride_range_max: expected a number of at least 2"),
        (
            "geometry: {mu_fractions: [0.5, 1.5]}",
            r"9: geometry.mu_fractions\[1\]: expected a number of at most 1.0",
        ),
        (
            "geometry: {mu_fractions: [0.9, 0.5]}",
            r"9: geometry.mu_fractions: expected strictly ascending .*\[0.9, 0.5\]",
        ),
        (
            "geometry: {data_fractions: [0.5, 1]}",
            r"9: geometry.data_fractions: expected strictly descending numbers, .*: sort them",
        ),
        (
            "geometry: {data_fractions: [1, 1]}",
            r"9: geometry.data_fractions: expected strictly descending numbers",
        ),
        (
            "geometry: {data_fractions: [0]}",
            r"9: geometry.data_fractions\[0\]: expected a number greater than 0.0",
        ),
        ("geometry: {overlap_k: []}", "9: geometry.overlap_k: expected at least 1 item, found none"),
        (
            "geometry: {overlap_k: [0]}",
            r"9: geometry.overlap_k\[0\]: expected a number of at least 1, found the number 0",
        ),
        (
            "geometry: {overlap_k: [5, 2]}",
            r"9: geometry.overlap_k: expected strictly ascending numbers, found \[5, 2\]",
        ),
        (
            "geometry: {overlap_k: some}",
            "9: geometry.overlap_k: expected all or a list of numbers of neighbors, found the text 'some'",
        ),
        (
            "geometry: {error_splits: -1}",
            "9: geometry.error_splits: expected a number of at least 0, found the number -1",
        ),
        ("geometry: {jaccard: 1}", "9: geometry.jaccard: expected true or false, found the number 1"),
        (
            "geometry: {cross_model: no}",
            "9: geometry.cross_model: expected true or false, found the text 'no'",
        ),
        ("geometry: {cross_model: 1}", "9: geometry.cross_model: expected true or false, found the number 1"),
        ("geometry: {seed: -1}", "9: geometry.seed: expected a number of at least 0, found the number -1"),
        (
            "geometry: {labels: [a]}",
            r"9: geometry.labels\[0\]: .*dataset.labels \(it has none\), found 'a': add it to",
        ),
        (
            "geometry: {labels: [a, a]}",
            "9: geometry.labels: expected every item once, found a more than once",
        ),
        (
            "geometry: {overlap_k: [1, 65]}",
            "9: geometry.overlap_k: .*neighbors.k = 64, found 65: raise neighbors.k to 65 or",
        ),
        (
            "geometry: {gride_range_max: 128}",
            "9: geometry.gride_range_max: .*neighbors.k = 64, found 128: raise .* or take",
        ),
        (
            "geometry: {estimators: [levina_bickel], levina_bickel_k: [5, 65]}",
            "9: geometry.levina_bickel_k: .*neighbors.k = 64, found 65: raise neighbors.k to 65, or take 65",
        ),
        (
            "geometry: {levina_bickel_k: [1]}",
            r"9: geometry.levina_bickel_k\[0\]: expected a number of at least 2, found the number 1",
        ),
        (
            "geometry: {exclude_same: {a: b}}",
            r"9: geometry.exclude_same.a: .*overlap is measured \(there is none\), found 'a': add",
        ),
        (
            "geometry: {local_dimension_k: 65}",
            "9: geometry.local_dimension_k: .*neighbors.k = 64, found 65: raise neighbors.k to 65, or lower",
        ),
        (
            "geometry: {clusters: {z: 0}}",
            "9: geometry.clusters.z: expected a number greater than 0.0, found the number 0",
        ),
        (
            "neighbors: {k: 3}\ngeometry: {estimators: [twonn], overlap_k: [1], clusters: {}}",
            "10: geometry.clusters: expected neighbors.k of 4 or more, .* found 3: raise neighbors.k, 64 is",
        ),
        (
            "geometry: {token_clouds: 3}",
            r"9: geometry.token_clouds: .*without 'tokens' in representations.pooling, found \[mean\]: add",
        ),
        (
            "geometry: {plateau_tolerance: -0.1}",
            "9: geometry.plateau_tolerance: expected a number of at least 0",
        ),
    ],
)
def test_every_problem_of_a_section_has_its_line_and_what_to_do(refused, extra, expected):
    refused(TEXT + BERT + extra + "\n", expected)


def test_all_k_of_overlaps_are_those_of_the_lists(load):
    manifest = load(TEXT + BERT + "neighbors: {k: 70}\ngeometry: {overlap_k: all}\n")
    assert manifest.overlap_ks == tuple(range(1, 71))
    written_out = load(TEXT + BERT + f"neighbors: {{k: 70}}\ngeometry: {{overlap_k: {list(range(1, 71))}}}\n")
    assert manifest_digest(manifest) == manifest_digest(written_out)


def test_with_labels_of_queries_the_nearest_neighbor_is_asked_for(load):
    text = (
        "name: a\ndataset: {kind: fasta, path: a.fa, query: {path: b.fa}, labels: {x: {header: 'x=(.)'}}}\n"
    )
    assert load(text + catalog("esm2") + "geometry: {overlap_k: [5, 10]}\n").overlap_ks == (1, 5, 10)
    assert load(text + catalog("esm2") + "geometry: {overlap_k: [5], labels: []}\n").overlap_ks == (5,)
