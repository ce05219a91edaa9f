"""What a search needs in memory, known before it starts."""

from __future__ import annotations

from hpcgeom.search.propose import n_proposals
from hpcgeom.search.tiles import BLOCK_ROWS

BYTES_PER_ROW = 96  # hashes, their order, numbers of equal rows and groups
FAISS_BYTES = 96 * 2**20  # its block of products (4096 x 1024) and the buffers of its BLAS


def search_memory_bytes(
    n_rows: int, n_features: int, k: int, tile_rows: int, *, itemsize: int = 4, n_repeated: int = 0
) -> int:
    """Most bytes that a search holds, libraries and results that the caller keeps aside.

    Parameters
    ----------
    n_rows, n_features, k, tile_rows
        As given to `search_representation`.
    itemsize
        Bytes of a stored value: 2 or 4; 8 for float64 and for the cosine metric.
    n_repeated
        Rows that later rows equal: their lists are kept until the end.

    Returns
    -------
    int
        Bytes. Beyond 96 bytes a row it depends on the tile and not on the number of rows.
    """
    tile = min(tile_rows, n_rows)
    stored = max(itemsize, 4)
    # two tiles as stored and as float32, and one more being read, widened or selected
    tiles = tile * n_features * (2 * (stored + 4) + 2 * stored)
    proposals = tile * n_proposals(k) * (4 + 8)
    lists = 6 * tile * k * (8 + 8)  # distinct, gathered, expanded, and in the numbering of the samples
    second_look = 8 * BLOCK_ROWS * (6 * n_features + 3 * BLOCK_ROWS)
    per_row = BYTES_PER_ROW * n_rows + n_repeated * k * (8 + 8)
    return tiles + proposals + lists + second_look + per_row + FAISS_BYTES
