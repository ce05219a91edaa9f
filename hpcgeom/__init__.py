"""The geometry of hidden representations of large transformers.

From one manifest: activations of every layer, exact nearest neighbors, intrinsic dimension and neighborhood
overlap, in labeled datasets. Names below are imported when they are first used.

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
    from hpcgeom.geometry.bayes import twonn_bayes
    from hpcgeom.geometry.causal import logit_lens_evolution
    from hpcgeom.geometry.cka import cka_matrix
    from hpcgeom.geometry.clusters import adjusted_rand, density_peaks
    from hpcgeom.geometry.gride import gride
    from hpcgeom.geometry.half_samples import half_sample_errors
    from hpcgeom.geometry.half_sets import half_sample_set_errors
    from hpcgeom.geometry.imbalance import imbalance_matrix, information_imbalance
    from hpcgeom.geometry.labels import class_fraction_ks, label_overlap, label_overlap_balanced
    from hpcgeom.geometry.local import local_dimension
    from hpcgeom.geometry.mle import levina_bickel
    from hpcgeom.geometry.moments import moments
    from hpcgeom.geometry.overlap import overlap, overlap_matrix
    from hpcgeom.geometry.plateau import plateau
    from hpcgeom.geometry.retrieval import retrieval
    from hpcgeom.geometry.sets import chance_levels, neighbor_sets
    from hpcgeom.geometry.spectrum import Covariance, pca_components, spectrum
    from hpcgeom.geometry.token_clouds import gram_log_volume, prompt_volumes
    from hpcgeom.geometry.twonn import twonn, twonn_by_mu_fraction, twonn_mle, twonn_mle_censored
    from hpcgeom.manifest.load import load_manifest
    from hpcgeom.search.representation import nearest_neighbors

_HOMES = {
    "adjusted_rand": "geometry.clusters:adjusted_rand",
    "chance_levels": "geometry.sets:chance_levels",
    "cka_matrix": "geometry.cka:cka_matrix",
    "class_fraction_ks": "geometry.labels:class_fraction_ks",
    "Covariance": "geometry.spectrum:Covariance",
    "density_peaks": "geometry.clusters:density_peaks",
    "gram_log_volume": "geometry.token_clouds:gram_log_volume",
    "gride": "geometry.gride:gride",
    "half_sample_errors": "geometry.half_samples:half_sample_errors",
    "half_sample_set_errors": "geometry.half_sets:half_sample_set_errors",
    "imbalance_matrix": "geometry.imbalance:imbalance_matrix",
    "information_imbalance": "geometry.imbalance:information_imbalance",
    "label_overlap": "geometry.labels:label_overlap",
    "label_overlap_balanced": "geometry.labels:label_overlap_balanced",
    "levina_bickel": "geometry.mle:levina_bickel",
    "load_manifest": "manifest.load:load_manifest",
    "local_dimension": "geometry.local:local_dimension",
    "logit_lens_evolution": "geometry.causal:logit_lens_evolution",
    "measure": "api.measuring:measure",
    "moments": "geometry.moments:moments",
    "nearest_neighbors": "search:nearest_neighbors",
    "neighbor_sets": "geometry.sets:neighbor_sets",
    "open_activations": "api.opening:open_activations",
    "open_details": "api.opening:open_details",
    "open_neighbors": "api.opening:open_neighbors",
    "open_results": "api.opening:open_results",
    "overlap": "geometry.overlap:overlap",
    "overlap_matrix": "geometry.overlap:overlap_matrix",
    "pca_components": "geometry.spectrum:pca_components",
    "plan": "api.pricing:price",
    "plateau": "geometry.plateau:plateau",
    "prompt_volumes": "geometry.token_clouds:prompt_volumes",
    "retrieval": "geometry.retrieval:retrieval",
    "run": "api.running:run_manifest",
    "spectrum": "geometry.spectrum:spectrum",
    "twonn": "geometry.twonn:twonn",
    "twonn_bayes": "geometry.bayes:twonn_bayes",
    "twonn_by_mu_fraction": "geometry.twonn:twonn_by_mu_fraction",
    "twonn_mle": "geometry.twonn:twonn_mle",
    "twonn_mle_censored": "geometry.twonn:twonn_mle_censored",
}

__all__ = [
    "Covariance",
    "__version__",
    "adjusted_rand",
    "chance_levels",
    "cka_matrix",
    "class_fraction_ks",
    "density_peaks",
    "gram_log_volume",
    "gride",
    "half_sample_errors",
    "half_sample_set_errors",
    "imbalance_matrix",
    "information_imbalance",
    "label_overlap",
    "label_overlap_balanced",
    "levina_bickel",
    "load_manifest",
    "local_dimension",
    "logit_lens_evolution",
    "measure",
    "moments",
    "nearest_neighbors",
    "neighbor_sets",
    "open_activations",
    "open_details",
    "open_neighbors",
    "open_results",
    "overlap",
    "overlap_matrix",
    "pca_components",
    "plan",
    "plateau",
    "prompt_volumes",
    "retrieval",
    "run",
    "spectrum",
    "twonn",
    "twonn_bayes",
    "twonn_by_mu_fraction",
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
