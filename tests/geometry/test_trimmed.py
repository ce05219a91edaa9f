"""The biased formula that is in use: what it is, and what it is too large by."""

from __future__ import annotations

import numpy as np
import pytest
from known_clouds import brute_neighbors, gaussian
from scipy.integrate import quad

from hpcgeom.errors import InputError
from hpcgeom.geometry import twonn_mle_censored
from hpcgeom.geometry.trimmed import trimming_bias, twonn_mle_trimmed
from hpcgeom.types import Status


@pytest.mark.parametrize("fraction", [0.3, 0.9, 1.0])
def test_it_is_the_formula_of_the_lab(rng, fraction):
    distances = brute_neighbors(gaussian(rng, 200, 3), 2)[0]
    mus = distances[:, 1] / distances[:, 0]
    n_eff = int(len(mus) * fraction)
    mus_reduced = np.sort(mus)[:n_eff]
    found = twonn_mle_trimmed(distances, fraction)
    assert found.value == pytest.approx(n_eff / np.log(mus_reduced).sum(), rel=1e-12)
    assert np.isnan(found.error)
    assert (found.n_points, found.status) == (200, Status.OK)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9, 0.99])
def test_it_is_too_large_by_an_integral(fraction):
    kept = quad(lambda t: t * np.exp(-t), 0.0, -np.log(1.0 - fraction))[0]
    assert trimming_bias(fraction) == pytest.approx(fraction / kept, rel=1e-12)
    n = 200_000
    log_mu = -np.log((np.arange(n) + 0.5) / n) / 7.0  # of dimension 7
    exact = np.stack([np.ones(n), np.exp(log_mu)], axis=1)
    assert twonn_mle_trimmed(exact, fraction).value == pytest.approx(7.0 * trimming_bias(fraction), rel=1e-3)
    assert twonn_mle_censored(exact, fraction).value == pytest.approx(7.0, rel=1e-3)


def test_all_ratios_have_no_bias():
    assert trimming_bias(1.0) == 1.0


def test_it_is_undefined_where_the_censored_one_is(rng):
    distances = brute_neighbors(gaussian(rng, 40, 3), 2)[0]
    for bad in (np.zeros((40, 2)), np.ones((40, 2)), distances[:5], distances[:, :1]):
        found, unbiased = twonn_mle_trimmed(bad), twonn_mle_censored(bad)
        assert np.isnan(found.value)
        assert found.status is unbiased.status is not Status.OK
    with pytest.raises(InputError, match=r"fraction: expected a number in \(0, 1\], found 0"):
        twonn_mle_trimmed(distances, 0.0)
