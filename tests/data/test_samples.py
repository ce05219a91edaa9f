"""Samples: identity, validation, exclusion, and the table in the run directory."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcgeom.data import Samples, exclude, first_rows, make_samples, read_samples, take, write_samples
from hpcgeom.errors import DamagedError, InputError

printable_ids = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).filter(str.strip),
    min_size=1,
    max_size=8,
    unique=True,
)


@pytest.fixture
def samples():
    return make_samples(
        ["a", "b", "c"], ["MKV", "AAAA", "MKV"], labels={"kind": ["x", "y", "x"]}, notices=["told"]
    )


def test_digests_are_sha256_of_id_nul_content(samples):
    assert samples.digests[0] == hashlib.sha256(b"a\x00MKV").hexdigest()[:32]
    whole = hashlib.sha256("\n".join(samples.digests).encode()).hexdigest()
    assert samples.digest == whole


def test_the_digest_knows_ids_contents_and_order_but_not_labels(samples):
    relabeled = make_samples(samples.ids, samples.texts, labels={"kind": ["z", "z", "z"]})
    assert relabeled.digest == samples.digest
    assert take(samples, [1, 0, 2]).digest != samples.digest
    assert make_samples(["a", "b", "d"], samples.texts).digest != samples.digest
    assert make_samples(samples.ids, ["MKV", "AAAA", "MKL"]).digest != samples.digest


def test_the_label_digest_knows_values_and_order(samples):
    assert samples.label_digest("kind") == hashlib.sha256(b'["x", "y", "x"]').hexdigest()
    with pytest.raises(InputError, match=r"no label 'kid' \(nearest: 'kind'\)"):
        samples.label_digest("kid")


def test_lengths_are_int64_characters_and_read_only(samples):
    assert samples.lengths.dtype == np.int64
    assert samples.lengths.tolist() == [3, 4, 3]
    with pytest.raises(ValueError, match="read-only"):
        samples.lengths[0] = 9


def test_samples_travel_to_other_processes(samples):
    back = pickle.loads(pickle.dumps(samples))
    assert (back.ids, back.labels, back.digest) == (samples.ids, samples.labels, samples.digest)


def test_duplicate_ids_are_named_with_their_places():
    with pytest.raises(InputError, match=r"'a' \(row 0 and row 2\), 'b' \(row 1 and row 3\).*must be unique"):
        make_samples(["a", "b", "a", "b"], ["1", "2", "3", "4"])


@pytest.mark.parametrize("mark", ["\n", "\r", "\t", "\0", "\x1b", "\x85", "\u2028"])
def test_ids_with_control_characters_are_refused(mark):
    with pytest.raises(InputError, match=rf"row 1: the id .* control character U\+{ord(mark):04X}"):
        make_samples(["a", f"b{mark}c"], ["1", "2"])


def test_empty_ids_and_empty_data_sets_are_refused():
    with pytest.raises(InputError, match="row 1: the id is empty"):
        make_samples(["a", " "], ["1", "2"])
    with pytest.raises(InputError, match="no samples"):
        make_samples([], [])


def test_fields_of_different_length_are_refused():
    with pytest.raises(InputError, match="texts has 1 entries for 2 samples; give one per"):
        Samples(("a", "b"), ("x",), np.array([1, 1]), {}, ("d", "e"))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_texts_that_no_model_can_read_are_refused(text):
    with pytest.raises(InputError, match="row 0: the text holds a NUL or half a surrogate pair"):
        make_samples(["a"], [text])


def test_missing_labels_are_refused_with_their_ids():
    with pytest.raises(InputError, match=r"label 'kind' is missing for 2 of 3 samples: 'a', 'c'"):
        make_samples(["a", "b", "c"], ["1", "2", "3"], labels={"kind": ["", "y", " "]})
    with pytest.raises(InputError, match="label 'kind' has 1 value for 2 samples"):
        make_samples(["a", "b"], ["1", "2"], labels={"kind": ["y"]})
    with pytest.raises(InputError, match="a label has the name ''"):
        make_samples(["a"], ["1"], labels={"": ["y"]})
    with pytest.raises(InputError, match="label 'kind' of 'a' holds a NUL"):
        make_samples(["a"], ["1"], labels={"kind": ["\ud800"]})


def test_exclusion_keeps_order_and_digests_of_the_others(samples):
    rest = exclude(samples, ["b"])
    assert rest.ids == ("a", "c")
    assert rest.digests == (samples.digests[0], samples.digests[2])
    assert rest.labels == {"kind": ("x", "x")}
    assert rest.notices == ("told", "1 sample of 3 excluded by id")
    assert exclude(samples, []).notices == ("told",)


def test_exclusion_of_unknown_ids_names_the_nearest():
    samples = make_samples(["d1dlwa_", "d2gkma_"], ["A", "C"])
    with pytest.raises(InputError, match=r"1 id to exclude not found.*'d1dlwa' \(nearest: 'd1dlwa_'\)"):
        exclude(samples, ["d1dlwa", "d2gkma_"])


def test_exclusion_of_everything_is_refused(samples):
    with pytest.raises(InputError, match="all 3 samples are excluded"):
        exclude(samples, ["a", "b", "c"])


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_first_rows_agree_with_numpy_unique(texts):
    _, first, inverse = np.unique(texts, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(first_rows(texts), first[inverse])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=printable_ids, data=st.data())
def test_samples_come_back_from_parquet(ids, data, tmp_path):
    label = st.lists(printable_ids.map(lambda found: found[0]), min_size=len(ids), max_size=len(ids))
    samples = make_samples(ids, [name * 2 for name in ids], labels={"kind é": data.draw(label)})
    write_samples(samples, tmp_path / "samples.parquet")
    back = read_samples(tmp_path / "samples.parquet")
    assert (back.ids, back.digests, back.labels) == (samples.ids, samples.digests, samples.labels)
    assert back.lengths.tolist() == samples.lengths.tolist()
    assert back.texts == ("",) * len(ids)
    assert back.digest == samples.digest


def test_the_table_has_the_columns_of_the_design_and_no_text(samples, tmp_path):
    write_samples(samples, tmp_path / "samples.parquet")
    table = pq.read_table(tmp_path / "samples.parquet")
    assert table.column_names == ["row", "id", "length", "role", "digest", "label:kind"]
    assert table["role"].to_pylist() == ["base"] * 3
    assert table["row"].to_pylist() == [0, 1, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["samples.parquet"]


def test_equal_samples_give_equal_bytes(samples, tmp_path):
    labels = {"b": ["1", "2", "3"], "a": ["4", "5", "6"]}
    for name, order in (("one", ["a", "b"]), ("two", ["b", "a"])):
        in_order = {label: labels[label] for label in order}
        write_samples(make_samples(samples.ids, samples.texts, labels=in_order), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_damaged_table_is_told_from_a_missing_one(samples, tmp_path):
    path = tmp_path / "samples.parquet"
    with pytest.raises(InputError, match="does not exist"):
        read_samples(path)
    write_samples(samples, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DamagedError, match="cannot be read as Parquet"):
        read_samples(path)
    pq.write_table(pa.table({"row": [0], "id": ["a"]}), path)
    with pytest.raises(DamagedError, match="lacks 'length', 'role', 'digest'"):
        read_samples(path)


@pytest.mark.parametrize(
    ("rows", "ids", "message"),
    [([1, 0], ["a", "b"], "not in sample order"), ([0, 1], ["a", "a"], "'a' .row 0 and row 1.")],
)
def test_a_table_out_of_order_or_with_repeated_ids_is_damaged(rows, ids, message, tmp_path):
    columns = {"row": rows, "id": ids, "length": [1, 1], "role": ["base"] * 2, "digest": ["x", "y"]}
    pq.write_table(pa.table(columns), tmp_path / "samples.parquet")
    with pytest.raises(DamagedError, match=message):
        read_samples(tmp_path / "samples.parquet")


def test_the_package_imports_nothing_heavy():
    heavy = {"PIL", "pyarrow", "zarr", "torch", "pandas", "xarray", "scipy", "dask", "pydantic"}
    code = f"import sys, hpcgeom.data; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
