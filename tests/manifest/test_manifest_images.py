"""Images and rows of tokens: what is read, and one sentence with its line for all that is wrong."""

from __future__ import annotations

import pytest
from manifest_examples import BERT, IMAGES, TOKENS, asked, catalog

ALL = """\
  classes: classes.txt
  per_class: 300
  seed: 7
  transparent: white
  labels: {class: {folder: true}, kind: {column: kind}, animal: {file: animal.npy}}
  exclude: ['n01/1.JPEG']
"""


def test_all_that_can_be_said_of_images_is_read(load):
    dataset = load(IMAGES + ALL + catalog("vit")).dataset
    assert (dataset.classes, dataset.per_class, dataset.seed) == ("classes.txt", 300, 7)
    assert (dataset.transparent, dataset.exclude) == ("white", ("n01/1.JPEG",))
    labels = {name: (label.folder, label.column, label.file) for name, label in dataset.labels.items()}
    assert labels == {
        "class": (True, None, None),
        "kind": (None, "kind", None),
        "animal": (None, None, "animal.npy"),
    }


def test_short_sections_get_the_documented_defaults(load):
    dataset = load(IMAGES + catalog("vit")).dataset
    assert (dataset.classes, dataset.per_class, dataset.seed) == (None, None, 0)
    assert (dataset.transparent, dataset.labels, dataset.exclude) == ("error", {}, ())
    dataset = load(TOKENS + BERT).dataset
    assert (dataset.ids, dataset.pad_id, dataset.labels, dataset.exclude) == (None, None, {}, ())


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("classes: ~/c.txt", "5: dataset.classes: expected a path, found the text '~/c.txt': write the path"),
        ("classes: [a, b]", "5: dataset.classes: expected a text, found a list"),
        ("per_class: 0", "5: dataset.per_class: expected a number of at least 1, found the number 0"),
        ("per_class: all", "5: dataset.per_class: expected an integer, found the text 'all'"),
        ("seed: -1", "5: dataset.seed: expected a number of at least 0, found the number -1"),
        (
            "seed: 3",
            (
                "5: dataset.seed: expected no seed, because only per_class draws at random, found 3: remove "
                "seed, or say how many images are drawn with per_class"
            ),
        ),
        (
            "transparent: gray",
            "5: dataset.transparent: expected 'error', 'white' or 'black', found the text 'gray'",
        ),
        (
            "labels: {a: {}}",
            "5: dataset.labels.a: expected exactly one of the keys folder and column and file, found none",
        ),
        (
            "labels: {a: {folder: true, file: f}}",
            "5: dataset.labels.a: expected exactly one of the keys .*, found folder and file: keep one",
        ),
        (
            "labels: {a: {folder: false}}",
            "5: dataset.labels.a.folder: expected true, found the boolean false: write true, or remove",
        ),
        ("labels: {a: {folder: 1}}", "5: dataset.labels.a.folder: expected true, found the number 1"),
        (
            "labels: {a: {folder: class}}",
            "5: dataset.labels.a.folder: expected true, found the text 'class'",
        ),
        (
            "labels: {a: {header: x}}",
            "5: dataset.labels.a.header: expected one of folder, column, file, found 'header'",
        ),
        (
            "max_length: 3",
            "5: dataset.max_length: expected one of kind, path, classes, per_class, .*, found 'max_length'",
        ),
        ("too_long: window", "5: dataset.too_long: expected one of kind, path, .*, found 'too_long'"),
    ],
)
def test_every_problem_of_images_has_its_line(refused, extra, expected):
    refused(f"{IMAGES}  {extra}\n{catalog('vit')}", expected)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("pad_id: -1", "5: dataset.pad_id: expected a number of at least 0, found the number -1"),
        ("pad_id: '0'", "5: dataset.pad_id: expected an integer, found the text '0'"),
        ("ids: $X", r"5: dataset.ids: expected a path, found the text '\$X': write the path out"),
        ("labels: {a: {file: x, column: y}}", "5: dataset.labels.a.column: expected one of file, found 'col"),
        ("labels: {a: {}}", r"5: dataset.labels.a.file: expected the key file \(Table with .*\), found none"),
        ("max_length: 3", "5: dataset.max_length: expected one of kind, path, ids, pad_id, labels, exclude,"),
        ("exclude: [3]", r"5: dataset.exclude\[0\]: expected a text, found the number 3: put it in quotes"),
    ],
)
def test_every_problem_of_rows_of_tokens_has_its_line(refused, extra, expected):
    refused(f"{TOKENS}  {extra}\n{BERT}", expected)


@pytest.mark.parametrize("name", ["tokens.jsonl", "tokens.jsonl.gz"])
def test_lines_that_have_ids_get_no_others(refused, load, name):
    tokens = TOKENS.replace("tokens.npy", name)
    refused(
        f"{tokens}  ids: ids.txt\n{BERT}",
        "5: dataset.ids: expected no ids, because the lines of a .jsonl have a key id: remove ids",
    )
    assert load(f"{tokens}  pad_id: 0\n{BERT}").dataset.pad_id == 0


@pytest.mark.parametrize("kind", ["images", "tokens"])
def test_samples_need_a_path(refused, kind):
    refused(
        f"name: demo\ndataset: {{kind: {kind}}}\n{catalog('igpt')}",
        r"2: dataset.path: expected the key path \(.*\), found none: add it",
    )


@pytest.mark.parametrize("dataset", [IMAGES, TOKENS])
def test_either_way_to_colors_takes_images_and_colors(load, dataset):
    for pipeline in ("paper", "huggingface"):
        palette = ["clusters: c.npy"] if dataset == IMAGES else []
        model = load(dataset + catalog("igpt", f"image_pipeline: {pipeline}", *palette)).models[0]
        assert (model.image_pipeline, model.clusters) == (pipeline, "c.npy" if palette else None)


def test_samples_that_are_encoded_already_need_no_encoder(refused):
    refused(
        TOKENS + catalog("igpt", "clusters: c.npy"),
        r".*models\[0\].clusters: expected no clusters, because dataset.kind is tokens, .*: remove clusters",
    )
    refused(
        TOKENS + catalog("gpt2", "tokenizer: org/name"),
        r".*models\[0\].tokenizer: expected no tokenizer, because dataset.kind is tokens, .*: remove token",
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "image_pipeline: hugging_face",
            r"9: models\[0\].image_pipeline: expected 'paper' or 'huggingface', .*: did you mean",
        ),
        ("clusters: ''", r"9: models\[0\].clusters: expected some text, found the text ''"),
        ("clusters: [0, 1]", r"9: models\[0\].clusters: expected a text, found a list"),
    ],
)
def test_every_problem_of_colors_has_its_line(refused, more, expected):
    refused(IMAGES + catalog("igpt", more), expected)


def test_positions_that_are_the_same_for_every_image_are_refused(refused, load):
    sites = asked(sites="[token_embed, pos_embed]")
    refused(
        IMAGES + catalog("vit").replace("vit", "igpt") + sites,
        r"9: representations.sites\[1\]: expected a site that differs between images, because dataset.kind "
        r"is images and models\[0\] 'igpt' has as many pixels in each: .* the same for every image, found "
        "'pos_embed': take it out",
    )
    assert load(TOKENS + catalog("igpt") + sites).representations.sites[1] == "pos_embed"
