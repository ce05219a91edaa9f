"""The checksum of a file: SHA-256 where it is short, and of the CRC-32C of its pieces where it is long."""

from __future__ import annotations

import hashlib

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.store.checksums import PIECE_BYTES, checksum_of, crc32c
from hpcgeom.store.records import FileEntry
from hpcgeom.store.shards import write_shard

CONTENT = np.random.default_rng(0).integers(0, 256, 2 * PIECE_BYTES + 5, dtype=np.uint8).tobytes()


def slow_crc32c(content: bytes) -> bytes:
    """Bit by bit, with the reversed polynomial of RFC 3720."""
    state = 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return (state ^ 0xFFFFFFFF).to_bytes(4, "little")


def test_the_crc_has_its_check_value():
    assert crc32c(np.frombuffer(b"123456789", np.uint8)) == bytes.fromhex("839206e3")


@pytest.mark.parametrize("size", [0, 9, PIECE_BYTES])
def test_that_of_a_short_file_is_its_sha256(tmp_path, size):
    (tmp_path / "a").write_bytes(CONTENT[:size])
    expected = FileEntry("a", size, hashlib.sha256(CONTENT[:size]).hexdigest(), None)
    assert FileEntry.of(tmp_path, "a") == expected


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=70), piece=st.integers(5, 30))
def test_that_of_pieces_is_as_defined(tmp_path_factory, content, piece):
    pieces = [content[first : first + piece] for first in range(0, len(content), piece)]
    expected = hashlib.sha256(b"".join(slow_crc32c(each[:-4]) + each[-4:] for each in pieces))
    path = tmp_path_factory.mktemp("checksums") / "a"
    path.write_bytes(content)
    assert checksum_of(path, piece) == expected.hexdigest()


@pytest.mark.parametrize("size", [2 * PIECE_BYTES, len(CONTENT)])
def test_every_piece_counts_and_so_does_their_order(tmp_path, size):
    def of(content: bytes) -> FileEntry:
        (tmp_path / "a").write_bytes(content)
        return FileEntry.of(tmp_path, "a")

    content = CONTENT[:size]
    places = [place for first in range(0, size, PIECE_BYTES)
              for last in [min(first + PIECE_BYTES, size)]
              for place in (first, max(first, last - 5), last - 4, last - 1)]  # fmt: skip
    flipped = [bytearray(content) for _ in places]
    for place, other in zip(places, flipped, strict=True):
        other[place] ^= 1
    swapped = content[PIECE_BYTES : 2 * PIECE_BYTES] + content[:PIECE_BYTES] + content[2 * PIECE_BYTES :]
    entries = [of(other) for other in (content, content[:-1], swapped, *flipped)]
    assert entries[0].piece_bytes == PIECE_BYTES
    distinct = {bytes(other) for other in (content, content[:-1], swapped, *flipped)}
    assert len({entry.checksum for entry in entries}) == len(distinct)


def test_shards_of_one_shape_are_told_from_each_other_and_from_damaged_ones(tmp_path):
    entries, crcs = [], set()
    for name in "ab":
        rows = np.random.default_rng(ord(name)).standard_normal((32, 50)).astype(np.float32)
        entries.append(FileEntry.written(name, write_shard(tmp_path / name, rows, 32, 8).checksum))
        crcs.add(google_crc32c.value((tmp_path / name).read_bytes()[: 4 * (8 * 200 + 4)]))
    assert len(crcs) == 1  # chunks that end in their own CRC-32C
    assert [entry.fault(tmp_path) for entry in entries] == ["", ""]
    whole = (tmp_path / "a").read_bytes()
    for place in (0, 1599, 1600, 1603, 1604, len(whole) - 5, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 16
        (tmp_path / "a").write_bytes(damaged)
        assert entries[0].fault(tmp_path) == "a has other bytes than its record says"
    (tmp_path / "a").write_bytes((tmp_path / "b").read_bytes())
    assert entries[0].fault(tmp_path) == "a has other bytes than its record says"
