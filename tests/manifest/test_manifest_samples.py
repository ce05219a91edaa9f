"""One sentence with its line for all that is wrong with samples and labels."""

from __future__ import annotations

import pytest
from manifest_examples import BERT, FASTA, POINTS, TEXT, catalog


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            "max_length: 2",
            "5: dataset.max_length: expected a number of at least 3, found .* 2: correct it$",
        ),
        ("max_length: 1e3", "5: dataset.max_length: expected an integer, found the number 1000.0"),
        (
            "too_long: windows",
            "5: dataset.too_long: expected 'error', 'truncate' or 'window', .* 'windows': did you",
        ),
        ("too_long: truncat", "5: dataset.too_long: .*did you mean 'truncate'"),
        (
            "columns: {id: a, text: a}",
            "5: dataset.columns.text: expected another column than .* ids, found 'a' for both: name another",
        ),
        ("columns: {id: ''}", "5: dataset.columns.id: expected some text, found the text ''"),
        (
            "columns: {ids: x}",
            "5: dataset.columns.ids: expected one of id, text, found 'ids': did you mean 'id'",
        ),
        ("exclude: a", "5: dataset.exclude: expected a list, found the text 'a'"),
        ("exclude: [1]", r"5: dataset.exclude\[0\]: expected a text, found the number 1: put it in quotes"),
        ("exclude: [a, a]", "5: dataset.exclude: expected every item once, found a more than once: keep one"),
        (
            'exclude: ["a\\tb"]',
            r"5: dataset.exclude\[0\]: expected text without control characters, found the text .*: remove",
        ),
        (
            "labels: {a b: {column: c}}",
            "5: dataset.labels.a b: expected 1 to 100 of .*, found the text 'a b': choose another name",
        ),
        (
            "labels: {a: {}}",
            "5: dataset.labels.a: expected exactly one of the keys column and file, found none: give one",
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
        (
            "duplicates: false",
            "5: dataset.duplicates: expected 'keep' or 'drop', found .* false: choose one",
        ),
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
    refused(f"{FASTA}  {extra}\n{catalog('esm2')}", expected)


def test_a_regular_expression_that_python_warns_about_is_accepted(load):
    assert load(FASTA + "  labels: {a: {header: '([[a]+)'}}\n" + catalog("esm2")).labels == ("a",)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (
            "{}",
            "2: dataset.kind: expected one of text, fasta, images, tokens, arrays, found no such key: add it",
        ),
        ("{kind: fastq}", "2: dataset.kind: .*arrays, found the text 'fastq': did you mean 'fasta'"),
        (
            "{kind: 3}",
            "2: dataset.kind: expected one of text, .*, arrays, found the number 3: choose one of them$",
        ),
        (
            "{kind: [text]}",
            "2: dataset.kind: expected one of text, fasta, images, tokens, arrays, found a list",
        ),
        ("7", "2: dataset: expected a mapping of keys, found the number 7"),
        ("{kind: text}", r"2: dataset.path: expected the key path \(The table, .*\), found none: add it"),
        (
            "{kind: text, path: $DATA/x}",
            "2: dataset.path: expected a path, found the text '\\$DATA/x': write the path out",
        ),
        ("{kind: text, path: ''}", "2: dataset.path: expected some text, found the text '': write some"),
        (
            "{kind: arrays, exclude: []}",
            "2: dataset.exclude: expected one of kind, ids, samples, labels, query, found 'exclude'",
        ),
    ],
)
def test_every_problem_of_the_choice_of_samples_has_its_line(refused, dataset, expected):
    refused(f"name: demo\ndataset: {dataset}\n{POINTS if 'arrays' in dataset else BERT}", expected)
