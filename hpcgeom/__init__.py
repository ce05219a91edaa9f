"""The geometry of hidden representations of large transformers.

From one manifest: activations of every layer, exact nearest neighbors, intrinsic dimension and neighborhood
overlap, in labelled datasets. Names below are imported when they are first used.

Examples
--------
>>> import numpy as np
>>> import hpcgeom as hg
>>> points = np.random.default_rng(0).standard_normal((1000, 3))
>>> distances, indices = hg.nearest_neighbors(points, k=2)
>>> round(hg.twonn(distances).value)
3
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpcgeom.version import __version__

if TYPE_CHECKING:
    from hpcgeom.api.measuring import measure
    from hpcgeom.api.opening import open_activations, open_details, open_neighbors, open_results
    from hpcgeom.api.pricing import price as plan
    from hpcgeom.api.running import run_manifest as run
    from hpcgeom.geometry.gride import gride
    from hpcgeom.geometry.labels import label_overlap
    from hpcgeom.geometry.overlap import overlap, overlap_matrix
    from hpcgeom.geometry.twonn import twonn, twonn_mle, twonn_mle_censored
    from hpcgeom.manifest.load import load_manifest
    from hpcgeom.search.representation import nearest_neighbors

_HOMES = {
    "gride": "geometry.gride:gride",
    "label_overlap": "geometry.labels:label_overlap",
    "load_manifest": "manifest.load:load_manifest",
    "measure": "api.measuring:measure",
    "nearest_neighbors": "search:nearest_neighbors",
    "open_activations": "api.opening:open_activations",
    "open_details": "api.opening:open_details",
    "open_neighbors": "api.opening:open_neighbors",
    "open_results": "api.opening:open_results",
    "overlap": "geometry.overlap:overlap",
    "overlap_matrix": "geometry.overlap:overlap_matrix",
    "plan": "api.pricing:price",
    "run": "api.running:run_manifest",
    "twonn": "geometry.twonn:twonn",
    "twonn_mle": "geometry.twonn:twonn_mle",
    "twonn_mle_censored": "geometry.twonn:twonn_mle_censored",
}

__all__ = [
    "__version__",
    "gride",
    "label_overlap",
    "load_manifest",
    "measure",
    "nearest_neighbors",
    "open_activations",
    "open_details",
    "open_neighbors",
    "open_results",
    "overlap",
    "overlap_matrix",
    "plan",
    "run",
    "twonn",
    "twonn_mle",
    "twonn_mle_censored",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        return getattr(import_module(f"hpcgeom.{module}"), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
