"""Arrays of points: which files, which shapes, which rows."""

import os

import numpy as np
import pytest
import zarr

from hpcgeom.data import array_samples, layer_files, open_points, points_shape, read_rows
from hpcgeom.data.arrays import take_rows
from hpcgeom.errors import InputError


@pytest.fixture
def points(rng):
    return rng.standard_normal((7, 3)).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(folder, names, array):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, array)


def test_layers_come_in_numeric_order(points, tmp_path):
    save(tmp_path, [f"layer{n}.npy" for n in range(12)] + ["layerx.npy", "layer1.npy.npy"], points)
    found = layer_files("layer{layer}.npy", tmp_path)
    assert list(found) == list(range(12))
    assert found[10] == tmp_path / "layer10.npy"


def test_leading_zeros_folders_and_marks_in_names_are_fine(points, tmp_path):
    save(tmp_path, ["a[1]/07/x+07.npy", "a[1]/08/x+08.npy", "a[1]/08/x+07.npy"], points)
    found = layer_files("../a[1]/{layer}/x+{layer}.npy", tmp_path / "a[1]")
    assert {layer: path.name for layer, path in found.items()} == {7: "x+07.npy", 8: "x+08.npy"}


def test_a_repeated_placeholder_is_one_number(points, tmp_path):
    save(tmp_path, ["l1-1.npy", "l1-2.npy", "l2-2.npy"], points)
    assert [path.name for path in layer_files("l{layer}-{layer}.npy", tmp_path).values()] == [
        "l1-1.npy",
        "l2-2.npy",
    ]


def test_symbolic_links_are_followed(points, tmp_path):
    save(tmp_path, ["store/real.npy"], points)
    os.symlink(tmp_path / "store" / "real.npy", tmp_path / "l0.npy")
    assert open_points("l{layer}.npy", tmp_path)[0].n_points == 7


def test_gaps_are_named(points, tmp_path):
    save(tmp_path, [f"l{n}.npy" for n in (0, 1, 4, 6)], points)
    with pytest.raises(InputError, match=r"layer 2, 3, 5 missing; found 4 files, layers 0 to 6"):
        layer_files("l{layer}.npy", tmp_path)
    assert list(layer_files("l{layer}.npy", tmp_path, [6, 0, 6])) == [0, 6]
    save(tmp_path, ["m9.npy", "m16.npy"], points)
    assert list(layer_files("m{layer}.npy", tmp_path, [16, 9, 16])) == [9, 16]
    with pytest.raises(InputError, match="layer 9 missing"):
        layer_files("l{layer}.npy", tmp_path, [0, 9])


def test_two_files_of_one_layer_are_refused(points, tmp_path):
    save(tmp_path, ["l1.npy", "l01.npy"], points)
    with pytest.raises(InputError, match=r"l01.npy and \S+l1.npy are both layer 1"):
        layer_files("l{layer}.npy", tmp_path)


def test_a_pattern_without_a_placeholder_is_layer_zero(points, tmp_path):
    save(tmp_path, ["points.npy"], points)
    assert layer_files("points.npy", tmp_path) == {0: tmp_path / "points.npy"}
    assert layer_files(str(tmp_path / "points.npy"), "/", [0]) == {0: tmp_path / "points.npy"}
    with pytest.raises(
        InputError, match=r"its only layer is 0; found layers \[1\]: leave layers out, or write"
    ):
        layer_files("points.npy", tmp_path, [1])
    with pytest.raises(InputError, match=r"point.npy does not exist \(nearest: 'points.npy'\)"):
        layer_files("point.npy", tmp_path)


def test_nothing_found_and_unknown_placeholders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file matches"):
        layer_files("no/l{layer}.npy", tmp_path)
    with pytest.raises(InputError, match=r"the placeholder '\{model\}' is not known; .*: correct it"):
        layer_files("{model}-{layer}.npy", tmp_path)


