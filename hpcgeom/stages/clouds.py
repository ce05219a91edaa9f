"""Numbers of one layer from its points themselves: variances, norms, and how far directions agree.

Rows are read once, block by block; what is held besides are a few covariance matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from hpcgeom.geometry.moments import (
    MomentSums,
    merge_moments,
    moment_errors,
    moment_sums,
    moments_from_sums,
)
from hpcgeom.geometry.rows import row_blocks
from hpcgeom.geometry.spectrum import Covariance, pca_components, spectrum
from hpcgeom.plan.memory import JACKKNIFE_GROUPS, SPECTRUM_BLOCK_BYTES
from hpcgeom.search import RowSource, one_blas_thread
from hpcgeom.types import Status, Values


def cloud_profile(rows: RowSource, n_points: int, settings: Mapping[str, Any]) -> Values:
    """Spectrum, norms and directions of the first `n_points` rows, all copies of a point included.

    Parameters
    ----------
    rows
        The points as they are stored: neither standardized nor brought to length one.
    settings
        `variance_fractions`, as in a manifest.

    Returns
    -------
    dict
        Arrays by name of the results' variable.
    """
    width = rows.shape[1]
    covariance = Covariance(width, JACKKNIFE_GROUPS)
    groups: list[MomentSums | None] = [None] * JACKKNIFE_GROUPS
    with one_blas_thread():
        for start, stop in row_blocks(n_points, max(1, SPECTRUM_BLOCK_BYTES // (8 * width))):
            block = rows.read(start, stop)
            covariance.add(block)
            for number, known in enumerate(groups):
                part = block[(number - start) % JACKKNIFE_GROUPS :: JACKKNIFE_GROUPS]
                if len(part):
                    sums = moment_sums(part)
                    groups[number] = sums if known is None else merge_moments(known, sums)
        values = _spectrum(covariance, settings)
    return values | _directions([group for group in groups if group is not None])


def _spectrum(covariance: Covariance, settings: Mapping[str, Any]) -> Values:
    found, fractions = spectrum(covariance), settings["variance_fractions"]
    counts = np.zeros(len(fractions), dtype=np.int64)
    if found.status is Status.OK:
        counts = pca_components(found.eigenvalues, fractions)
    return {
        "covariance_eigenvalue": found.eigenvalues,
        "n_components": counts,
        "participation_ratio": np.array(found.participation_ratio),
        "participation_ratio_error": np.array(found.participation_ratio_error),
        "spectrum_status": np.array(found.status, dtype=np.int8),
    }


def _directions(groups: list[MomentSums]) -> Values:
    found = moments_from_sums(reduce(merge_moments, groups))
    # Fewer points than groups leave some empty: no error can be told then.
    errors = moment_errors(groups if len(groups) == JACKKNIFE_GROUPS else [])
    return {
        "norm_mean": np.array(found.norm_mean),
        "norm_mean_error": np.array(errors.norm_mean),
        "norm_std": np.array(found.norm_std),
        "norm_std_error": np.array(errors.norm_std),
        "norm_max": np.array(found.norm_max),
        "mean_cosine": np.array(found.mean_cosine),
        "mean_cosine_error": np.array(errors.mean_cosine),
        "anisotropy": np.array(found.anisotropy),
        "anisotropy_error": np.array(errors.anisotropy),
        "n_zero_norms": np.array(found.n_zero_norms, dtype=np.int64),
        "direction_status": np.array(found.status, dtype=np.int8),
    }
