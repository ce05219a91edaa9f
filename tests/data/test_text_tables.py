"""Texts from JSON lines, CSV, TSV, Parquet and plain lines."""

import csv
import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcgeom.data import read_text
from hpcgeom.errors import InputError

ROWS = [
    {"id": "a", "text": 'He said: "one, two"', "kind": "x"},
    {"id": "b", "text": "two\nlines\tand ä", "kind": "y"},
]
texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).filter(str.strip)


def write(path, rows):
    """Write rows with other people's writers."""
    frame = pd.DataFrame(rows)
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if name.endswith(".tsv") else ",")
    return path


@pytest.mark.parametrize(
    "name", ["t.jsonl", "t.jsonl.gz", "t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz", "t.parquet", "T.CSV"]
)
def test_every_format_gives_the_same_samples(name, tmp_path):
    if name == "T.CSV":
        write(tmp_path / "t.csv", ROWS).rename(tmp_path / name)
    else:
        write(tmp_path / name, ROWS)
    samples = read_text(tmp_path / name, labels={"class": "kind"})
    assert samples.ids == ("a", "b")
    assert samples.texts == tuple(row["text"] for row in ROWS)
    assert samples.labels == {"class": ("x", "y")}
    assert samples.lengths.tolist() == [19, 15]
    assert samples.notices == ()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(texts, min_size=1, max_size=5, unique=True))
def test_any_printable_text_survives_every_format(found, tmp_path):
    rows = [{"id": number, "text": text} for number, text in enumerate(found)]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        samples = read_text(tmp_path / name)
        assert samples.texts == tuple(found)
        assert samples.ids == tuple(str(number) for number in range(len(found)))


def test_other_columns_can_be_named(tmp_path):
    path = write(tmp_path / "t.csv", [{"key": 7, "body": "hello", "ok": True}])
    samples = read_text(path, columns={"id": "key", "text": "body"})
    assert (samples.ids, samples.texts) == (("7",), ("hello",))
    assert read_text(path, columns={"id": "ok", "text": "body"}).ids == ("True",)
    with pytest.raises(InputError, match=r"columns names 'txt' \(nearest: 'text'\); .* text: correct it"):
        read_text(path, columns={"txt": "body"})


