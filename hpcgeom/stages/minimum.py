"""The layer of the smallest intrinsic dimension, and what is known about labels there and at the last layer.

Where the dimension is smallest, representations hold most about what they are of (Valeriani et al., The
geometry of hidden representations of large transformer models, 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Variables = Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]]
Found = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]
NO_LAYER = -1


def minimum_layers(variables: Variables, layers: npt.NDArray[np.int64]) -> Found:
    """Layers of the smallest `intrinsic_dimension`, among all that have one; of equal ones the first.

    Parameters
    ----------
    variables
        Of the results, with their dimensions.
    layers
        Numbers of the layers along their axis.

    Returns
    -------
    dict
        `minimum_layer` and, where label overlaps are known, these there and at the last layer that was
        measured; nothing where there is no `intrinsic_dimension`.
    """
    if "intrinsic_dimension" not in variables:
        return {}
    dimension = variables["intrinsic_dimension"][1]  # (model, site, pooling, layer, estimator)
    is_known = np.asarray(~np.isnan(dimension).all(axis=3))
    position = np.argmin(np.where(np.isnan(dimension), np.inf, dimension), axis=3)
    place = ("model", "site", "pooling")
    found: Found = {"minimum_layer": ((*place, "estimator"), np.where(is_known, layers[position], NO_LAYER))}
    if "label_overlap" not in variables:
        return found
    overlap = variables["label_overlap"][1]  # (model, site, pooling, layer, label, k)
    m, s, p, _ = np.ogrid[tuple(map(slice, position.shape))]
    at_minimum = np.where(is_known[..., None, None], overlap[m, s, p, position], np.nan)
    n_points = variables["n_all_points"][1]
    last = n_points.shape[3] - 1 - np.argmax(n_points[..., ::-1] > 0, axis=3)
    m, s, p = np.ogrid[tuple(map(slice, last.shape))]
    return found | {
        "label_overlap_at_minimum": ((*place, "estimator", "label", "k"), at_minimum),
        "label_overlap_at_last": ((*place, "label", "k"), overlap[m, s, p, last]),
    }
