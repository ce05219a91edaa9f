"""Sources of rows: what is refused, in words, and how little is held in memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from search_oracle import assert_same_lists, oracle

from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.search import (
    ArrayRows,
    nearest_neighbors,
    propose,
    search_memory_bytes,
    search_representation,
    search_tiles,
)
from hpcgeom.search.memory import FAISS_BYTES
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
        search_representation(ArrayRows(points), 3, tile_rows=7)


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
        search_representation(ArrayRows(points), 3, "cosine", tile_rows=16)


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
        search_representation(ArrayRows(points), 3, **{option: 0})


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
        search_representation(ArrayRows(points), 3, mean=mean)


def test_row_numbers_fit_int32():
    class Endless(ArrayRows):
        shape = (2**31, 4)

    with pytest.raises(InputError, match=r"there are 2147483648 points, and row numbers are int32"):
        search_representation(Endless(np.zeros((1, 4))), 3)


def test_a_source_that_returns_another_shape_is_refused(points):
    class Short(ArrayRows):
        def read(self, start, stop):
            return super().read(start, stop)[:-1]

    with pytest.raises(
        InputError, match=r"reading rows 0 to 59 gave the shape \(59, 4\), expected \(60, 4\)"
    ):
        search_representation(Short(points), 3)


def test_a_missing_faiss_is_a_sentence(monkeypatch, points):
    monkeypatch.setitem(sys.modules, "faiss", None)
    propose._faiss.cache_clear()
    with pytest.raises(HpcgeomError, match=r"the search needs faiss.*install hpcgeom\[cpu\]"):
        nearest_neighbors(points, 3)


def test_the_environment_is_as_before_after_loading_faiss(monkeypatch):
    import os

    for value in (None, "Haswell"):
        monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
        if value:
            monkeypatch.setenv("OPENBLAS_CORETYPE", value)
        with propose._fitting_openblas_kernels():
            assert os.environ.get("OPENBLAS_CORETYPE", None) == (value or propose._openblas_core())
        assert os.environ.get("OPENBLAS_CORETYPE") == value


def test_nothing_heavy_is_imported_with_the_package():
    code = "import sys, hpcgeom.search; print(sorted({'faiss', 'numba', 'numpy'} & set(sys.modules)))"
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


def test_tiles_can_be_streamed(points):
    tiles = list(search_tiles(ArrayRows(points), None, 5, tile_rows=16))
    assert [(start, stop) for start, stop, _, _ in tiles] == [(0, 15), (15, 30), (30, 45), (45, 60)]
    found = np.concatenate([t[2] for t in tiles]), np.concatenate([t[3] for t in tiles])
    assert_same_lists(found, oracle(points, 5))


class Generated:
    """Rows that exist only while they are read."""

    def __init__(self, n_rows, n_features):
        self.shape = (n_rows, n_features)

    def read(self, start, stop):
        row = np.arange(start, stop, dtype=np.float64)[:, None]
        return np.sin(row * (1 + np.arange(self.shape[1]))).astype(np.float32)


@pytest.mark.parametrize("n_rows", [2000, 4000])
def test_memory_stays_within_what_was_said(n_rows):
    nearest_neighbors(
        np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32), 5
    )  # compiled before
    tracemalloc.start()
    for _ in search_representation(Generated(n_rows, 200), 16, tile_rows=500).tiles():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    promised = search_memory_bytes(n_rows, 200, 16, 500) - FAISS_BYTES
    assert peak < promised
    assert promised < 60e6  # the rows themselves have up to 6.4 MB, the second look has most of the rest


def test_memory_grows_with_the_tile_and_hardly_with_the_rows():
    small, large = search_memory_bytes(10**5, 1024, 64, 4096), search_memory_bytes(10**6, 1024, 64, 4096)
    assert large - small == 96 * 900_000
    assert search_memory_bytes(10**6, 1024, 64, 8192) > large
    assert search_memory_bytes(10**6, 1024, 64, 4096, itemsize=8) > large
