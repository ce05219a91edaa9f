"""What a search needs in memory, known before it starts."""

from __future__ import annotations

from hpcgeom.search.candidates import capacity
from hpcgeom.search.held import is_held
from hpcgeom.search.rerank import AUDITED_ROWS, MOST_DOUBTFUL
from hpcgeom.search.threads import BLOCK_ROWS

HASH_BYTES = 96  # of a row while equal ones are looked for: hashes, their order, and numbers
GROUP_BYTES = 40  # of a row from then on: numbers of equal rows and groups
PANEL_BYTES = 32 * 2**20  # a product for each thread, and the buffers of BLAS


def candidate_bytes(k: int) -> int:
    """What a row holds from its first candidate to its exact list: scores, numbers, norm and thresholds."""
    return capacity(k) * 8 + 28


def bytes_per_row(k: int) -> int:
    """What the memory of a search grows by with every row; its list takes 12 K when it is done."""
    return max(HASH_BYTES, GROUP_BYTES + candidate_bytes(k))


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
        Bytes. Of the rows only candidates and groups are held, `bytes_per_row`, and the rows themselves where
        they are few (`held.read_once`); the rest depends on the tile.
    """
    tile = min(tile_rows, n_rows)
    stored = max(itemsize, 4)
    # Three tiles in float32 and one as it is read, half precision being widened; or four in float64.
    tiles = tile * n_features * max(3 * 4 + stored + itemsize % 4, 4 * stored)
    lists = tile * (capacity(k) * 8 + 6 * k * (8 + 8))  # measured, gathered, expanded, renumbered
    second_look = 8 * BLOCK_ROWS * (2 * n_features * (8 + 1) + 8 * BLOCK_ROWS + 2 * k)
    audit = (AUDITED_ROWS + MOST_DOUBTFUL) * k * 16
    rows = bytes_per_row(k) * n_rows + n_repeated * k * (8 + 8)
    held = n_rows * n_features * itemsize if is_held(n_rows, tile_rows) else 0
    return tiles + held + lists + second_look + audit + rows + PANEL_BYTES
