"""Neighbor lists from elsewhere: every convention is told apart, and what contradicts it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hpcgeom.data.neighbor_conventions import check_against_points, check_pairs, without_self
from hpcgeom.errors import InputError

N, K = 60, 6


def lists(points, k, *, own):
    """Neighbors from the whole matrix of distances, with the points themselves in column 0 or without."""
    matrix = cdist(points, points)
    np.fill_diagonal(matrix, -1.0 if own else np.inf)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, :k]
    return np.maximum(np.take_along_axis(matrix, indices, axis=1), 0.0), indices


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def points(rng):
    return rng.standard_normal((N, 3))


@pytest.fixture
def own(points):
    return lists(points, K + 1, own=True)


@pytest.fixture
def others(points):
    return lists(points, K, own=False)


def same(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("mode", ["auto", "drop"])
def test_points_in_their_own_lists_are_dropped(own, others, mode):
    *found, notice = without_self(*own, mode, "x")
    same(found, others)
    assert notice == "points were in their own lists and were dropped"
    distances, none, notice = without_self(own[0], None, mode, "x")
    np.testing.assert_array_equal(distances, others[0])
    assert none is None
    assert notice == "points were in their own lists (column 0 is zero) and were dropped"
    np.testing.assert_array_equal(without_self(None, own[1], mode, "x")[1], others[1])


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_points_that_are_not_in_their_own_lists_are_not_missed(others, mode):
    *found, notice = without_self(*others, mode, "x")
    same(found, others)
    assert notice == "points are not in their own lists (no row names itself)"
    assert without_self(others[0], None, mode, "x")[2].endswith("(column 0 is not zero throughout)")
    np.testing.assert_array_equal(without_self(None, others[1], mode, "x")[1], others[1])


def test_what_contradicts_the_mode_is_refused(own, others):
    with pytest.raises(
        InputError, match=r"x: row 0 names itself in column 0, though self_column is none; .* drop"
    ):
        without_self(*own, "none", "x")
    with pytest.raises(
        InputError, match=r"x: column 0 is zero in every row, .* self_column is none; .* drop"
    ):
        without_self(own[0], None, "none", "x")
    with pytest.raises(InputError, match=r"x: no row names itself, though self_column is drop; .* none"):
        without_self(*others, "drop", "x")
    with pytest.raises(
        InputError, match=r"x: row 0, column 0 is 0\.\d+; expected 0, the distance of a point to itself"
    ):
        without_self(others[0], None, "drop", "x")
    with pytest.raises(InputError, match=r"self_column is 'yes'; expected one of auto, drop, none: choose"):
        without_self(*own, "yes", "x")


def test_one_array_with_the_points_and_one_without_are_refused(own, others):
    with pytest.raises(
        InputError, match=r"column 0 of the distances is zero in every row, .*: drop column 0"
    ):
        without_self(own[0], others[1], "auto", "x")
    for mode in ("auto", "drop"):
        with pytest.raises(
            InputError, match=r"row \d+ names itself, and the distance .*: drop column 0 of the ind"
        ):
            without_self(others[0], own[1], mode, "x")


@pytest.mark.parametrize("copies", [2, 3, 9])
def test_among_equal_points_a_point_is_found_wherever_it_stands(points, copies):
    repeated = np.repeat(points[:20], copies, axis=0)
    matrix = cdist(repeated, repeated)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, : K + 1]  # ties by row: self is not always first
    distances = np.take_along_axis(matrix, indices, axis=1)
    assert (indices[:, 0] != np.arange(len(repeated))).any()
    found, numbers, _ = without_self(distances, indices, "auto", "x")
    np.testing.assert_array_equal(found, lists(repeated, K, own=False)[0])
    assert not (numbers == np.arange(len(repeated))[:, None]).any()
    if copies <= K + 1:
        np.testing.assert_array_equal(numbers, lists(repeated, K, own=False)[1])
    without = lists(repeated, K, own=False)  # every nearest neighbor is an equal point, at distance zero
    same(without_self(*without, "auto", "x")[:2], without)


def test_rows_that_do_not_name_themselves_need_a_reason(own):
    distances, indices = own
    indices = indices.copy()
    indices[7] = np.roll(indices[7], -1)
    indices[7, -1] = next(row for row in range(N) if row not in own[1][7])
    with pytest.raises(
        InputError, match=r"row 7 does not name itself, and other rows do \(59 of 60\); .*pass the dist"
    ):
        without_self(None, indices, "auto", "x")
    with pytest.raises(InputError, match=r"row 7 does not name itself"):
        without_self(distances, indices, "drop", "x")


def test_rounded_distances_of_points_to_themselves_are_for_who_asks(own, others):
    distances = own[0].copy()
    distances[4, 0] = 1e-4
    with pytest.raises(
        InputError, match=r"row 4 names itself at distance 0.0001; expected 0: .*drop \(--self-column"
    ):
        without_self(distances, own[1], "auto", "x")
    *found, notice = without_self(distances, own[1], "drop", "x")
    same(found, others)
    assert notice.endswith("; they were up to 0.0001 away from themselves, which is rounding")


@pytest.mark.parametrize("dimension", [2, 5, 10])
@pytest.mark.parametrize("k", [2, 16])
def test_squares_break_a_triangle_and_distances_do_not(rng, dimension, k):
    distances, indices = lists(rng.standard_normal((800, dimension)), k, own=False)
    assert "cannot be known from lists alone" in check_pairs(distances, indices, "x")
    with pytest.raises(
        InputError, match=r"x: rows \d+, \d+ and \d+ are .* apart; .* pass squared \(--squared\)"
    ) as caught:
        check_pairs(distances**2, indices, "x")
    corners = [int(word.strip(",")) for word in str(caught.value).split() if word.strip(",").isdigit()][:3]
    assert len(set(corners)) == 3


def test_distances_on_a_line_and_in_float32_break_no_triangle(rng):
    for points in (
        rng.standard_normal((500, 1)),
        np.arange(50.0)[:, None],
        rng.standard_normal((500, 4)) + 100,
    ):
        distances, indices = lists(points, 10, own=False)
        check_pairs(distances.astype(np.float32).astype(np.float64), indices, "x")


def test_what_lists_alone_cannot_show_is_said(rng):
    """On a regular simplex all angles are acute, and squares are distances too."""
    distances, indices = lists(np.eye(30), 5, own=False)
    assert check_pairs(distances**2, indices, "x").endswith("no triangle of neighbors says so")
    with pytest.raises(
        InputError, match=r"are 2 apart; expected 1.41421, the euclidean distance .*: these are squares"
    ):
        check_against_points(distances**2, indices, np.eye(30), "x", "euclidean")
    check_against_points(distances, indices, np.eye(30), "x", "euclidean")


def test_distances_of_other_points_are_found_against_the_points(points, others):
    check_against_points(*others, points.astype(np.float32), "x", "euclidean")
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    check_against_points(*lists(unit, K, own=False), points, "x", "cosine")
    with pytest.raises(
        InputError, match=r"the euclidean distance of the points: pass the arrays of one search"
    ):
        check_against_points(*others, points[::-1], "x", "euclidean")


def test_arrays_of_two_searches_are_found(points, others, rng):
    foreign = lists(rng.standard_normal((N, 3)), K, own=False)
    with pytest.raises(
        InputError, match=r"row \d+ lists row \d+ at distance .*, and row .* pass .* of one search"
    ):
        check_pairs(foreign[0], others[1], "x")
