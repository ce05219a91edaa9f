"""Samples of a manifest with queries: every kind is read, named apart, labeled and excluded."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import plan_examples
import pytest
from PIL import Image

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.assemble import assemble, refuse_unsearchable
from hpcgeom.plan.batches import form_batches
from hpcgeom.plan.dataset import dataset_files, read_dataset, samples_plan
from hpcgeom.plan.drafts import draft_arrays
from hpcgeom.plan.plan import Plan
from hpcgeom.plan.points import n_base_points, n_points
from hpcgeom.plan.sequences import SampleTokens

MODELS = {
    "text": "{name: m, family: gpt2, source: org/name}",
    "fasta": "{name: m, family: esm2, source: org/name}",
    "images": "{name: m, family: igpt, source: org/name}",
    "tokens": "{name: m, family: gpt2, source: org/name}",
    "arrays": "{name: m, family: arrays, source: 'm{layer}.npy', query_source: 'q{layer}.npy'}",
}


def write(folder: Path, dataset: str, kind: str | None = None) -> Path:
    path = folder / "m.yaml"
    kind = kind or dataset.partition(",")[0].removeprefix("{kind: ")
    path.write_text(f"name: m\ndataset: {dataset}\nmodels: [{MODELS[kind]}]\n")
    return path


def read(folder: Path, dataset: str):
    return read_dataset(load_manifest(write(folder, dataset)).manifest, folder)


def write_fasta(path: Path, **sequences: str) -> None:
    path.write_text("".join(f">{name} sf={name[0]}\n{text}\n" for name, text in sequences.items()))


def test_proteins_inherit_lengths_duplicates_and_labels_of_headers(tmp_path):
    write_fasta(tmp_path / "a.fa", a1="MKL", a2="MKL", b1="MMMM")
    write_fasta(tmp_path / "q.fa", a3="MKL", b2="MCMMM", c1="MA", c2="MA")
    found = read(
        tmp_path,
        "{kind: fasta, path: a.fa, max_length: 4, too_long: truncate, duplicates: drop,"
        r" labels: {sf: {header: 'sf=(\S+)'}}, query: {path: q.fa}}",
    )
    # a query that equals a sample of the data set is a query all the same
    assert found.ids == ("a1", "b1", "a3", "b2", "c1")
    assert found.roles == ("base", "base", "query", "query", "query")
    assert found.texts[3] == "MCMM"
    assert found.labels == {"sf": ("a", "b", "a", "b", "c")}
    assert "queries: 1 of 4 sequences cut to 4 residues: 'b2 (5)'" in found.notices


def test_texts_may_have_other_columns_and_label_columns(tmp_path):
    (tmp_path / "a.tsv").write_text("id\ttext\ttopic\n1\tone\tx\n2\ttwo\ty\n")
    (tmp_path / "q.tsv").write_text("name\tline\tsubject\n3\tthree\ty\n")
    found = read(
        tmp_path,
        "{kind: text, path: a.tsv, labels: {topic: {column: topic}}, query: {path: q.tsv,"
        " columns: {id: name, text: line}, labels: {topic: {column: subject}}}}",
    )
    assert (found.ids, found.texts, found.labels) == (
        ("1", "2", "3"),
        ("one", "two", "three"),
        {"topic": ("x", "y", "y")},
    )


def test_lines_and_rows_without_ids_are_named_apart(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with gzip.open(tmp_path / "q.txt.gz", "wt") as file:
        file.write("three\n")
    lines = read(tmp_path, "{kind: text, path: a.txt, query: {path: q.txt.gz}}")
    assert lines.ids == ("line-000001", "line-000002", "query-line-000001")
    np.save(tmp_path / "a.npy", np.array([[1, 2], [3, 4]]))
    np.save(tmp_path / "q.npy", np.array([[5, 6]]))
    rows = read(tmp_path, "{kind: tokens, path: a.npy, query: {path: q.npy}}")
    assert rows.ids == ("0", "1", "query-0")
    for name, n in (("m0", 3), ("q0", 2)):
        np.save(tmp_path / f"{name}.npy", np.ones((n, 2), np.float32))
    assert read(tmp_path, "{kind: arrays, query: {}}").ids == ("0", "1", "2", "query-0", "query-1")


def test_rows_of_tokens_of_both_files_are_read_by_their_number(tmp_path):
    from hpcgeom.stages.contents import Contents

    np.save(tmp_path / "a.npy", np.array([[1, 2, 0], [3, 4, 5], [6, 0, 0]]))
    with (tmp_path / "q.jsonl").open("w") as file:
        for name, tokens in (("q", [7]), ("r", [8, 9, 0])):
            file.write(json.dumps({"id": name, "tokens": tokens}) + "\n")
    dataset = "{kind: tokens, path: a.npy, pad_id: 0, exclude: ['1', q], query: {path: q.jsonl}}"
    manifest = load_manifest(write(tmp_path, dataset)).manifest
    found = read_dataset(manifest, tmp_path)
    assert (found.ids, found.n_queries) == (("0", "2", "r"), 1)
    rows = Contents(manifest, tmp_path, found).of(range(3))
    assert [row.tolist() for row in rows] == [[1, 2], [6], [8, 9]]


def test_images_of_another_folder_are_queries_with_the_labels_of_its_subfolders(tmp_path):
    for number, name in enumerate(("train/cat/1.png", "train/dog/2.png", "test/dog/3.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (number, 0, 0)).save(tmp_path / name)
    found = read(
        tmp_path,
        "{kind: images, path: train, per_class: 1, labels: {animal: {folder: true}}, query: {path: test}}",
    )
    assert found.ids == ("cat/1.png", "dog/2.png", "dog/3.png")
    assert found.labels == {"animal": ("cat", "dog", "dog")}
    assert Path(found.texts[2]) == tmp_path / "test/dog/3.png"


def test_labels_of_one_table_or_of_one_list_each(tmp_path):
    write_fasta(tmp_path / "a.fa", a1="MK", b1="MM")
    write_fasta(tmp_path / "q.fa", a2="MA")
    (tmp_path / "family.tsv").write_text("id\tlabel\na1\tx\na2\ty\nb1\tz\n")
    np.save(tmp_path / "fold.npy", np.array([1, 2]))
    np.save(tmp_path / "query_fold.npy", np.array([2]))
    dataset = (
        "{kind: fasta, path: a.fa, labels: {family: {file: family.tsv}, fold: {file: fold.npy}},"
        " query: {path: q.fa, labels: {fold: {file: query_fold.npy}}}}"
    )
    assert read(tmp_path, dataset).labels == {"family": ("x", "z", "y"), "fold": ("1", "2", "2")}
    manifest = load_manifest(tmp_path / "m.yaml").manifest
    names = [path.name for path in dataset_files(manifest, tmp_path)]
    assert names == ["a.fa", "family.tsv", "fold.npy", "q.fa", "query_fold.npy"]


def test_a_query_without_a_label_an_unknown_exclusion_and_an_id_on_both_sides_are_errors(tmp_path):
    write_fasta(tmp_path / "a.fa", a1="MK", b1="MM")
    write_fasta(tmp_path / "q.fa", a2="MA", b1="MC")
    (tmp_path / "family.tsv").write_text("id\tlabel\na1\tx\nb1\tz\n")
    start = "{kind: fasta, path: a.fa, query: {path: q.fa}"
    with pytest.raises(InputError, match=r"'b1' \(sample 1 of the data set a.fa and query 1 q.fa\)"):
        read(tmp_path, start + "}")
    with pytest.raises(InputError, match="1 id to exclude not found among 2 samples: 'c1'"):
        read(tmp_path, start + ", exclude: [c1]}")
    write_fasta(tmp_path / "q.fa", a2="MA")
    with pytest.raises(InputError, match=r"1 of 1 sample without a label in .*family.tsv: 'a2'"):
        read(tmp_path, start + ", labels: {family: {file: family.tsv}}}")


def arrays(folder: Path, **shapes: tuple[int, ...]) -> Path:
    for name, shape in shapes.items():
        np.save(folder / f"{name}.npy", np.ones(shape, np.float32))
    return write(folder, "{kind: arrays, query: {}}")


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"q0": (2, 3), "q1": (2, 4)}, "q1.npy has shape .2, 4., but .*q0.npy has .2, 3."),
        (
            {"q0": (2, 3), "q1": (2, 3)},
            "model 'm' has 4 features, but its queries have 3: give points of the",
        ),
        ({"q0": (2, 4)}, "model 'm' has layers 0, 1, but its queries have 0: give the same layers of both"),
    ],
    ids=["queries differ", "features", "layers"],
)
def test_arrays_of_queries_must_suit_those_of_the_data_set(tmp_path, shapes, expected):
    path = arrays(tmp_path, m0=(5, 4), m1=(5, 4), **shapes)
    with pytest.raises(InputError, match=expected):
        draft_arrays(load_manifest(path).manifest.models[0], tmp_path, with_digests=False)


def test_arrays_of_queries_are_files_of_the_plan(tmp_path):
    path = arrays(tmp_path, m0=(5, 4), q0=(2, 4))
    np.save(tmp_path / "q0.npy", np.ones((2, 4)))
    manifest = load_manifest(path).manifest
    draft = draft_arrays(manifest.models[0], tmp_path, with_digests=True)
    assert [Path(file.path).name for file in draft.files] == ["m0.npy", "q0.npy"]
    assert draft.store_dtype == "float64"  # as the wider of the two
    plan = samples_plan(read_dataset(manifest, tmp_path), [])
    assert (plan.n, plan.n_base, plan.n_queries) == (7, 5, 2)


def test_queries_are_no_neighbors_for_others(tmp_path):
    manifest = load_manifest(arrays(tmp_path, m0=(64, 4), q0=(30, 4))).manifest
    with pytest.raises(ProblemsError, match=r"neighbors.k is 64, but the data set has 64 samples"):
        refuse_unsearchable(manifest, read_dataset(manifest, tmp_path).n_base)


def test_plans_without_queries_need_not_name_them():
    manifest = plan_examples.samples()
    assert (manifest.n_base, manifest.n_queries) == (manifest.n, 0)
    with_some = plan_examples.samples(n=100, n_base=90)
    assert (with_some.n_base, with_some.n_queries) == (90, 10)


def plan_of_tokens(**changes: object) -> Plan:
    from hpcgeom.manifest import Manifest

    item = plan_examples.draft().representations[0].model_copy(update={"pooling": "tokens"})
    counts = SampleTokens(np.arange(1, 1001), "tokens")
    draft = plan_examples.draft(representations=(item,), tokens=counts)
    asked = {**plan_examples.TEXT, "representations": {"pooling": ["tokens"]}}
    manifest = Manifest.model_validate(asked)
    return assemble(manifest, Path("/folder"), plan_examples.samples(**changes), [draft])


def test_tokens_of_queries_are_behind_those_of_the_data_set():
    for n_base in (1000, 990, 17):
        plan = plan_of_tokens(n_base=n_base)
        model = plan.models[0]
        item = model.representations[0]
        assert n_points(plan, model, item) == 500_500
        assert n_base_points(plan, model, item) == n_base * (n_base + 1) // 2


@pytest.mark.parametrize("n_base", [1, 40, 63, 64, 65, 99, 100])
def test_batches_of_the_data_set_are_what_they_are_without_queries(n_base):
    lengths = np.random.default_rng(n_base).integers(1, 50, 100)
    unit, batch = form_batches(lengths, 64, 200, n_base=n_base)
    alone = form_batches(lengths[:n_base], 64, 200)
    np.testing.assert_array_equal(unit[:n_base], alone[0])
    np.testing.assert_array_equal(batch[:n_base], alone[1])
    of_base, of_queries = (
        {*zip(unit[part].tolist(), batch[part].tolist(), strict=True)}
        for part in (slice(0, n_base), slice(n_base, None))
    )
    assert not of_base & of_queries
    for number in np.unique(unit):  # no number of a batch is left out
        assert np.unique(batch[unit == number]).tolist() == list(range(batch[unit == number].max() + 1))
