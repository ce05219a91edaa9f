"""Arrays of distances, row numbers and ratios: found, and refused where they are something else."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from scipy.spatial.distance import cdist

from hpcgeom.data.neighbor_arrays import checked_distances, checked_indices, checked_ratios
from hpcgeom.data.neighbor_files import find_arrays
from hpcgeom.errors import InputError

N, K = 60, 6
FAISS = float(np.finfo(np.float32).max)


@pytest.fixture
def own():
    """Distances and row numbers (60, 7) from the whole matrix; the points themselves are in column 0."""
    points = np.random.default_rng(0).standard_normal((N, 3))
    matrix = cdist(points, points)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, : K + 1]
    return np.take_along_axis(matrix, indices, axis=1), indices


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (3, 2, np.nan, r"d.npy: row 3, column 2 is nan \(1 of 420 values\); expected a number: search again"),
        (3, 6, np.inf, r"row 3, column 6 is inf .*; expected a finite number: search again"),
        (3, 6, FAISS, r"row 3, column 6 is 3.40282e\+38 .*; expected a distance: this is faiss's mark"),
        (
            3,
            6,
            np.sqrt(FAISS),
            r"row 3, column 6 is 1.84467e\+19 .*faiss's mark for no neighbor: search again",
        ),
        (3, 0, -1e-7, r"row 3, column 0 is -1e-07 .*; expected a distance of 0 or more: similarities are no"),
        (3, 2, 1e-9, r"row 3, column 2 is 1e-09 .*; expected no less than the one before it: sort each row"),
    ],
)
def test_a_bad_distance_is_named_with_its_place_and_its_mend(own, row, column, value, message):
    distances = own[0].copy()
    distances[row, column] = value
    with pytest.raises(InputError, match=message):
        checked_distances(distances, "d.npy")


def test_faiss_s_marks_are_known_in_float32_too(own):
    for mark in (np.float32(FAISS), np.sqrt(np.float32(FAISS))):
        distances = own[0].astype(np.float32)
        distances[:, -1] = mark
        with pytest.raises(InputError, match=r"column 6 is .* \(60 of 420 values\); .*faiss's mark"):
            checked_distances(distances, "d.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.ones((4, 3), np.float16),
            r"d.npy holds float16; expected float64 \(or float32\), because rounding",
        ),
        (
            np.ones((4, 3), int),
            r"d.npy holds int64 of shape \(4, 3\); expected the distances of the neighbors",
        ),
        (np.ones(4), r"d.npy holds float64 of shape \(4,\); expected the distances .* save them as such"),
        (np.ones((0, 3)), r"of shape \(0, 3\)"),
        (
            cdist(np.eye(4), np.eye(4)),
            r"is a whole matrix of distances, 4 by 4; .* sort each row with numpy.argsort",
        ),
    ],
)
def test_other_arrays_are_no_distances(array, message):
    with pytest.raises(InputError, match=message):
        checked_distances(array, "d.npy")


def test_roots_are_taken_where_that_is_asked_for(own):
    squares = own[0] ** 2
    np.testing.assert_allclose(checked_distances(squares, "d", squared=True), own[0], rtol=1e-15)
    np.testing.assert_array_equal(checked_distances(squares, "d"), squares)
    in_float32 = checked_distances(own[0].astype(np.float32), "d")
    assert in_float32.dtype == np.float64
    np.testing.assert_array_equal(in_float32, own[0].astype(np.float32))
    np.testing.assert_array_equal(
        checked_ratios(np.array([1.0, 4.0]), "m", squared=True), [[1.0, 1.0], [1.0, 2.0]]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.astype(float), r"i.npy holds float64 of shape \(60, 7\); expected the row numbers"),
        (lambda i: i[0], r"i.npy holds int64 of shape \(7,\); expected the row numbers"),
        (lambda i: i + 1, r"i.npy holds numbers from 1 to 60; expected rows counted from 0: subtract 1"),
        (
            lambda i: np.where(i == 5, -1, i),
            r"is -1 .*; expected a row number: -1 is faiss's mark for no neighbor",
        ),
        (
            lambda i: np.where(i == 5, -2, i),
            r"is -2 .*; expected a row in 0..59: pass lists of neighbors among",
        ),
        (lambda i: np.where(i == 5, 60, i), r"is 60 .*; expected a row in 0..59"),
        (lambda i: np.where(i == 5, 2**40, i), r"expected a row in 0..59"),
        (
            lambda i: i[:, [0, 1, 2, 3, 2]],
            r"row 0 names one neighbor twice; expected different rows: search its",
        ),
    ],
)
def test_other_arrays_are_no_row_numbers(own, change, message):
    with pytest.raises(InputError, match=message):
        checked_indices(change(own[1]), "i.npy")


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int64, ">i4"])
def test_row_numbers_of_any_integer_type_are_read(own, dtype):
    np.testing.assert_array_equal(checked_indices(own[1].astype(dtype), "i"), own[1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.array([1.5, 0.9]),
            r"m.npy: row 1 is 0.9 \(1 of 2 values\); expected r2 / r1, .*: take the reciprocals",
        ),
        (
            np.array([1.5, np.inf]),
            r"row 1 is inf .*: where the nearest neighbor lies at distance zero there is no",
        ),
        (np.array([1.5, np.nan]), r"row 1 is nan .*; expected a number: where the nearest neighbor"),
        (
            np.ones((3, 2)),
            r"m.npy holds float64 of shape \(3, 2\); expected one ratio r2 / r1 for each point",
        ),
    ],
)
def test_bad_ratios_are_named(array, message):
    with pytest.raises(InputError, match=message):
        checked_ratios(array, "m.npy")


def test_arrays_are_found_in_files_in_zarr_and_in_memory(own, tmp_path):
    np.save(tmp_path / "layer3_d.npy", own[0])
    zarr.save_array(tmp_path / "layer10_d.npy.zarr", own[0])
    found = find_arrays(str(tmp_path / "layer{layer}_d.npy"))
    assert {layer: array.name for layer, array in found.items()} == {3: str(tmp_path / "layer3_d.npy")}
    mixed = find_arrays({10: tmp_path / "layer10_d.npy.zarr", 3: tmp_path / "layer3_d.npy", 0: own[0]})
    assert list(mixed) == [0, 3, 10]
    for array in mixed.values():
        np.testing.assert_array_equal(array.load(), own[0])
    assert list(find_arrays(own[0], "all")) == [0]
    assert list(find_arrays({1: own[0], 3: own[0], 5: own[0]}, [5, 1])) == [1, 5]


def test_arrays_that_are_not_there_are_refused(own, tmp_path):
    with pytest.raises(InputError, match=r"ids: layer 2 is missing; found \[0\]: name those that there are"):
        find_arrays(own[0], [0, 2], "ids")
    with pytest.raises(
        InputError, match=r"ids: expected layers by number from 0 on, found \[-1\]; number them"
    ):
        find_arrays({-1: own[0]}, "all", "ids")
    with pytest.raises(InputError, match=r"ids: expected layers .*, found none"):
        find_arrays({}, "all", "ids")
    with pytest.raises(
        InputError, match=r"ids: found list; expected a pattern, .*: pass for example {0: array}"
    ):
        find_arrays([own[0]], "all", "ids")
    with pytest.raises(InputError, match=r"no.npy does not exist: check the path"):
        find_arrays({0: tmp_path / "no.npy"})[0].load()
    (tmp_path / "a.npz").touch()
    with pytest.raises(InputError, match=r"a.npz is neither .npy nor a folder with a Zarr array"):
        find_arrays({0: tmp_path / "a.npz"})[0].load()
    zarr.create_array(tmp_path / "z", data=own[0], chunks=(60, 7))
    chunk = tmp_path / "z" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"z is damaged \(.*\): write or copy it again"):
        find_arrays({0: tmp_path / "z"})[0].load()


def test_equal_distances_are_in_order():
    tied = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 2.0]])
    np.testing.assert_array_equal(checked_distances(tied, "d"), tied)
