"""Stores whose points are tokens: parts of any length, read as one, and their coordinates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hpcgeom.errors import DamagedError
from hpcgeom.store import activations, neighbors
from hpcgeom.store.activations import LayerRows
from hpcgeom.store.axes import Group, PointAxis

SIZES = (300, 1, 257, 44)
EDGES = np.cumsum([0, *SIZES]).tolist()
GROUPS = [f"resid/tokens/rows-{number}" for number in range(len(SIZES))]
N = EDGES[-1]
AXIS = PointAxis(
    np.array([f"s{point // 3}" for point in range(N)], dtype=object), np.arange(N, dtype=np.int64) % 3 + 1
)
VALUES = np.random.default_rng(0).standard_normal((2, N, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "m.zarr"
    groups = [
        Group(name, (0, 2), 5, AXIS.part(start, stop), stop - start)
        for name, (start, stop) in zip(GROUPS, pairwise(EDGES), strict=True)
    ]
    activations.create(path, groups, "float32", {})
    for name, (start, stop) in zip(GROUPS, pairwise(EDGES), strict=True):
        activations.write(path, name, 0, VALUES[:, start:stop], "here")
    return path


@given(st.integers(0, N - 1), st.integers(1, N))
def test_ranges_across_parts_read_as_from_one_array(store, start, length):
    stop = min(start + length, N)
    rows = LayerRows(store, GROUPS, 1)
    assert rows.shape == (N, 5)
    np.testing.assert_array_equal(rows.read(start, stop), VALUES[1, start:stop])


def test_a_part_is_one_file_a_layer_whatever_its_length(store):
    files = sorted(path.relative_to(store).as_posix() for path in store.rglob("activations/c/*/*/*"))
    assert files == sorted(f"{name}/activations/c/{layer}/0/0" for name in GROUPS for layer in (0, 1))


def test_samples_and_positions_are_coordinates_for_plain_xarray(store):
    parts = xr.open_datatree(store, engine="zarr")["resid/tokens"].children
    for name, (start, stop) in zip(GROUPS, pairwise(EDGES), strict=True):
        part = parts[name.rpartition("/")[2]].dataset
        assert part["activations"].dims == ("layer", "point", "feature")
        assert set(part["activations"].coords) == {"layer", "sample", "position"}
        assert part["sample"].values.tolist() == AXIS.samples[start:stop].tolist()
        assert part["position"].values.tolist() == AXIS.positions[start:stop].tolist()


def test_damage_names_the_part(store, tmp_path):
    import shutil

    copy = tmp_path / "m.zarr"
    shutil.copytree(store, copy)
    shard = copy / GROUPS[2] / "activations/c/1/0/0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(bytes(content))
    rows = LayerRows(copy, GROUPS, 1)
    np.testing.assert_array_equal(rows.read(0, 301), VALUES[1, :301])
    with pytest.raises(
        DamagedError, match=r"at resid/tokens/rows-2/activations, layer position 1, rows 0:257"
    ):
        rows.read(0, N)


def test_lists_of_tokens_have_the_same_coordinates(tmp_path):
    path = tmp_path / "lists.zarr"
    neighbors.create(path, [Group("resid/tokens", (0, 2), 5, AXIS, 65_536)], 4, {})
    group = xr.open_datatree(path, engine="zarr")["resid/tokens"].dataset
    assert group["neighbor_distance"].dims == ("layer", "point", "rank")
    assert group["duplicate_of"].dims == ("layer", "point")
    assert set(group.coords) == {"layer", "rank", "sample", "position"}
    assert group["sample"].values.tolist() == AXIS.samples.tolist()
