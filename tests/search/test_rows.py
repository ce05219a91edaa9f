"""Sources of rows: what is refused, in words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from search_oracle import search

from hpcgeom.errors import InputError
from hpcgeom.search import ArrayRows, Settings, nearest_neighbors, scan_points, scanned_points
from hpcgeom.search.rows import SelectedRows


@pytest.fixture
def points(rng):
    return rng.standard_normal((60, 4)).astype(np.float32)


@pytest.mark.parametrize("k", [60, 61])
def test_k_needs_more_points(points, k):
    with pytest.raises(
        InputError, match=rf"k is {k}, and each of 60 points has at most 59 neighbors: lower k"
    ):
        nearest_neighbors(points, k)


@pytest.mark.parametrize("k", [0, -3])
def test_k_is_at_least_one(points, k):
    with pytest.raises(InputError, match=rf"k is {k}, expected at least 1 neighbor"):
        nearest_neighbors(points, k)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_rows_that_are_not_finite_are_named(points, value, metric):
    points[17, 2] = value
    with pytest.raises(
        InputError, match=r"^row 17 has values that are NaN, infinite or above 1e301.*mend or remove"
    ):
        nearest_neighbors(points, 3, metric)


def test_all_rows_that_are_not_finite_are_counted(points):
    points[5:50:4] = np.nan
    with pytest.raises(
        InputError, match=r"^12 rows \(5, 9, 13, 17, 21, 25, 29, 33, \.\.\.\) have values that are NaN"
    ):
        search(points, 3, tile_rows=7)


def test_values_whose_distances_do_not_fit_float64_are_refused(points):
    huge = points.astype(np.float64)
    huge[3, 1] = 1e302
    with pytest.raises(InputError, match=r"row 3 has values that are NaN, infinite or above 1e301"):
        nearest_neighbors(huge, 3)


def test_a_zero_row_has_no_direction(points):
    points[31] = 0
    with pytest.raises(
        InputError, match=r"row 31 is zero in every feature, so it has no direction.*'euclidean'"
    ):
        search(points, 3, metric="cosine", tile_rows=16)


@pytest.mark.parametrize("dtype", [np.int64, np.complex64, np.longdouble, bool])
def test_other_kinds_of_numbers_are_refused(points, dtype):
    with pytest.raises(
        InputError, match=rf"the dtype {np.dtype(dtype)}, expected float16, float32 or float64"
    ):
        nearest_neighbors(points.real.astype(dtype), 3)


def test_points_have_two_dimensions(points):
    with pytest.raises(InputError, match=r"points have the shape \(240,\), expected two dimensions"):
        nearest_neighbors(points.ravel(), 3)


def test_the_metric_is_known(points):
    with pytest.raises(InputError, match=r"the metric is 'manhattan', expected 'euclidean' or 'cosine'"):
        nearest_neighbors(points, 3, "manhattan")


@pytest.mark.parametrize("option", ["tile_rows", "threads"])
def test_tiles_and_threads_are_positive(points, option):
    with pytest.raises(InputError, match=rf"{option} is 0, expected at least 1"):
        search(points, 3, **{option: 0})


def test_points_have_features():
    with pytest.raises(InputError, match=r"the number of features is 0, expected at least 1"):
        nearest_neighbors(np.empty((5, 0)), 3)


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (np.zeros(3), r"the mean has the shape \(3,\), expected \(4,\)"),
        (np.array([0, 0, np.nan, 0]), r"the mean has values that are NaN"),
    ],
)
def test_the_mean_fits_the_rows(points, mean, words):
    with pytest.raises(InputError, match=words):
        search(points, 3, mean=mean)


def test_row_numbers_fit_int32():
    class Endless(ArrayRows):
        shape = (2**31, 4)

    with pytest.raises(InputError, match=r"there are 2147483648 points, and row numbers are int32"):
        scan_points(Endless(np.zeros((1, 4))), Settings(3))


@pytest.mark.parametrize(("tile_rows", "last"), [(60, 59), (20, 19)])
def test_a_source_that_returns_another_shape_is_refused(points, tile_rows, last):
    class Short:
        shape = points.shape

        def read(self, start, stop):
            return points[start : stop - 1]

    with pytest.raises(
        InputError,
        match=rf"rows 0 to {last} gave the shape \({last}, 4\), expected \({last + 1}, 4\): .*: correct its",
    ):
        scan_points(Short(), Settings(3, tile_rows=tile_rows))


def test_nothing_heavy_is_imported_with_the_package():
    code = (
        "import sys, hpcgeom.search; print(sorted({'faiss', 'numba', 'numpy', 'torch'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert answer.strip() == "[]"


def test_selected_rows_are_read_in_pieces(rng):
    spans = []

    class Watched(ArrayRows):
        def read(self, start, stop):
            spans.append(stop - start)
            return super().read(start, stop)

    points = rng.standard_normal((1000, 2))
    chosen = np.array([0, 1, 2, 500, 510, 999])
    np.testing.assert_array_equal(SelectedRows(Watched(points), chosen, 10).read(1, 6), points[chosen[1:]])
    assert max(spans) <= 10


@pytest.mark.parametrize("n_base", [0, -2, 61])
def test_the_base_is_a_part_of_the_rows(points, n_base):
    with pytest.raises(InputError, match=rf"n_base is {n_base}, expected 1 to 60, the rows there are"):
        search(points, 3, n_base=n_base)


@pytest.mark.parametrize("k", [20, 59])
def test_k_needs_more_base_rows(points, k):
    with pytest.raises(
        InputError, match=rf"k is {k}, and each of 20 points has at most 19 neighbors: lower k"
    ):
        search(points, k, n_base=20)


@pytest.mark.parametrize(
    "options", [{}, {"n_base": 30}, {"standardize": True}, {"standardize": True, "n_base": 30}]
)
@pytest.mark.parametrize("row", [17, 41])
def test_base_rows_and_queries_that_are_not_finite_are_named(points, options, row):
    points[row, 2] = np.inf
    with pytest.raises(InputError, match=rf"^row {row} has values that are NaN, infinite or above 1e301"):
        search(points, 3, tile_rows=13, **options)


def test_a_base_row_that_is_zero_has_no_direction_nor_has_a_query(points):
    for row in (3, 55):
        spoiled = points.copy()
        spoiled[row] = 0
        with pytest.raises(InputError, match=rf"row {row} is zero in every feature"):
            search(spoiled, 3, n_base=50, metric="cosine")


def test_a_row_that_standardizing_makes_zero_has_no_direction(rng):
    half = rng.integers(-9, 9, (32, 4)).astype(np.float32)
    half[5] = 0  # the mean
    with pytest.raises(InputError, match=r"row 5 is zero in every feature"):
        search(np.concatenate([half, -half]), 3, metric="cosine", standardize=True)


def test_an_unknown_kernel_is_refused(points):
    with pytest.raises(
        InputError, match=r"the kernel of the search is 'tf32', expected one of auto, float32"
    ):
        search(points, 3, kernel="tf32")


def test_a_stored_scan_is_checked_against_the_settings(points):
    scan = scan_points(ArrayRows(points), Settings(3)).scan
    with pytest.raises(InputError, match=r"k is 60, and each of 60 points has at most 59 neighbors"):
        scanned_points(ArrayRows(points), Settings(60), scan)


def test_wrong_input_is_refused_before_anything_is_searched(points):
    """By the scan: nobody waits for an error."""
    points[59] = np.nan
    with pytest.raises(InputError, match=r"row 59 has values"):
        scan_points(ArrayRows(points), Settings(3, tile_rows=10))
