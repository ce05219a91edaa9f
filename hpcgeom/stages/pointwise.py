"""The dimension around every point of one layer, and how widely it spreads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.local import local_dimension
from hpcgeom.stages.dimensions import QUANTILES, Explain
from hpcgeom.types import Distances, Status, Values


def local_profile(
    distances: Distances,
    k: int,
    duplicate_of: npt.NDArray[np.int32] | None = None,
    explain: Explain = Status,
) -> Values:
    """Dimension around each point, and its quantiles over all that have one.

    Parameters
    ----------
    distances
        As for `local_dimension`: over distinct points, rows of further copies NaN.
    k
        Neighbors of each point.
    duplicate_of
        (N,): the row whose number a copy has; each its own if None.
    explain
        Gives the status to write in place of one that was found.

    Returns
    -------
    dict
        Arrays by name of the results' variable; quantiles are over distinct points.
    """
    found = local_dimension(distances, k)
    known = found.value[~np.isnan(found.value)]
    spread = np.quantile(known, QUANTILES) if known.size else np.full(len(QUANTILES), np.nan)
    return {
        "local_dimension": found.value if duplicate_of is None else found.value[duplicate_of],
        "local_dimension_quantile": spread,
        "local_dimension_n_points": np.array(found.n_points, dtype=np.int64),
        "local_dimension_status": np.array(explain(found.status), dtype=np.int8),
    }
