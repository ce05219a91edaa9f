"""The YAML reader: against JSON, which is YAML, and against the tables of the YAML 1.2 specification."""

from __future__ import annotations

import json
import math
import os
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import yaml as reader
from hpcgeom.manifest.yaml import parse_yaml, read_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Cf", "Zl", "Zp", "Co"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def parser(request, monkeypatch):
    """Both parsers of PyYAML: the compiled one may be missing on a cluster."""
    monkeypatch.setattr(reader, "_LOADER", getattr(yaml, request.param))


def refused(text: str, *expected: str) -> None:
    """Check that all messages, and no others, are reported, in this order, each with its line and column."""
    with pytest.raises(ProblemsError, match=expected[0]) as caught:
        parse_yaml(text, "m.yaml")
    assert len(caught.value.problems) == len(expected)
    for problem, pattern in zip(caught.value.problems, expected, strict=True):
        assert re.match(r"m\.yaml:" + pattern, problem), problem


@settings(deadline=None)
@given(data=st.dictionaries(TEXTS, JSON, min_size=1, max_size=5), indent=st.sampled_from([None, 1, 2]))
def test_json_means_the_same_in_yaml(data, indent):
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    read = parse_yaml(text, "m.yaml").data
    assert read == json.loads(text)
    assert json.dumps(read) == json.dumps(data)  # tells 1 from 1.0 and from true


@settings(deadline=None)
@given(data=st.dictionaries(TEXTS, JSON, min_size=1, max_size=5))
def test_positions_point_at_every_key_and_every_item(data):
    text = json.dumps(data, ensure_ascii=False, indent=1)
    document = parse_yaml(text, "m.yaml")
    for path, (line, column) in document.positions.items():
        rest = text.split("\n")[line - 1][column - 1 :]
        if path and isinstance(path[-1], str):
            assert rest.startswith(json.dumps(path[-1], ensure_ascii=False))
    paths = set(document.positions)

    def check(value, path):
        assert path in paths
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            assert (*path, key) in paths
            if isinstance(inner, dict | list):
                check(inner, (*path, key))

    check(data, ())


# The first column of section 10.3.2 of the YAML 1.2.2 specification, and what YAML 1.1 makes of other words.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, None) for text in ("null", "Null", "NULL", "~", "")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        ("0", 0),
        ("-12", -12),
        ("+12", 12),
        ("0o7", 7),
        ("0x3A", 58),
        ("0.", 0.0),
        ("-0.0", -0.0),
        (".5", 0.5),
        ("+12e03", 12000.0),
        ("-2E+05", -200000.0),
        ("1e-3", 0.001),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        *((text, text) for text in ("no", "yes", "on", "off", "y", "N", "tRUE", "nULL")),
        *((text, text) for text in ("012", "0777", "12:30:00", "1_000", "0b11", "2026-01-01", "=", "00.5")),
        ('"12"', "12"),
        ("'true'", "true"),
    ],
)
@pytest.mark.usefixtures("parser")
def test_scalars_are_those_of_yaml_1_2_and_nothing_else_is_guessed(text, value):
    read = parse_yaml(f"key: {text}\n", "m.yaml").data["key"]
    assert (type(read), repr(read)) == (type(value), repr(value))


