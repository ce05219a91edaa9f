"""Rows of tokens: padding, what is refused, and the identity of a row."""

import hashlib
import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcgeom.data import open_tokens, token_digest, token_samples
from hpcgeom.errors import InputError, ProblemsError

ROWS = [[5, 3, 0, 7], [1, 0, 0, 0], [0, 0, 2, 0]]


@pytest.fixture
def npy(tmp_path):
    def write(values, name="tokens.npy"):
        np.save(tmp_path / name, values)
        return tmp_path / name

    return write


@pytest.fixture
def jsonl(tmp_path):
    def write(*rows):
        path = tmp_path / "tokens.jsonl"
        path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "u4", "i8", ">u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_any_integers_come_back_as_int64(dtype, order, npy):
    tokens = open_tokens(npy(np.array(ROWS, dtype=dtype, order=order)))
    assert (tokens.shape, len(tokens), tokens.ids) == ((3, 4), 3, None)
    for row, expected in enumerate(ROWS):
        found = tokens.row(row)
        assert found.dtype == np.int64
        assert found.tolist() == expected


def test_a_file_is_mapped_and_not_read(npy):
    tokens = open_tokens(npy(np.array(ROWS)))
    assert isinstance(tokens._rows, np.memmap)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=5),
    pad_id=st.integers(4, 9),
)
def test_padding_is_cut_off_at_the_end_only(rows, pad_id, npy):
    longest = max(map(len, rows)) + 2
    padded = np.array([[*row, *[pad_id] * (longest - len(row))] for row in rows])
    tokens = open_tokens(npy(padded), pad_id=pad_id)
    assert token_samples(tokens).lengths.tolist() == [len(row) for row in rows]
    assert [tokens.row(row).tolist() for row in range(len(rows))] == rows


def test_a_pad_inside_a_row_is_a_token(npy):
    tokens = open_tokens(npy(ROWS), pad_id=0)
    assert [tokens.row(row).tolist() for row in range(3)] == [[5, 3, 0, 7], [1], [0, 0, 2]]


def test_padding_may_be_negative(npy):
    path = npy(np.array([[3, -1, -1], [3, -100, 4]]))
    assert open_tokens(path, pad_id=-1).row(0).tolist() == [3]
    with pytest.raises(
        InputError, match=r"tokens.npy row 1: token -100 at position 1; expected a number from 0"
    ):
        open_tokens(path, pad_id=-1).row(1)
    with pytest.raises(
        InputError, match=r"row 0: token -1 at position 1; .* or set pad_id if it is padding at the"
    ):
        open_tokens(path).row(0)


def test_rows_of_padding_only_are_refused(npy):
    tokens = open_tokens(npy(np.array([[1, 0], [0, 0]], dtype=np.uint8)), pad_id=0)
    with pytest.raises(
        InputError, match=r"tokens.npy row 1 is padding only \(0\); remove the row, or correct pad_id"
    ):
        tokens.row(1)


def test_tokens_beyond_int64_are_refused(npy):
    tokens = open_tokens(npy(np.array([[1, 2**63]], dtype=np.uint64)))
    with pytest.raises(
        InputError, match=r"row 0: token 9223372036854775808 at position 1; expected .* to 2\^63 - 1"
    ):
        tokens.row(0)


@pytest.mark.parametrize("row", [-1, 3])
def test_rows_that_are_not_there_are_refused(row, npy):
    with pytest.raises(InputError, match=rf"tokens.npy has 3 rows; row {row} is not there: leave it out"):
        open_tokens(npy(ROWS)).row(row)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 3)), "holds float64; expected integers: save tokens as integers"),
        (np.ones((2, 3), dtype=bool), "holds bool; expected integers"),
        (np.array([["a"]]), "holds <U1; expected integers"),
        (np.arange(3), r"has shape \(3,\); expected \(rows, tokens\), both at least 1: reshape it"),
        (np.ones((2, 2, 2), dtype=int), r"has shape \(2, 2, 2\)"),
        (np.ones((0, 3), dtype=int), r"has shape \(0, 3\)"),
        (np.ones((3, 0), dtype=int), r"has shape \(3, 0\)"),
        (np.array([[None]]), "holds Python objects"),
    ],
)
def test_arrays_that_are_not_rows_of_integers_are_refused(values, message, npy):
    with pytest.raises(InputError, match=message):
        open_tokens(npy(values))


def test_files_of_other_kinds_and_truncated_ones_are_refused(npy, tmp_path):
    with pytest.raises(InputError, match=r"the suffix is '.npz'; expected one of .npy, .jsonl"):
        open_tokens(tmp_path / "tokens.npz")
    path = npy(np.array(ROWS))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="is truncated"):
        open_tokens(path)


