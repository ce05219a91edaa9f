"""Exact nearest neighbors of all points of a representation; nothing heavy is imported until it is used.

Candidates are proposed by faiss in float32, a proven bound decides whether a neighbor can have been missed,
and every distance that is returned is computed in float64 from the stored rows. ``docs/exactness.md`` has the
proof.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcgeom.search.brute import neighbors_of_rows
    from hpcgeom.search.certificate import Certificate
    from hpcgeom.search.memory import search_memory_bytes
    from hpcgeom.search.representation import (
        NeighborLists,
        NeighborTile,
        RepresentationSearch,
        nearest_neighbors,
        search_representation,
        search_tiles,
    )
    from hpcgeom.search.rows import ArrayRows, RowSource

_HOMES = {
    "ArrayRows": "rows",
    "Certificate": "certificate",
    "NeighborLists": "representation",
    "NeighborTile": "representation",
    "RepresentationSearch": "representation",
    "RowSource": "rows",
    "nearest_neighbors": "representation",
    "neighbors_of_rows": "brute",
    "search_memory_bytes": "memory",
    "search_representation": "representation",
    "search_tiles": "representation",
}

__all__ = [
    "ArrayRows",
    "Certificate",
    "NeighborLists",
    "NeighborTile",
    "RepresentationSearch",
    "RowSource",
    "nearest_neighbors",
    "neighbors_of_rows",
    "search_memory_bytes",
    "search_representation",
    "search_tiles",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"hpcgeom.search.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
