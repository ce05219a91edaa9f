"""The posterior of the dimension by DADApy 0.3.4 and by hpcgeom, from the same distances."""

import warnings

import numpy as np
import pytest

from hpcgeom.geometry import twonn_bayes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dadapy import Data

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 5.0), (1.0, 0.1), (50.0, 3.0)])
@pytest.mark.parametrize("d", [1, 4, 9])
def test_posterior_mean_and_deviation_agree(alpha, beta, d):
    data = Data(np.random.default_rng(d).standard_normal((300, d)))
    data.compute_distances(maxk=5)
    value, error = data.compute_id_2NN_wprior(alpha, beta)[:2]
    result = twonn_bayes(np.ascontiguousarray(data.distances[:, 1:], dtype=np.float64), alpha, beta)
    assert result.value == pytest.approx(value, rel=1e-12)
    assert result.error == pytest.approx(error, rel=1e-12)
