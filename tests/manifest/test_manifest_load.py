"""Loading a manifest: what is accepted, and where its paths start."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifest_examples import ARRAYS, BERT, FASTA, MODULE, POINTS, TEXT

from hpcgeom.errors import InputError
from hpcgeom.manifest import load_manifest, resolve_path


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
    with pytest.raises(InputError, match="expected a path, found an empty text: write one"):
        resolve_path("/folder", " ")


@pytest.mark.parametrize(
    ("text", "found"), [("- a\n", "a list"), ("name\n", "the text 'name'"), ("3", "the number 3")]
)
def test_a_manifest_is_a_mapping(load, text, found):
    with pytest.raises(
        InputError,
        match=rf"m\.yaml:1: expected a mapping with the keys name, dataset, .*found {found}: write these",
    ):
        load(text)


def test_gride_needs_no_neighbors_when_it_is_not_asked_for(load):
    load(TEXT + BERT + "neighbors: {k: 2}\ngeometry: {estimators: [twonn], overlap_k: [1, 2]}\n")


@pytest.mark.parametrize(
    "name", ["-x", ".x", "..", "a/b", "a b", "\u0430bc", "x" * 101, "café", "a\\n", "''"]
)
def test_names_that_are_no_file_names_everywhere_are_refused(refused, name):
    text = TEXT.replace("demo", f'"{name}"' if "\\" in name else name)
    refused(
        text + BERT,
        "1: name: expected 1 to 100 of the characters A-Z a-z 0-9 . _ -, the first a letter or a dig",
    )


def test_the_longest_name_is_accepted(load):
    assert load(TEXT.replace("demo", "x" * 100) + BERT).name == "x" * 100


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(refused):
    refused(
        "neighbors: {k: 5}\ngeometry: {overlap_k: [10], estimators: [twonn]}\nname: -x\n"
        "models:\n  - {name: a, family: bert, source: b, dtype: int8, x: 1}\n"
        "  - {name: a, family: gpt}\ndata: 3\n",
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
        r"9: neighbors.k: expected an integer, found .{70,90} \.\.\.: correct it$",
    )
