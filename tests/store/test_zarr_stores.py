"""Chunks, shards and fill values; and that no damage of a shard is ever read as numbers."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from hpcgeom.errors import DamagedError, InputError
from hpcgeom.store import activations, arrays, neighbors
from hpcgeom.store.activations import FLOAT16_LIMIT, LayerRows
from hpcgeom.store.axes import Group, PointAxis

SAMPLES = PointAxis(np.array([f"s{row}" for row in range(300)], dtype=object))
MEAN = Group("resid/mean", (0, 2), 5, SAMPLES, 256)


@given(row_bytes=st.integers(1, 2**24), power=st.integers(8, 16))
def test_chunks_are_powers_of_two_that_divide_a_shard_and_stay_within_a_mebibyte(row_bytes, power):
    rows = arrays.chunk_rows(row_bytes, 2**power)
    assert rows & (rows - 1) == 0
    assert 2**power % rows == 0
    assert rows == 1 or rows * row_bytes <= 2**20
    assert rows == 2**power or 2 * rows * row_bytes > 2**20  # as large as they may be


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "int8"])
def test_what_was_never_written_reads_as_no_data(dtype):
    value = np.array(arrays.fill_value(dtype), dtype=dtype)
    assert np.isnan(value) if np.dtype(dtype).kind == "f" else value == -1


@pytest.fixture
def store(tmp_path):
    """A store of two layers and 300 samples, its first unit written."""
    path = tmp_path / "m.zarr"
    activations.create(path, [MEAN], "float32", {"model": "m"})
    activations.write(path, "resid/mean", 0, block(256), "here")
    return path


def block(rows: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(rows).standard_normal((2, rows, 5)) * scale).astype(np.float32)


def test_rows_come_back_as_written_and_unwritten_ones_are_nan(store):
    rows = LayerRows(store, ["resid/mean"], 1)
    assert rows.shape == (300, 5)
    np.testing.assert_array_equal(rows.read(10, 256), block(256)[1, 10:])
    assert np.isnan(rows.read(256, 300)).all()
    activations.write(store, "resid/mean", 256, block(44), "here")
    np.testing.assert_array_equal(rows.read(250, 300)[6:], block(44)[1])


def test_a_unit_owns_one_file_a_layer(store):
    shards = sorted((store / "resid/mean/activations/c").rglob("*"))
    names = [path.relative_to(store).as_posix() for path in shards if path.is_file()]
    assert names == ["resid/mean/activations/c/0/0/0", "resid/mean/activations/c/1/0/0"]


def test_zeros_are_written_and_not_left_to_the_fill_value(store):
    activations.write(store, "resid/mean", 256, np.zeros((2, 44, 5), np.float32), "here")
    assert (store / "resid/mean/activations/c/0/1/0").exists()
    array = zarr.open_array(store, path="resid/mean/activations", mode="r")
    assert np.isnan(array.fill_value)
    assert (array[0, 256:] == 0).all()


def test_laying_out_twice_changes_nothing(store):
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    activations.create(store, [MEAN], "float32", {"model": "m"})
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    assert [path.name for path in store.parent.iterdir()] == ["m.zarr"]


def test_names_of_modules_are_a_coordinate_of_the_layers(tmp_path):
    group = Group("module_x/mean", (0, 1), 3, SAMPLES, 256, modules=("blocks.0.mlp", "blocks.1.mlp"))
    activations.create(tmp_path / "m.zarr", [group], "float32", {})
    module = zarr.open_array(tmp_path / "m.zarr", path="module_x/mean/module", mode="r")
    assert module[:].tolist() == ["blocks.0.mlp", "blocks.1.mlp"]


def test_values_that_float16_cannot_keep_are_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "half.zarr"
    activations.create(path, [MEAN], "float16", {})
    large = block(256)
    large[1, 7, 3] = -65_000.0
    with pytest.raises(InputError, match=r"model 'm': layer position 1 holds 6\.5e\+04.*60000.*float32"):
        activations.write(path, "resid/mean", 0, large, "model 'm'")
    assert not (path / "resid/mean/activations/c").exists()
    large[1, 7, 3] = FLOAT16_LIMIT
    activations.write(path, "resid/mean", 0, large, "model 'm'")
    found = LayerRows(path, ["resid/mean"], 1).read(0, 256)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, large[1], rtol=1e-3, atol=1e-7)


def test_no_flipped_bit_and_no_cut_of_a_shard_is_read_as_numbers(store):
    shard = store / "resid/mean/activations/c/1/0/0"
    whole, expected = shard.read_bytes(), block(256)[1]
    rows = LayerRows(store, ["resid/mean"], 1)
    for position in range(0, len(whole), 37):
        shard.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(
            DamagedError, match=r"m\.zarr cannot be read at resid/mean/activations, layer pos"
        ):
            rows.read(0, 256)
    for size in (len(whole) - 1, len(whole) - 4, len(whole) // 2, 10, 3):
        shard.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match=r"rows 0:256.*hpcgeom verify names.*hpcgeom resume"):
            rows.read(0, 256)
    shard.write_bytes(whole)
    np.testing.assert_array_equal(rows.read(0, 256), expected)


@pytest.fixture
def lists(tmp_path):
    """A store of lists with one layer written, in which rows 3 and 9 are equal."""
    path = tmp_path / "lists.zarr"
    neighbors.create(path, [Group("points/none", (4,), 5, SAMPLES, 65_536)], 4, {})
    rng = np.random.default_rng(0)
    first = np.arange(300, dtype=np.int32)
    first[9] = 3
    values = {
        "neighbor_index": rng.integers(0, 300, (300, 4)).astype(np.int32),
        "neighbor_distance": np.sort(rng.uniform(size=(300, 4)), axis=1),
        "duplicate_of": first,
        "distinct_index": rng.integers(0, 300, (300, 4)).astype(np.int32),
        "distinct_distance": np.sort(rng.uniform(size=(300, 4)), axis=1),
    }
    neighbors.write_rows(path, "points/none", 0, 0, values)
    return path, values


def test_lists_come_back_and_distinct_ones_are_used_where_points_are_equal(lists):
    path, values = lists
    found = neighbors.read_lists(path, "points/none", 0, 300)
    np.testing.assert_array_equal(found.indices, values["neighbor_index"])
    np.testing.assert_array_equal(found.distances, values["neighbor_distance"])
    np.testing.assert_array_equal(found.distinct_indices, values["distinct_index"])
    np.testing.assert_array_equal(found.distinct_distances, values["distinct_distance"])
    assert found.representatives.tolist() == [row for row in range(300) if row != 9]


def test_lists_without_equal_points_are_the_distinct_ones_too(lists):
    path, _ = lists
    neighbors.write_rows(path, "points/none", 0, 0, {"duplicate_of": np.arange(300, dtype=np.int32)})
    found = neighbors.read_lists(path, "points/none", 0, 300)
    assert found.distinct_indices is found.indices
    assert found.distinct_distances is found.distances


@pytest.mark.parametrize(
    "name", ["neighbor_index/c/0/0/0", "distinct_distance/c/0/0/0", "duplicate_of/c/0/0"]
)
def test_a_flipped_bit_in_a_list_names_its_array(lists, name):
    path, _ = lists
    shard = path / "points/none" / name
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(
        DamagedError, match=rf"lists\.zarr cannot be read at points/none/{name.split('/')[0]}, layer"
    ):
        neighbors.read_lists(path, "points/none", 0, 300)


def test_a_shard_of_few_points_is_not_written_as_if_there_were_many(lists):
    path, _ = lists
    assert (path / "points/none/neighbor_distance/c/0/0/0").stat().st_size < 2 * 300 * 4 * 8