def test_different_numbers_of_points_name_both_files(rng, tmp_path):
    np.save(tmp_path / "l0.npy", rng.standard_normal((7, 3)))
    np.save(tmp_path / "l1.npy", rng.standard_normal((6, 3)))
    with pytest.raises(InputError, match=r"l1.npy has 6 points and \S+l0.npy has 7"):
        open_points("l{layer}.npy", tmp_path)
    np.save(tmp_path / "l1.npy", rng.standard_normal((7, 5)))
    assert [file.n_features for file in open_points("l{layer}.npy", tmp_path)] == [3, 5]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_rows_come_back_as_stored(order, dtype, rng, tmp_path):
    stored = np.asarray(rng.standard_normal((9, 4)), dtype=dtype, order=order)
    np.save(tmp_path / "p.npy", stored)
    zarr.save_array(tmp_path / "p.zarr", stored.astype(stored.dtype.newbyteorder("=")))
    for name in ("p.npy", "p.zarr"):
        rows = read_rows(tmp_path / name, 2, 7)
        np.testing.assert_array_equal(rows, stored[2:7].astype(np.float64))
        assert rows.dtype == (np.float64 if dtype.endswith("8") else np.float32)
        assert rows.flags.c_contiguous
        assert rows.dtype.isnative
    assert points_shape(tmp_path / "p.npy") == ((9, 4), np.dtype(dtype))
    assert read_rows(tmp_path / "p.npy", 9, 9).shape == (0, 4)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_both_zarr_formats_are_read(zarr_format, points, tmp_path):
    zarr.create_array(tmp_path / "z", data=points, chunks=(2, 3), zarr_format=zarr_format)
    assert points_shape(tmp_path / "z") == ((7, 3), np.dtype("float32"))
    np.testing.assert_array_equal(read_rows(tmp_path / "z", 1, 6), points[1:6])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"has shape \(3,\); expected \(points, features\)"),
        (np.zeros((2, 3, 4)), r"has shape \(2, 3, 4\)"),
        (np.zeros((0, 3)), r"has shape \(0, 3\)"),
        (np.zeros((3, 0)), r"has shape \(3, 0\)"),
        (np.zeros((2, 2), int), "holds int64; expected one of float16, float32, float64"),
        (np.zeros((2, 2), complex), "holds complex128"),
        (np.zeros((2, 2), bool), "holds bool"),
        (np.zeros((2, 2), np.longdouble), "holds float128|holds longdouble"),
        (np.zeros((2, 2), object), r"holds Python objects \(a pickle\), which is never opened"),
        (np.zeros((2, 2), [("ä", "f4")]), r"expected one of float16"),  # format version 3.0
    ],
)
@pytest.mark.filterwarnings("ignore:Stored array in format 3.0:UserWarning")
def test_arrays_that_are_not_points_are_refused(array, message, tmp_path):
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(InputError, match=message):
        points_shape(tmp_path / "p.npy")


def test_truncated_and_foreign_files_are_refused(points, tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, points)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"p.npy is truncated: expected 212 bytes, found 211"):
        points_shape(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'no': 1}")
    with pytest.raises(InputError, match=r"is not a .npy file"):
        points_shape(path)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (-7, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InputError, match=r"is not a .npy file \(its shape is \(-7, 3\)\)"):
        points_shape(path)
    np.savez(tmp_path / "p.npz", points)
    (tmp_path / "p.npz").rename(path)
    with pytest.raises(InputError, match=r"is not a .npy file"):
        points_shape(path)
    with pytest.raises(InputError, match=r"q.pt is neither .npy nor a folder"):
        points_shape(tmp_path / "q.pt")


def test_only_the_header_is_read(tmp_path):
    path = tmp_path / "big.npy"
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 22, 1 << 14)}  # 256 GiB, sparse
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        try:
            file.truncate(file.tell() + (1 << 38))
        except OSError:
            pytest.skip("this file system has no files of 256 GiB")
    assert points_shape(path)[0] == (1 << 22, 1 << 14)
    assert read_rows(path, (1 << 22) - 2, 1 << 22).shape == (2, 1 << 14)


def test_damaged_zarr_chunks_are_refused(points, tmp_path):
    zarr.create_array(tmp_path / "z", data=points, chunks=(7, 3))
    chunk = tmp_path / "z" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"rows 1 to 3 of \S+z are damaged"):
        read_rows(tmp_path / "z", 1, 3)


def test_zarr_groups_and_plain_folders_are_refused(tmp_path):
    zarr.create_group(tmp_path / "group")
    (tmp_path / "plain").mkdir()
    for name in ("group", "plain"):
        with pytest.raises(InputError, match=rf"{name} cannot be opened as a Zarr array .*not of a group"):
            points_shape(tmp_path / name)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 8)])
def test_rows_that_are_not_there_are_refused(start, stop, points, tmp_path):
    np.save(tmp_path / "p.npy", points)
    with pytest.raises(
        InputError, match=f"has 7 points; rows {start} to {stop} are not all there: ask for others"
    ):
        read_rows(tmp_path / "p.npy", start, stop)


def test_a_row_that_is_not_there_is_refused(points, tmp_path):
    np.save(tmp_path / "p.npy", points)
    with pytest.raises(InputError, match="has 7 points; row 7 is not there: leave it out"):
        take_rows(tmp_path / "p.npy", np.array([0, 7]))


def test_samples_of_an_array_are_its_rows():
    samples = array_samples(3, 5)
    assert samples.ids == ("0", "1", "2")
    assert samples.lengths.tolist() == [5, 5, 5]
    assert array_samples(3, 5, ["x", "y", "z"]).digest != samples.digest
    with pytest.raises(InputError, match="2 ids for 3 points"):
        array_samples(3, 5, ["x", "y"])