def test_not_a_number_is_read_as_such():
    assert all(math.isnan(value) for value in parse_yaml("[.nan, .NaN, .NAN]", "m.yaml").data)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n", "5:3: .*once, found 'c' again, first in line 3: remove one"),
        ("a: &x [1]\n", "1:4: expected no anchor, found &x: remove it"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "1:4: expected no tag, found !!python/object/apply:os.system",
        ),
        ("a: !!str 1\n", "1:4: expected no tag, found !!str: remove it, or put a text with ! in quotes"),
        ("a: !mine 1\n", "1:4: expected no tag, found !mine"),
        ("<<: {a: 1}\n", "1:1: expected a key, found the merge key <<: write the keys out"),
        (
            "a: 1\n---\nb: 1\n",
            "2:1: expected one document, found another: remove the line --- and what follows",
        ),
        ("a: 1\n2: 3\n", "2:1: expected a key that is a text, found '2': put it in quotes"),
        ("null: 3\n", "1:1: expected a key that is a text, found 'null': put it in quotes"),
        ("? [a]\n: 3\n", "1:3: expected a key that is a text, found a list or a mapping: write a text"),
        ("", "1:1: expected a mapping of keys, found an empty file: write its keys"),
        ("# nothing\n", "1:1: expected a mapping of keys, found an empty file"),
        ("a:\n  - b: 1e999\n", "2:8: expected a number that fits in float64, found 1e999: correct it"),
        ("a: " + "9" * 101, "1:4: expected at most 100 digits, found 101: shorten it"),
        ("a: " + "[" * 5000, "1:35: expected at most 32 nested levels, found more: flatten it"),
        (
            "a: 1\nb: [1\nc: 2\n",
            "3:2: expected YAML, found a syntax error: while parsing a flow sequence.*: correct it",
        ),
        ("a:\n\t- b\n", "2:1: expected YAML, found a syntax error: .*: indent with spaces, not with tabs"),
        ("a: 'b\n", r"2:1: expected YAML, found a syntax error: while scanning a quoted scalar"),
    ],
)
def test_what_is_not_plain_data_is_refused_with_line_and_column(text, expected):
    refused(text, expected)


@pytest.mark.usefixtures("parser")
def test_aliases_are_refused_so_that_nothing_can_grow():
    laughs = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
    )
    with pytest.raises(
        ProblemsError, match=r"m\.yaml:2:8: expected a value, found the alias \*a: write the value out"
    ):
        parse_yaml(laughs, "m.yaml")


def test_half_of_a_surrogate_pair_is_refused(monkeypatch):
    monkeypatch.setattr(reader, "_LOADER", yaml.SafeLoader)  # the compiled parser calls it a syntax error
    refused(
        'a: "\\ud800"\n', "1:4: expected text, found half of a surrogate pair: write the character itself"
    )


def test_all_problems_are_reported_together_in_line_order():
    refused(
        "a: !x 1\nb: *y\na: 2\n", "1:4: expected no tag", "2:4: .*alias", "3:1: .*'a' again, first in line 1"
    )


def test_problems_before_a_syntax_error_are_reported_with_it():
    refused("a: 1\na: 2\nb: ]\n", "2:1: .*'a' again", "3:4: expected YAML, found a syntax error")


def test_control_characters_are_refused_with_line_and_column():
    with pytest.raises(InputError, match=r"m\.yaml:2:5: .*the control character U\+0007: remove it"):
        parse_yaml("a: 1\nb: x\x07\n", "m.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"none\.yaml: expected a YAML file, found nothing of that name: check"
    ):
        read_yaml(tmp_path / "none.yaml")


def test_a_directory_is_no_manifest(tmp_path):
    with pytest.raises(InputError, match="expected a YAML file, found a directory: name the file in it"):
        read_yaml(tmp_path)


def test_a_pipe_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        InputError, match="expected a YAML file, found a device, pipe or socket: save it to a file"
    ):
        read_yaml(tmp_path / "pipe")


def test_what_the_system_says_of_a_path_is_passed_on(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a readable YAML file, found: Not a directory: check path"):
        read_yaml(tmp_path / "file" / "m.yaml")


def test_a_path_with_a_nul_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a readable YAML file, found: embedded null byte: check"):
        read_yaml(tmp_path / "a\0b")


def test_more_than_a_megabyte_is_refused(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("a: 1\n" + "#" * (10**6 - 5))
    assert read_yaml(path).data == {"a": 1}
    path.write_text("a: 1\n" + "#" * (10**6 - 4))
    with pytest.raises(
        InputError, match="expected at most 1000000 bytes, found more: is this the right file"
    ):
        read_yaml(path)


def test_text_in_another_encoding_is_refused_with_its_position(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes("a: 1\nb: é\n".encode("latin-1"))
    with pytest.raises(
        InputError, match=r"m\.yaml:2:4: expected text in UTF-8, found the byte 0xe9: save the file as"
    ):
        read_yaml(path)


def test_a_byte_order_mark_and_windows_line_ends_are_no_content(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: text\r\n")
    assert read_yaml(path).data == {"a": 1, "b": "text"}
