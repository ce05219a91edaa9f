"""The same distances and indices through DADApy 0.3.4 and through hpcgeom, on 200 random clouds each.

DADApy's lists begin with the point itself, ours do not. Its GRIDE drops large ratios (`_filter_mus`) and
stops its bisection at 1e-7: ours is held against its public method by ``mu_filter="dadapy"``, and without a
filter against the root of its derivative of the likelihood.
"""

import contextlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_clouds import clouds, without_self
from scipy.optimize import bisect

from hpcgeom.geometry import (
    class_fraction_ks,
    gride,
    label_overlap,
    label_overlap_balanced,
    overlap,
    overlap_matrix,
    twonn,
    twonn_by_mu_fraction,
    twonn_mle,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dadapy._utils import utils as dadapy_utils

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

on_many = settings(max_examples=200, deadline=None)
any_k = st.sampled_from([1, 2, 5, 10, 19])


@on_many
@given(cloud=clouds)
def test_twonn_is_its_base_algorithm(cloud):
    ours = without_self(cloud.distances)
    fractions = [0.5, 0.9, 0.98]
    theirs = [cloud.data().compute_id_2NN(algorithm="base", mu_fraction=f)[0] for f in fractions]
    assert twonn(ours).value == pytest.approx(theirs[1], rel=1e-6)
    np.testing.assert_allclose(twonn_by_mu_fraction(ours, fractions)[0], theirs, rtol=1e-6)


@on_many
@given(cloud=clouds)
def test_twonn_mle_is_its_ml_algorithm(cloud):
    theirs = cloud.data().compute_id_2NN(algorithm="ml")[0]
    assert twonn_mle(without_self(cloud.distances)).value == pytest.approx(theirs, rel=1e-6)


@on_many
@given(cloud=clouds)
def test_gride_with_its_filter_is_its_public_method(cloud):
    """Values, errors and distances as they come, not rounded."""
    with contextlib.redirect_stdout(None):
        values, errors, distances = cloud.data().return_id_scaling_gride(range_max=64)
    result = gride(without_self(cloud.distances), mu_filter="dadapy")
    n = len(values)
    assert n == np.count_nonzero(result.n2 <= cloud.k)
    np.testing.assert_allclose(result.value[:n], values, rtol=1e-6)
    np.testing.assert_allclose(result.error[:n], errors, rtol=1e-6)
    np.testing.assert_allclose(result.distance[:n], distances, rtol=1e-12)
    assert np.isnan(result.value[n:]).all()


@on_many
@given(cloud=clouds)
def test_gride_without_a_filter_is_the_root_of_its_derivative(cloud):
    result = gride(without_self(cloud.distances))
    for i, n2 in enumerate(result.n2[result.n2 <= cloud.k].tolist()):
        n1 = n2 // 2
        mu = cloud.distances[:, n2] / cloud.distances[:, n1]
        theirs = bisect(
            lambda d, mu=mu, n1=n1, n2=n2: dadapy_utils._neg_dloglik_did(d, mu, n1, n2, mu.size, 1e-16),
            1e-3,
            1e3,
            xtol=1e-10,
        )
        error = dadapy_utils._fisher_info_scaling(theirs, mu, n1, n2, eps=1e-16) ** -0.5
        assert result.value[i] == pytest.approx(theirs, rel=1e-6)
        assert result.error[i] == pytest.approx(error, rel=1e-6)


@on_many
@given(cloud=clouds, k=any_k)
def test_overlap_is_its_data_overlap(cloud, k):
    for some_k in (k, cloud.k):
        theirs = cloud.data().return_data_overlap(
            distances=cloud.other_distances, dist_indices=cloud.other_indices, k=some_k
        )
        ours, others = without_self(cloud.indices), without_self(cloud.other_indices)
        assert overlap(ours, others, some_k).value == pytest.approx(theirs, rel=1e-12, abs=1e-12)
        matrix = overlap_matrix(np.stack([ours, others]), [some_k])
        assert matrix[0, 0, 1] == pytest.approx(theirs, rel=1e-12, abs=1e-12)


@on_many
@given(cloud=clouds, k=any_k)
def test_label_overlap_is_its_own_plain_and_weighted(cloud, k):
    ours = without_self(cloud.indices)
    plain = cloud.data().return_label_overlap(cloud.labels, k=k, weighted=False)
    weighted = cloud.data().return_label_overlap(cloud.labels, k=k, weighted=True)
    assert label_overlap(ours, cloud.labels, k).value == pytest.approx(plain, rel=1e-12, abs=1e-12)
    balanced = label_overlap_balanced(ours, cloud.labels, k)
    assert balanced.value == pytest.approx(weighted, rel=1e-12, abs=1e-12)


@on_many
@given(cloud=clouds, class_fraction=st.sampled_from([0.05, 0.25, 0.3]))
def test_label_overlap_follows_its_class_fraction(cloud, class_fraction):
    ours = without_self(cloud.indices)
    ks = class_fraction_ks(cloud.labels, class_fraction)
    both = [
        cloud.data().return_label_overlap(cloud.labels, class_fraction=class_fraction, weighted=weighted)
        for weighted in (False, True)
    ]
    assert label_overlap(ours, cloud.labels, ks).value == pytest.approx(both[0], rel=1e-12, abs=1e-12)
    balanced = label_overlap_balanced(ours, cloud.labels, ks)
    assert balanced.value == pytest.approx(both[1], rel=1e-12, abs=1e-12)
