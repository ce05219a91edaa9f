"""The checksum of a file: SHA-256 where it is short, and of the CRC-32 of its pieces where it is long."""

from __future__ import annotations

import binascii
import hashlib
import itertools

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.store.checksums import PIECE_BYTES, Checksum, checksum_of

CONTENT = np.random.default_rng(0).integers(0, 256, 3 * PIECE_BYTES + 5, dtype=np.uint8).tobytes()


def defined(content: bytes) -> str:
    """The definition, at once."""
    pieces = [content[first : first + PIECE_BYTES] for first in range(PIECE_BYTES, len(content), PIECE_BYTES)]
    parts = [content[:PIECE_BYTES], *(binascii.crc32(piece).to_bytes(4, "little") for piece in pieces)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("size", [0, 9, PIECE_BYTES - 1, PIECE_BYTES])
def test_that_of_a_short_file_is_its_sha256(tmp_path, size):
    (tmp_path / "a").write_bytes(CONTENT[:size])
    assert checksum_of(tmp_path / "a") == hashlib.sha256(CONTENT[:size]).hexdigest()


def test_that_of_a_long_file_is_a_number_that_was_written_down(tmp_path):
    # sha256sum of 256 KiB of zeros, with the check value of CRC-32 behind it (0xcbf43926, of "123456789")
    (tmp_path / "a").write_bytes(bytes(PIECE_BYTES) + b"123456789")
    expected = hashlib.sha256(bytes(PIECE_BYTES) + bytes.fromhex("2639f4cb")).hexdigest()
    assert checksum_of(tmp_path / "a") == expected


@settings(max_examples=40, deadline=None)
@given(size=st.integers(0, len(CONTENT)), cuts=st.lists(st.integers(0, len(CONTENT)), max_size=5))
def test_where_the_bytes_are_cut_changes_nothing(tmp_path_factory, size, cuts):
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    checksum = Checksum()
    for first, last in itertools.pairwise(edges):
        checksum.update(CONTENT[first:last])
    assert (checksum.size, checksum.hexdigest()) == (size, defined(CONTENT[:size]))


@pytest.mark.parametrize("size", [2 * PIECE_BYTES, len(CONTENT)])
def test_every_piece_counts_and_so_does_their_order(size):
    def of(content: bytes) -> str:
        checksum = Checksum()
        checksum.update(content)
        return checksum.hexdigest()

    content = CONTENT[:size]
    firsts = range(0, size, PIECE_BYTES)
    lasts = [min(first + PIECE_BYTES, size) - 1 for first in firsts]
    flipped = [bytearray(content) for _ in (*firsts, *lasts)]
    for position, other in zip((*firsts, *lasts), flipped, strict=True):
        other[position] ^= 1
    swapped = content[PIECE_BYTES : 2 * PIECE_BYTES] + content[:PIECE_BYTES] + content[2 * PIECE_BYTES :]
    others = [content, content[:-1], swapped, *flipped]
    assert len({of(other) for other in others}) == len(others)


def test_chunks_that_end_in_their_own_crc32c_are_told_from_each_other(tmp_path):
    found, crc32cs = set(), set()
    for seed in range(2):
        chunks = np.random.default_rng(seed).integers(0, 256, (40, 20_000), dtype=np.uint8)
        crcs = [google_crc32c.value(chunk).to_bytes(4, "little") for chunk in chunks]
        content = b"".join(chunk.tobytes() + crc for chunk, crc in zip(chunks, crcs, strict=True))
        (tmp_path / "a").write_bytes(content)
        found.add(checksum_of(tmp_path / "a"))
        crc32cs.add(google_crc32c.value(content))
    assert len(found) == 2
    assert len(crc32cs) == 1
