"""Shards that are written straight are, byte by byte, those that Zarr writes, and are read as it does."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import BinaryIO

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.store import arrays, files
from hpcgeom.store.checksums import checksum_of
from hpcgeom.store.files import start_writing
from hpcgeom.store.shards import read_rows, write_shard
from hpcgeom.store.variables import ACTIVATIONS


def lay_out(folder, n_rows: int, shard: int, chunk: int, width: int, dtype: str) -> zarr.Array:
    def build(root: zarr.Group) -> None:
        shape, shards, chunks = (2, n_rows, width), (1, shard, width), (1, chunk, width)
        arrays.create_array(root, "a", ACTIVATIONS["activations"], shape, shards, chunks, dtype)

    arrays.lay_out(folder, build)
    return arrays.open_array(folder, "a")


@settings(max_examples=30, deadline=None)
@given(
    n_rows=st.integers(1, 70),
    n_chunks=st.integers(1, 6),
    chunk=st.sampled_from([1, 2, 4, 8]),
    width=st.integers(1, 5),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_every_byte_is_the_one_that_zarr_writes(tmp_path_factory, n_rows, n_chunks, chunk, width, dtype):
    folder, shard = tmp_path_factory.mktemp("shards"), n_chunks * chunk
    array = lay_out(folder / "zarr", n_rows, shard, chunk, width, dtype)
    values = np.random.default_rng(0).standard_normal((n_rows, width)).astype(dtype)
    for number, start in enumerate(range(0, n_rows, shard)):
        rows = values[start : start + shard]
        array[1, start : start + shard, :] = rows
        written = write_shard(folder / f"{number}", rows, shard, chunk)
        np.testing.assert_array_equal(written.column_sums, rows.sum(axis=0, dtype=np.float64))
        assert (written.checksum.size, written.checksum.hexdigest()) == (
            (folder / f"{number}").stat().st_size,
            checksum_of(folder / f"{number}", written.checksum.piece_bytes),
        )
        assert (folder / f"{number}").read_bytes() == (folder / f"zarr/a/c/1/{number}/0").read_bytes()


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    n_chunks=st.integers(1, 6),
    chunk=st.sampled_from([1, 2, 4, 8]),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_rows_come_back_as_zarr_reads_them(tmp_path_factory, data, n_chunks, chunk, dtype):
    folder, shard = tmp_path_factory.mktemp("shards"), n_chunks * chunk
    n_written = data.draw(st.integers(1, shard))
    array = lay_out(folder, shard, shard, chunk, 3, dtype)
    values = np.random.default_rng(0).standard_normal((n_written, 3)).astype(dtype)
    write_shard(folder / "a/c/1/0/0", values, shard, chunk)
    first = data.draw(st.integers(0, shard - 1))
    into = np.zeros((data.draw(st.integers(0, shard - first)), 3), dtype)
    read_rows(folder / "a/c/1/0/0", first, into, shard, chunk)
    np.testing.assert_array_equal(into, array[1, first : first + len(into)])  # NaN beyond the last one
    read_rows(folder / "a/c/0/0/0", first, into, shard, chunk)
    assert np.isnan(into).all()


def test_a_chunk_that_nobody_asks_for_is_not_read(tmp_path):
    write_shard(tmp_path / "0", np.arange(16, dtype=np.float32).reshape(8, 2), 8, 4)
    content = bytearray((tmp_path / "0").read_bytes())
    content[3] ^= 1
    (tmp_path / "0").write_bytes(bytes(content))
    into = np.empty((4, 2), np.float32)
    read_rows(tmp_path / "0", 4, into, 8, 4)
    np.testing.assert_array_equal(into, np.arange(8, 16, dtype=np.float32).reshape(4, 2))
    with pytest.raises(ValueError, match="the chunk at byte 0 is cut short, or not what its CRC-32C says"):
        read_rows(tmp_path / "0", 3, into, 8, 4)
    (tmp_path / "0").write_bytes(bytes(content[:-1]))
    with pytest.raises(ValueError, match="the index is cut short, or not what its CRC-32C says"):
        read_rows(tmp_path / "0", 4, into, 8, 4)


def test_rows_that_do_not_lie_together_are_written_in_their_order(tmp_path):
    array = lay_out(tmp_path / "zarr", 8, 8, 4, 3, "float32")
    values = np.arange(48, dtype=np.float32).reshape(3, 16).T[::2]
    write_shard(tmp_path / "zarr/a/c/0/0/0", values, 8, 4)
    np.testing.assert_array_equal(array[0], values)


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    def fail(*_: object) -> int:
        raise OSError("the test breaks it")

    monkeypatch.setattr("google_crc32c.value", fail)
    with pytest.raises(OSError, match="the test breaks it"):
        write_shard(tmp_path / "0", np.zeros((2, 2), np.float32), 2, 2)
    assert list(tmp_path.iterdir()) == []


def test_bytes_are_durable_before_they_have_their_name(tmp_path, monkeypatch):
    synced = []

    def sync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, [path.name for path in tmp_path.glob("0")]))

    monkeypatch.setattr(os, "fsync", sync)
    written = write_shard(tmp_path / "0", np.zeros((2, 2), np.float32), 2, 2)
    assert synced == [(written.checksum.size, [])]
    assert (tmp_path / "0").stat().st_size == written.checksum.size


def test_the_disk_begins_with_each_chunk_and_may_decline(tmp_path, monkeypatch):
    began = []

    def start(file: BinaryIO) -> bool:
        began.append(os.fstat(file.fileno()).st_size)
        return start_writing(file)

    monkeypatch.setattr(files, "start_writing", start)
    rows = np.ones((4, 2**18), np.float32)
    write_shard(tmp_path / "0", rows, 4, 2)
    assert len(began) == 2
    assert began[0] >= 2**21
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())  # a system without it
    write_shard(tmp_path / "1", rows, 4, 2)
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux starts to write when asked")
def test_the_disk_begins_with_a_file_but_not_with_a_pipe(tmp_path):
    with (tmp_path / "0").open("wb") as file:
        assert start_writing(file)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as file:
        assert not start_writing(file)
