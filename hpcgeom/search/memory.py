"""What a search needs in memory, known before it starts."""

from __future__ import annotations

from hpcgeom.search.candidates import capacity
from hpcgeom.search.rerank import AUDITED_ROWS
from hpcgeom.search.threads import BLOCK_ROWS

BYTES_PER_ROW = 96  # hashes, their order, numbers of equal rows and groups
PANEL_BYTES = 32 * 2**20  # a product for each thread, and the buffers of BLAS


def candidate_bytes(k: int) -> int:
    """What a row holds from its first candidate to its exact list: scores, numbers, norm and thresholds."""
    return capacity(k) * 8 + 40


def search_memory_bytes(
    n_rows: int, n_features: int, k: int, tile_rows: int, *, itemsize: int = 4, n_repeated: int = 0
) -> int:
    """Most bytes that a search holds, libraries and results that the caller keeps aside.

    Parameters
    ----------
    n_rows, n_features, k, tile_rows
        As given to `search_representation`.
    itemsize
        Bytes of a stored value: 2 or 4; 8 for float64, for the cosine metric and for standardized features.
    n_repeated
        Rows that later rows equal: their lists are kept until the end.

    Returns
    -------
    int
        Bytes. Of the rows only candidates, hashes and groups are held, `candidate_bytes` + 96 bytes each; the
        rest depends on the tile.
    """
    tile = min(tile_rows, n_rows)
    stored = max(itemsize, 4)
    # Three tiles in float32 and one as stored, read and selected; or three as stored.
    tiles = tile * n_features * max(3 * 4 + 2 * stored, 4 * stored)
    lists = tile * (capacity(k) * 8 + 6 * k * (8 + 8))  # measured, gathered, expanded, renumbered
    second_look = 8 * BLOCK_ROWS * (2 * n_features * (8 + 1) + 8 * BLOCK_ROWS + 2 * k)
    audit = AUDITED_ROWS * k * 16
    per_row = (BYTES_PER_ROW + candidate_bytes(k)) * n_rows + n_repeated * k * (8 + 8)
    return tiles + lists + second_look + audit + per_row + PANEL_BYTES