def test_booleans_and_integers_are_labels(tmp_path):
    path = write(tmp_path / "t.parquet", [{"id": "a", "text": "x", "n": 3, "ok": True}])
    assert read_text(path, labels={"n": "n", "ok": "ok"}).labels == {"n": ("3",), "ok": ("true",)}


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_a_missing_column_names_those_found_and_the_nearest(name, tmp_path):
    path = write(tmp_path / name, [{"id": "a", "texts": "x"}])
    with pytest.raises(InputError, match=r"no column 'text' \(nearest: 'texts'\); found: 'id', 'texts'"):
        read_text(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b", "text": ', r"t.jsonl:3: not JSON \(Expecting value"),
        ("[1, 2]", "t.jsonl:3: list found; expected one JSON object"),
        ('{"id": "b", "text": 5}', r"t.jsonl:3: column 'text' is 5 \(int\); expected a string"),
        ('{"id": 1.5, "text": "x"}', r"column 'id' is 1.5 \(float\); expected a string or integer"),
        ('{"id": "b", "body": "x"}', "t.jsonl:3: no column 'text'"),
        ('{"id": "a", "text": "x"}', r"'a' \(\S+t.jsonl:1 and \S+t.jsonl:3\)"),
        ('{"id": "b", "text": "\\ud800"}', "t.jsonl:3: the text holds a NUL or half a surrogate pair"),
        ('{"id": "b\\n", "text": "x"}', r"t.jsonl:3: the id .* control character U\+000A"),
        ('{"id": null, "text": "x"}', "t.jsonl:3: the id is empty"),
        ("[" * 100_000, "t.jsonl:3: not JSON"),
        ('{"id": "b", "text": "  "}', r"1 text of 2 empty: 'b' \(first at \S+t.jsonl:3\)"),
        ('{"id": "b", "text": null}', "1 text of 2 empty: 'b'"),
    ],
)
def test_a_bad_json_line_is_named(line, message, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": "a", "text": "x"}\n\n' + line + "\n")
    with pytest.raises(InputError, match=message):
        read_text(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\na,x\nb,y,z\n", "t.csv:3: 3 fields found, 2 expected"),
        ('id,text\na,"x\ny"\nb\n', "t.csv:4: 1 fields found"),
        ('id,text\na,"x\n', r"t.csv:2: not a valid row \(unexpected end of data"),
        ("id,id,text\na,b,x\n", "t.csv:1: column 'id' occurs more than once"),
        ("id,text\n", "has columns and no rows"),
        ("id,text\na,\n", "1 text of 1 empty: 'a'"),
    ],
)
def test_a_bad_csv_line_is_named(content, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_text(path)


def test_texts_longer_than_the_csv_modules_limit_are_read(tmp_path):
    before = csv.field_size_limit(131_072)
    (tmp_path / "t.csv").write_text("id,text\na," + "x" * 200_000 + "\n")
    assert read_text(tmp_path / "t.csv").lengths.tolist() == [200_000]
    assert csv.field_size_limit(before) == 131_072


def test_missing_labels_are_named(tmp_path):
    path = write(tmp_path / "t.parquet", [{**ROWS[0], "kind": None}, ROWS[1]])
    with pytest.raises(InputError, match="label 'kind' is missing for 1 of 2 samples: 'a'"):
        read_text(path, labels={"kind": "kind"})
    with pytest.raises(InputError, match=r"t.parquet row 0: column 'kind' is 1.5"):
        read_text(write(tmp_path / "t.parquet", [{**ROWS[0], "kind": 1.5}]), labels={"kind": "kind"})


def test_a_damaged_parquet_file_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_text(tmp_path / "t.parquet")


def test_repeated_texts_stay_and_are_told(tmp_path):
    path = write(tmp_path / "t.csv", [{"id": i, "text": "same" if i else "other"} for i in range(4)])
    samples = read_text(path)
    assert len(samples) == 4
    assert any("2 of 4 texts equal an earlier one: kept" in notice for notice in samples.notices)


def test_plain_lines_are_named_by_their_numbers(tmp_path):
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"one\n\n two\x0cx\r\n"))
    samples = read_text(tmp_path / "t.txt.gz")
    assert samples.ids == ("line-000001", "line-000003")
    assert samples.texts == ("one", " two\x0cx")
    assert any("1 blank line of" in notice for notice in samples.notices)
    with pytest.raises(InputError, match="is plain lines and has no column 'package'"):
        read_text(tmp_path / "t.txt.gz", labels={"package": "package"})


def test_folders_patterns_and_other_suffixes_name_those_accepted(tmp_path):
    with pytest.raises(InputError, match=r"is a folder; expected one file: .jsonl, .*\.txt\.gz; name one"):
        read_text(tmp_path)
    with pytest.raises(InputError, match=r"\*.jsonl is a pattern; expected one file: .jsonl.*; name one"):
        read_text(tmp_path / "*.jsonl")
    with pytest.raises(InputError, match=r"the suffix is '.json'; expected one of .jsonl"):
        read_text(tmp_path / "t.json")
    with pytest.raises(InputError, match="File name too long"):
        read_text("x" * 300 + ".csv")
    (tmp_path / "t").write_text("")
    with pytest.raises(InputError, match="the suffix is none"):
        read_text(tmp_path / "t")
    with pytest.raises(InputError, match=r"t.txt does not exist"):
        read_text(tmp_path / "t.txt")


@pytest.mark.parametrize("name", ["imdb", "stanfordnlp/sst2"])
def test_a_data_set_of_a_hub_is_refused_with_what_to_do(tmp_path, name):
    with pytest.raises(
        InputError, match=r"has no suffix; .* A data set of a hub.* save the split .* .parquet"
    ):
        read_text(tmp_path / name)
