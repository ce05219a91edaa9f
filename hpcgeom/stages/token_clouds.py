"""The tokens of every sample as a cloud of their own: the volume that they span, and its singular values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.token_clouds import gram_log_volume
from hpcgeom.search import RowSource, one_blas_thread
from hpcgeom.types import Values

BLOCK_ROWS = 4096
"""Tokens that are read at a time, of whole samples; one sample may be more."""


def token_clouds(
    points: RowSource, of_samples: npt.NDArray[np.int64], n_samples: int, n_values: int
) -> Values:
    """Centered log-volume, rank and leading singular values of every sample's cloud.

    Parameters
    ----------
    points
        Tokens, those of a sample one after the other.
    of_samples
        (tokens,), ascending: the sample that each is of.
    n_samples
        Samples that are measured, the first ones.
    n_values
        Singular values that are kept, the largest ones.

    Returns
    -------
    dict
        Arrays by name of the results' variable.
    """
    values: Values = {
        "cloud_log_volume": np.full(n_samples, np.nan),
        "cloud_rank": np.zeros(n_samples, dtype=np.int64),
        "cloud_singular_value": np.full((n_samples, n_values), np.nan),
        "cloud_status": np.zeros(n_samples, dtype=np.int8),
    }
    edges = np.searchsorted(of_samples, np.arange(n_samples + 1))
    with one_blas_thread():
        for first, last in _blocks(edges):
            block = points.read(int(edges[first]), int(edges[last]))
            for sample in range(first, last):
                own = block[edges[sample] - edges[first] : edges[sample + 1] - edges[first]]
                found = gram_log_volume(own)
                values["cloud_log_volume"][sample] = found.log_volume
                values["cloud_rank"][sample] = found.rank
                kept = found.singular_values[:n_values]
                values["cloud_singular_value"][sample, : kept.size] = kept
                values["cloud_status"][sample] = found.status
    return values


def _blocks(edges: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of samples, each of one or of at most `BLOCK_ROWS` tokens."""
    first = 0
    while first < len(edges) - 1:
        last = int(np.searchsorted(edges, edges[first] + BLOCK_ROWS, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last
