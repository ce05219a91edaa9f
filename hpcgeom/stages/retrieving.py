"""Queries: whether the labels of their nearest base points are their own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpcgeom.data.labels import encode
from hpcgeom.data.samples import Samples
from hpcgeom.geometry.retrieval import retrieval
from hpcgeom.plan.plan import Plan
from hpcgeom.types import Values


def retrieve(
    plan: Plan,
    samples: Samples,
    indices: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int64],
    *,
    is_constant: bool,
) -> Values:
    """Retrieval of every label in one layer.

    Parameters
    ----------
    indices
        (queries, K): base points nearest to each query.
    rows
        (points,): row of the sample of each point, base and queries.
    is_constant
        Whether all base points are equal: neighbors are then row order, and no number says anything.
    """
    ks, n_base = plan.manifest["geometry"]["overlap_k"], len(rows) - len(indices)
    found = []
    for label in plan.manifest["geometry"]["labels"]:
        codes = encode(samples.labels[label])[0][rows]
        found.append(retrieval(indices, codes[:n_base], codes[n_base:], ks))
    numbers = {
        "retrieval_accuracy": [each.accuracy for each in found],
        "retrieval_accuracy_error": [each.accuracy_error for each in found],
        "retrieval_overlap": [each.overlap for each in found],
        "retrieval_overlap_error": [each.overlap_error for each in found],
    }
    values: Values = {
        name: np.full((len(found), len(ks)), np.nan) if is_constant else np.stack(columns)
        for name, columns in numbers.items()
    }
    values["n_unknown_label"] = np.array([each.n_unknown_label for each in found], dtype=np.int64)
    return values
