import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian, random_lists

from hpcgeom.errors import InputError
from hpcgeom.geometry import overlap, overlap_counts, overlap_from_counts, overlap_matrix
from hpcgeom.types import Status

seeds = st.integers(0, 2**32 - 1)


def shares_by_sets(lists_a, lists_b, k):
    """|A n B| / k of every point, by Python sets."""
    return np.array(
        [
            len((set(a[:k]) & set(b[:k])) - {-1}) / k
            for a, b in zip(lists_a.tolist(), lists_b.tolist(), strict=True)
        ]
    )


@settings(max_examples=60, deadline=None)
@given(
    n_layers=st.integers(1, 4),
    n_others=st.integers(1, 3),
    n_points=st.integers(1, 12),
    k=st.integers(1, 9),
    n_missing=st.integers(0, 3),
    dtype=st.sampled_from([np.int32, np.int64, np.uint16]),
    seed=seeds,
)
def test_is_what_sets_have_in_common_at_every_k(n_layers, n_others, n_points, k, n_missing, dtype, seed):
    rng = np.random.default_rng(seed)
    both = np.argsort(rng.random((n_layers + n_others, n_points, k + 5)), axis=2)[:, :, :k].astype(dtype)
    if dtype is not np.uint16:
        both[:, :, max(k - n_missing, 0) :] = -1
    layers, others = both[:n_layers], both[n_layers:]
    ks = range(1, k + 1)
    for right, matrix in ((layers, overlap_matrix(layers, ks)), (others, overlap_matrix(layers, ks, others))):
        assert matrix.shape == (k, n_layers, len(right))
        expected = [[[shares_by_sets(a, b, k).mean() for b in right] for a in layers] for k in ks]
        np.testing.assert_allclose(matrix, expected, rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(
    keys=st.lists(st.integers(-(2**63), 2**63 - 1).filter(lambda n: n != -1), min_size=9, unique=True),
    seed=seeds,
)
def test_neighbors_may_be_any_integers(keys, seed):
    rng = np.random.default_rng(seed)
    lists = np.array([[rng.permutation(np.array(keys, np.int64))[:6] for _ in range(5)] for _ in range(2)])
    expected = [shares_by_sets(lists[0], lists[1], k).mean() for k in (1, 3, 6)]
    np.testing.assert_allclose(overlap_matrix(lists, [1, 3, 6])[:, 0, 1], expected, rtol=1e-14)


def test_neighbors_that_meet_in_the_table_stay_apart():
    """Multiples of a large power of two have the same top bits of their hash."""
    step = 2**58
    a, b = (np.arange(i, i + 20, dtype=np.int64)[None, None, :] * step for i in (0, 10))
    assert overlap_matrix(a, [20], b).item() == 10 / 20


@pytest.mark.parametrize("k", [1, 5, 30])
def test_value_and_error_are_mean_and_spread_over_points(rng, k):
    points = gaussian(rng, 200, 3)
    layers = [brute_neighbors(cloud, 30)[1] for cloud in (points, points + 0.3 * gaussian(rng, 200, 3))]
    shares = shares_by_sets(*layers, k)
    estimate = overlap(*layers, k)
    assert estimate.value == pytest.approx(shares.mean(), rel=1e-14)
    assert estimate.error == pytest.approx(shares.std() / np.sqrt(200), rel=1e-12)
    assert (estimate.n_points, estimate.status) == (200, Status.OK)


def test_reproduces_the_reference_value(overlap_points):
    """DADApy's own: the neighbors in both coordinates, and in the second alone."""
    _, both = brute_neighbors(overlap_points, 30)
    _, second = brute_neighbors(overlap_points[:, 1:], 30)
    assert overlap(both, second, 30).value == pytest.approx(0.78, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_is_symmetric_and_one_with_itself(seed):
    lists = random_lists(np.random.default_rng(seed), 3, 20, 8)
    matrix = overlap_matrix(lists, [1, 3, 8])
    np.testing.assert_array_equal(matrix, np.swapaxes(matrix, 1, 2))
    np.testing.assert_array_equal(np.diagonal(matrix, axis1=1, axis2=2), 1.0)
    np.testing.assert_array_equal(overlap_matrix(lists, [1, 3, 8], lists.copy()), matrix)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_ignores_the_names_and_the_order_of_points(seed):
    rng = np.random.default_rng(seed)
    lists = random_lists(rng, 2, 20, 8)
    names = rng.permutation(10_000)[:20]
    order = rng.permutation(20)
    expected = overlap_matrix(lists, [2, 8])
    np.testing.assert_array_equal(overlap_matrix(names[lists][:, order], [2, 8]), expected)


def test_independent_lists_share_what_chance_gives(rng):
    n_points, k = 300, 20
    lists = random_lists(rng, 2, n_points, k)
    counts, squares = overlap_counts(lists, None, [k])
    value, error = overlap_from_counts(counts, squares, n_points, [k])
    assert abs(value[0, 0, 1] - k / (n_points - 1)) < 4 * error[0, 0, 1]
    assert error[0, 0, 1] < 0.004
    assert error[0, 0, 0] == 0.0


def test_full_lists_have_everything_in_common(rng):
    lists = random_lists(rng, 2, 12, 11)
    assert overlap(lists[0], lists[1], 11).value == 1.0


@pytest.mark.parametrize(
    "ks", [[1, 2, 5, 10, 20, 50], list(range(1, 21)), [255], [256], [300, 1, 20, 7, 255, 256]]
)
def test_many_and_long_lists_are_counted_as_one_by_one(rng, ks):
    lists = random_lists(rng, 2, 305, 304).astype(np.int32)
    matrix = overlap_matrix(lists, ks)
    assert matrix[:, 0, 1].tolist() == [overlap(lists[0], lists[1], k).value for k in ks]
    np.testing.assert_array_equal(np.diagonal(matrix, axis1=1, axis2=2), 1.0)
    expected = [shares_by_sets(lists[0], lists[1], k).mean() for k in ks]
    np.testing.assert_allclose(matrix[:, 0, 1], expected, rtol=1e-14)


def test_blocks_of_points_add_up(rng):
    lists = random_lists(rng, 3, 50, 10)
    other = random_lists(rng, 2, 50, 12)
    whole = overlap_counts(lists, other, [3, 10])
    parts = [
        overlap_counts(lists[:, rows], other[:, rows], [3, 10]) for rows in (slice(0, 17), slice(17, None))
    ]
    for i in range(2):
        assert whole[i].dtype == np.int64
        np.testing.assert_array_equal(whole[i], parts[0][i] + parts[1][i])


def test_errors_of_very_many_points_do_not_cancel():
    """Ten billion points with k - 1 or k common neighbors, k in one of 10,000."""
    n_points, k = 10**10, 100
    n_full = 10**6
    counts = np.array([[[n_points * (k - 1) + n_full]]])
    squares = np.array([[[(n_points - n_full) * (k - 1) ** 2 + n_full * k**2]]])
    _, error = overlap_from_counts(counts, squares, n_points, [k])
    share = n_full / n_points
    assert error.item() == pytest.approx(np.sqrt(share * (1 - share) / n_points) / k, rel=1e-12)


def test_missing_neighbors_never_match():
    a = np.array([[1, 2, -1, -1]])
    assert overlap(a, a, 4).value == 0.5
    assert overlap(np.full((3, 4), -1), np.full((3, 4), -1), 4).value == 0.0


def test_no_points_have_no_overlap():
    estimate = overlap(np.empty((0, 4), int), np.empty((0, 4), int), 2)
    assert np.isnan(estimate.value)
    assert np.isnan(estimate.error)
    assert estimate.status is Status.TOO_FEW_POINTS
    assert np.isnan(overlap_matrix(np.empty((2, 0, 4), int), [1])).all()


def test_reads_arrays_of_any_layout(rng):
    lists = random_lists(rng, 3, 20, 8)
    turned = np.asfortranarray(lists)
    turned.flags.writeable = False
    np.testing.assert_array_equal(overlap_matrix(turned, [2, 8]), overlap_matrix(lists, [2, 8]))
    strided = np.repeat(lists, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(
        overlap_matrix(strided, [2, 8], lists.astype(np.int32)), overlap_matrix(lists, [2, 8])
    )


LISTS = np.zeros((2, 5, 4), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: overlap(LISTS[0] * 1.0, LISTS[0], 2),
            r"indices_a: expected integers of shape \(points, neighbors\), found float64",
        ),
        (
            lambda: overlap(LISTS[0], LISTS, 2),
            r"indices_b: .* found int64 of shape \(2, 5, 4\); pass the row numbers",
        ),
        (lambda: overlap(LISTS[0], LISTS[0].tolist(), 2), r"indices_b: .* found list of shape \?"),
        (
            lambda: overlap(LISTS[0], LISTS[0, :3], 2),
            r"lists are of 5 and of 3 points; expected the same points",
        ),
        (
            lambda: overlap(LISTS[0], LISTS[0], 5),
            r"k: k = 5 is not in 1\.\.4, the length.*lower k, or search more",
        ),
        (lambda: overlap(LISTS[0], LISTS[0, :, :3], 4), r"k: k = 4 is not in 1\.\.3"),
        (lambda: overlap(LISTS[0], LISTS[0], 0), r"k: k = 0 is not in 1\.\.4"),
        (
            lambda: overlap(LISTS[0], LISTS[0], 2.5),
            r"k: expected integers, found \[2.5\]; pass whole numbers",
        ),
        (
            lambda: overlap_matrix(LISTS[0], [1]),
            r"indices: expected integers of shape \(layers, points, neighbors\)",
        ),
        (lambda: overlap_matrix(LISTS, [1], LISTS[0]), r"other: expected integers of shape \(layers, points"),
        (lambda: overlap_matrix(LISTS, [1], LISTS[:, :4]), r"lists are of 5 and of 4 points"),
        (lambda: overlap_matrix(LISTS, []), r"ks: expected at least one k, found none; pass for example"),
        (lambda: overlap_matrix(LISTS, [1, 9]), r"ks: k = 9 is not in 1\.\.4"),
    ],
)
def test_refuses_what_cannot_be_counted(call, message):
    with pytest.raises(InputError, match=message):
        call()
