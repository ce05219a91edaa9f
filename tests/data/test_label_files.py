"""Labels from tables by id, from lists in sample order, and their codes."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcgeom.data import encode, labels_from_file, values_in_order
from hpcgeom.errors import InputError

IDS = ("a", "b", "c")


@pytest.mark.parametrize("name", ["l.tsv", "l.csv", "l.parquet", "l.csv.gz"])
def test_a_table_labels_by_id_whatever_its_order(name, tmp_path):
    frame = pd.DataFrame({"id": ["c", "a", "b", "other"], "label": [3, 1, 2, 9]})
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    assert labels_from_file(path, IDS) == ("1", "2", "3")


def test_a_table_with_other_columns(tmp_path):
    (tmp_path / "l.tsv").write_text("sid\tfamily\na\tx\nb\ty\nc\tx\n")
    found = labels_from_file(tmp_path / "l.tsv", IDS, id_column="sid", label_column="family")
    assert found == ("x", "y", "x")
    with pytest.raises(InputError, match=r"l.tsv:1: no column 'id' \(nearest: 'sid'\)"):
        labels_from_file(tmp_path / "l.tsv", IDS)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([3, 1, 3]), ("3", "1", "3")),
        (np.array(["x", "é", "x"]), ("x", "é", "x")),
        (np.array([True, False, True]), ("true", "false", "true")),
        (np.array([1, 2, 3], dtype=">u2"), ("1", "2", "3")),
    ],
)
def test_an_array_labels_in_sample_order(values, expected, tmp_path):
    np.save(tmp_path / "l.npy", values)
    assert labels_from_file(tmp_path / "l.npy", IDS) == expected


def test_lines_label_in_sample_order(tmp_path):
    (tmp_path / "l.txt").write_text("x\r\ny \nx\n")
    assert labels_from_file(tmp_path / "l.txt", IDS) == ("x", "y", "x")


@pytest.mark.parametrize("name", ["l.npy", "l.txt"])
def test_another_length_is_refused_with_both_numbers(name, tmp_path):
    if name == "l.npy":
        np.save(tmp_path / name, np.arange(2))
    else:
        (tmp_path / name).write_text("1\n2\n")
    with pytest.raises(InputError, match=r"has 2 values for 3 samples"):
        labels_from_file(tmp_path / name, IDS)


def test_samples_without_a_label_are_counted_and_named(tmp_path):
    (tmp_path / "l.csv").write_text("id,label\na,x\nb,\n")
    with pytest.raises(InputError, match=r"2 of 3 samples without a label in \S+l.csv: 'b', 'c'"):
        labels_from_file(tmp_path / "l.csv", IDS)
    (tmp_path / "l.txt").write_text("x\n\ny\n")
    with pytest.raises(InputError, match=r"1 of 3 samples without a label.*: 'b'"):
        labels_from_file(tmp_path / "l.txt", IDS)


def test_two_labels_of_one_id_are_refused_and_equal_ones_are_not(tmp_path):
    (tmp_path / "l.csv").write_text("id,label\na,x\nb,y\nc,x\na,x\n")
    assert labels_from_file(tmp_path / "l.csv", IDS) == ("x", "y", "x")
    (tmp_path / "l.csv").write_text("id,label\na,x\nb,y\nc,x\na,z\n")
    with pytest.raises(InputError, match=r"l.csv:5: 'a' has the label 'z' here and 'x' before"):
        labels_from_file(tmp_path / "l.csv", IDS)


class Trap:
    """A pickle that leaves a mark when it is opened."""

    opened = False

    def __reduce__(self):
        return setattr, (Trap, "opened", True)


def test_pickles_are_never_opened(tmp_path):
    np.save(tmp_path / "l.npy", np.array([Trap(), Trap(), Trap()], dtype=object))
    with pytest.raises(InputError, match=r"holds Python objects \(a pickle\)"):
        labels_from_file(tmp_path / "l.npy", IDS)
    (tmp_path / "l.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"l.npy is not a .npy file"):
        labels_from_file(tmp_path / "l.npy", IDS)
    assert not Trap.opened


@pytest.mark.parametrize("values", [np.arange(3.0), np.arange(6).reshape(3, 2)])
def test_arrays_that_are_not_labels_are_refused(values, tmp_path):
    np.save(tmp_path / "l.npy", values)
    with pytest.raises(InputError, match="expected one dimension of strings, integers or booleans"):
        labels_from_file(tmp_path / "l.npy", IDS)


def test_other_suffixes_are_refused(tmp_path):
    (tmp_path / "l.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"the suffix is '.pt'; expected one of .*\.npy"):
        labels_from_file(tmp_path / "l.pt", IDS)
    (tmp_path / "l.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"the suffix is '.csv'; expected one of .npy, .txt"):
        values_in_order(tmp_path / "l.csv", 3)


@given(st.lists(st.text(max_size=3), min_size=1))
def test_codes_decode_to_the_labels(labels):
    codes, classes = encode(labels)
    assert codes.dtype == np.int32
    assert [classes[code] for code in codes] == labels
    assert list(classes) == sorted(set(labels))