def test_json_lines_have_ids_and_rows_of_any_length(jsonl):
    tokens = open_tokens(jsonl({"id": "a", "tokens": [3, 1]}, "\n", {"id": 7, "tokens": [9, 0, 0]}), pad_id=0)
    assert (tokens.shape, tokens.ids) == ((2, 3), ("a", "7"))
    assert [tokens.row(row).tolist() for row in range(2)] == [[3, 1], [9]]
    samples = token_samples(tokens)
    assert samples.ids == ("a", "7")
    assert samples.lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"tokens.jsonl:2: tokens are '\[\]'; expected a list of at least one integer: correct"),
        ("1 2", r"tokens.jsonl:2: tokens are '1 2'; expected a list"),
        (None, "tokens are 'None'"),
        ([1, True], "tokens.jsonl:2: token True at position 1 is bool; expected integers: correct it"),
        ([1, 2.0], r"token 2.0 at position 1 is float; expected integers"),
        ([[1]], r"token \[1\] at position 0 is list"),
        ([2**63], r"token 9223372036854775808 at position 0 is beyond 2\^63 - 1; .*: correct it"),
    ],
)
def test_json_lines_that_are_not_integers_are_refused_with_their_place(value, message, jsonl):
    with pytest.raises(ProblemsError, match=message):
        open_tokens(jsonl({"id": "a", "tokens": [1]}, {"id": "b", "tokens": value}))


def test_rows_of_json_lines_are_named_by_their_line(jsonl):
    path = jsonl({"id": "a", "tokens": [1]}, "\n", {"id": "b", "tokens": [0, -3]}, {"id": "c", "tokens": [0]})
    with pytest.raises(InputError, match=r"tokens.jsonl:3: token -3 at position 1"):
        open_tokens(path).row(1)
    with pytest.raises(InputError, match=r"tokens.jsonl:4 is padding only \(0\)"):
        open_tokens(path, pad_id=0).row(2)
    with pytest.raises(InputError, match=r"tokens.jsonl:1: no column 'tokens'"):
        open_tokens(jsonl({"id": "a", "text": [1]}))


def test_a_sample_is_known_by_its_id_and_its_tokens(npy):
    samples = token_samples(open_tokens(npy(np.array(ROWS, dtype=np.uint8)), pad_id=0))
    row = hashlib.sha256(np.array([5, 3, 0, 7]).tobytes()).hexdigest()
    assert samples.ids == ("0", "1", "2")
    assert samples.texts == ("",) * 3
    assert samples.digests[0] == hashlib.sha256(f"0\0{row}".encode()).hexdigest()[:32]
    assert (
        samples.digests[1]
        == token_digest("1", np.array([1]))
        == token_digest("1", np.array([1], dtype=">i2"))
    )
    assert samples.notices == ()


def test_the_digest_does_not_know_the_file_but_its_tokens(npy, jsonl):
    wide = token_samples(open_tokens(npy(np.array(ROWS, dtype=">i8"))))
    narrow = token_samples(open_tokens(npy(np.array(ROWS, dtype=np.uint8, order="F"), "other.npy")))
    listed = token_samples(open_tokens(jsonl(*({"id": row, "tokens": ROWS[row]} for row in range(3)))))
    assert wide.digest == narrow.digest == listed.digest
    assert token_samples(open_tokens(npy(np.array(ROWS) + 1))).digest != wide.digest


def test_ids_may_be_given(npy):
    tokens = open_tokens(npy(ROWS))
    assert token_samples(tokens, ["x", "y", "z"]).ids == ("x", "y", "z")
    with pytest.raises(InputError, match=r"2 ids for 3 rows of \S*tokens.npy; give one per row"):
        token_samples(tokens, ["x", "y"])
    with pytest.raises(InputError, match="ids must be unique: rename some"):
        token_samples(tokens, ["x", "y", "x"])


def test_equal_rows_are_counted(npy):
    samples = token_samples(open_tokens(npy(np.array([[1, 0], [2, 0], [1, 0]])), pad_id=0))
    assert samples.notices == (
        "1 of 3 rows of tokens equal an earlier one: kept, they will be counted as duplicate points",
    )


def test_all_rows_that_cannot_be_samples_are_told_up_to_ten(npy):
    with pytest.raises(ProblemsError, match="row 0: token -2 at position 0") as caught:
        token_samples(open_tokens(npy(np.array([[-2], [0], *[[-1]] * 11]))))
    assert len(caught.value.problems) == 11
    assert caught.value.problems[1].startswith(
        str(caught.value.problems[0]).split(" row 0")[0] + " row 2: token -1"
    )
    assert caught.value.problems[-1].endswith("tokens.npy: and 2 more problems")


def test_open_tokens_travel_to_other_processes(npy, jsonl):
    for path in (npy(ROWS), jsonl({"id": "a", "tokens": [3, 1]})):
        tokens = open_tokens(path, pad_id=0)
        back = pickle.loads(pickle.dumps(tokens))
        assert back.row(0).tolist() == tokens.row(0).tolist()
        assert back.ids == tokens.ids
