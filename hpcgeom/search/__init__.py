"""Exact nearest neighbors of all points of a representation; nothing heavy is imported until it is used.

Candidates are proposed in float32 or less, each pair of rows once; a proven bound decides whether a neighbor
can have been missed; and every distance that is returned is computed in float64 from the stored rows.
``docs/exactness.md`` has the proof.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcgeom.search.brute import neighbors_of_rows
    from hpcgeom.search.certificate import Certificate
    from hpcgeom.search.expand import NeighborTile
    from hpcgeom.search.memory import search_memory_bytes
    from hpcgeom.search.points import Points, Settings, scan_points, scanned_points
    from hpcgeom.search.representation import (
        NeighborLists,
        RepresentationSearch,
        nearest_neighbors,
        search_representation,
    )
    from hpcgeom.search.rows import ArrayRows, RowSource
    from hpcgeom.search.scan import Scan
    from hpcgeom.search.split import merge_rows, pairs_of_blocks, propose_pair
    from hpcgeom.search.threads import one_blas_thread

_HOMES = {
    "ArrayRows": "rows",
    "Certificate": "certificate",
    "NeighborLists": "representation",
    "NeighborTile": "expand",
    "RepresentationSearch": "representation",
    "RowSource": "rows",
    "Scan": "scan",
    "Settings": "points",
    "Points": "points",
    "merge_rows": "split",
    "pairs_of_blocks": "split",
    "propose_pair": "split",
    "scan_points": "points",
    "scanned_points": "points",
    "nearest_neighbors": "representation",
    "neighbors_of_rows": "brute",
    "one_blas_thread": "threads",
    "search_memory_bytes": "memory",
    "search_representation": "representation",
}

__all__ = [
    "ArrayRows",
    "Certificate",
    "NeighborLists",
    "NeighborTile",
    "Points",
    "RepresentationSearch",
    "RowSource",
    "Scan",
    "Settings",
    "merge_rows",
    "nearest_neighbors",
    "neighbors_of_rows",
    "one_blas_thread",
    "pairs_of_blocks",
    "propose_pair",
    "scan_points",
    "scanned_points",
    "search_memory_bytes",
    "search_representation",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"hpcgeom.search.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
