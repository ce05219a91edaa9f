"""Listings of images: lists of paths, draws, and the identity of what was listed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpcgeom.data import ImageList, image_samples, list_images, verified_bytes
from hpcgeom.errors import InputError, ProblemsError


@pytest.fixture
def folder(tmp_path):
    """Class folders as ImageNet's; the bytes of a file are its name."""
    for wnid, n_images in (("n02", 4), ("n01", 5), ("n03", 3)):
        (tmp_path / "train" / wnid).mkdir(parents=True)
        for number in range(n_images):
            image = tmp_path / "train" / wnid / f"{wnid}_{number}.JPEG"
            image.write_bytes(image.name.encode())
    return tmp_path / "train"


@pytest.fixture
def table(folder):
    def write(name, columns):
        path = folder.parent / name
        if name.endswith(".parquet"):
            pq.write_table(pa.table(columns), path)
        else:
            mark = "\t" if name.endswith(".tsv") else ","
            rows = [columns.keys(), *zip(*columns.values(), strict=True)]
            path.write_text("".join(mark.join(map(str, row)) + "\n" for row in rows))
        return path

    return write


def test_class_folders_give_sorted_ids_absolute_paths_and_the_label(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    listing = list_images("train")
    expected = [f"n0{c}/n0{c}_{i}.JPEG" for c, n in ((1, 5), (2, 4), (3, 3)) for i in range(n)]
    assert listing.ids == tuple(expected)
    assert listing.paths == tuple(str(folder / name) for name in expected)
    assert listing.labels == {"folder": tuple(name[:3] for name in expected)}
    assert listing.notices == ()
    assert len(listing) == 12


def test_a_flat_folder_has_no_label(folder):
    listing = list_images(folder / "n02")
    assert listing.ids == ("n02_0.JPEG", "n02_1.JPEG", "n02_2.JPEG", "n02_3.JPEG")
    assert listing.labels == {}


def test_a_draw_is_that_of_numpy_in_each_class_by_itself(folder):
    seen = set()
    for seed in range(9):
        expected = []
        for wnid, n_images in (("n01", 5), ("n02", 4), ("n03", 3)):
            rows = np.random.default_rng(seed).choice(n_images, size=3, replace=False)
            expected += [f"{wnid}/{wnid}_{row}.JPEG" for row in np.sort(rows)]
        listing = list_images(folder, per_class=3, seed=seed)
        assert listing.ids == tuple(expected)
        assert listing.labels["folder"] == tuple(name[:3] for name in expected)
        assert listing.notices == (f"9 of 12 images drawn: 3 of each class, with seed {seed}",)
        assert list_images(folder, classes=["n02"], per_class=3, seed=seed).ids == tuple(expected[3:6])
        seen.add(listing.ids)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"per_class": 5},
            r"train: 2 of 3 classes with fewer than 5 images: 'n02 \(4\)', 'n03 \(3\)'; lower",
        ),
        ({"per_class": 0}, "per_class is 0; expected at least 1 image, or none for all: raise or remove it"),
        ({"seed": -1}, "seed is -1; expected 0 or more: raise it"),
        (
            {"labels": {"kind": "breed"}},
            r"train is a folder, and has no column 'breed'.*'folder': use a table",
        ),
    ],
)
def test_options_that_make_no_sense_for_a_folder_are_refused(options, message, folder):
    with pytest.raises(InputError, match=message):
        list_images(folder, **options)


def test_a_flat_folder_has_nothing_to_draw_from(folder):
    with pytest.raises(
        InputError, match="n02 has no class folders, so none can be drawn from: leave per_class"
    ):
        list_images(folder / "n02", per_class=1)


def test_a_list_of_lines_keeps_its_order_and_starts_at_its_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    path = Path("../list.txt")
    absolute = folder / "n01" / "n01_0.JPEG"
    path.write_text(f"train/n02/n02_1.JPEG\r\n\r\n{absolute}\r\ntrain/../train/n01/n01_3.JPEG\r\n")
    listing = list_images(path)
    assert listing.ids == ("train/n02/n02_1.JPEG", str(absolute), "train/../train/n01/n01_3.JPEG")
    assert [os.path.realpath(found) for found in listing.paths] == [
        str(folder / "n02" / "n02_1.JPEG"),
        str(absolute),
        str(folder / "n01" / "n01_3.JPEG"),
    ]
    assert all(map(os.path.isabs, listing.paths))
    assert listing.labels == {}
    assert listing.notices == (f"1 blank line of {path} skipped",)


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.parquet"])
def test_a_table_may_have_ids_and_labels(name, table):
    columns = {
        "breed": ["tench", "pug"],
        "path": ["train/n02/n02_1.JPEG", "train/n01/n01_0.JPEG"],
        "id": [7, 3],
        "width": [1, 2],
    }
    listing = list_images(table(name, columns), labels={"kind": "breed", "w": "width"})
    assert listing.ids == ("7", "3")
    assert [os.path.basename(found) for found in listing.paths] == ["n02_1.JPEG", "n01_0.JPEG"]
    assert listing.labels == {"kind": ("tench", "pug"), "w": ("1", "2")}
    del columns["id"]
    assert list_images(table(name, columns)).ids == tuple(columns["path"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": ["a.jpg"]}, r"list.csv:1: no column 'path'.*found: 'file'"),
        (
            {"path": ["train/n01/n01_0.JPEG"] * 2},
            r"'train/n01/n01_0.JPEG' \(\S*list.csv:2 and \S*list.csv:3\)",
        ),
        ({"path": ["train/n01/n01_0.JPEG"], "id": [""]}, "list.csv:2: the id is empty"),
        (
            {"path": ["train/n01/n01_O.JPEG"]},
            r"list.csv:2: \S*n01_O.JPEG does not exist \(nearest: 'n01_\d.JPEG'\)",
        ),
        ({"path": ["train/n01"]}, "list.csv:2: .*n01 is a folder; expected a file"),
        (
            {"path": ["list.csv"]},
            "list.csv:2: '.*list.csv' has no suffix of an image; expected one of .bmp, .gif.*: convert it",
        ),
        ({"path": ["train/n01/n01_0.JPEG"], "kind": [""]}, "label 'kind' is missing for 1 of 1 sample"),
    ],
)
def test_tables_that_name_no_images_are_refused(columns, message, table):
    with pytest.raises(InputError, match=message):
        list_images(table("list.csv", columns), labels={"kind": "kind"} if "kind" in columns else None)


def test_all_missing_files_of_a_list_are_told_up_to_ten(folder):
    path = folder.parent / "list.txt"
    path.write_text("".join(f"none/{number}.jpg\n" for number in range(12)))
    with pytest.raises(ProblemsError, match=r"list.txt:1: \S*0.jpg does not exist") as caught:
        list_images(path)
    assert len(caught.value.problems) == 11
    assert caught.value.problems[-1] == f"{path}: and 2 more problems"


def test_a_list_is_complete_by_itself(folder):
    path = folder.parent / "list.txt"
    path.write_text("train/n01/n01_0.JPEG\n")
    for options in ({"classes": ["n01"]}, {"per_class": 1}):
        with pytest.raises(
            InputError, match=r"list.txt is a list of paths; classes and per_class need a folder"
        ):
            list_images(path, **options)
    with pytest.raises(InputError, match=r"list.txt is plain lines and has no column 'kind'; use a .csv"):
        list_images(path, labels={"kind": "kind"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.jpg", b"x", r"the suffix is '.jpg'; expected one of .txt, .txt.gz, .csv"),
        ("list.parquet", b"PAR1", "list.parquet cannot be read as Parquet"),
        ("list.txt", b"", "list.txt is empty"),
        ("list.csv", b"<html>", "list.csv is a web page"),
    ],
)
def test_lists_that_are_none_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list_images(tmp_path / name)


def test_a_missing_folder_is_told_with_the_nearest_name(folder):
    with pytest.raises(InputError, match=r"trian does not exist \(nearest: 'train'\)"):
        list_images(folder.parent / "trian")


@pytest.mark.parametrize(
    "ids", [("a/B.JPEG", "a/b.jpeg"), ("caf\u00e9.jpg", "cafe\u0301.jpg"), ("stra\u00dfe.jpg", "STRASSE.jpg")]
)
def test_ids_that_some_file_systems_take_for_one_are_refused(ids):
    with pytest.raises(
        InputError, match=r"the ids .* and .* differ only by case or by how an accent is written"
    ):
        ImageList(ids, ("/1", "/2"), {})


def test_listings_are_checked_like_samples():
    with pytest.raises(InputError, match="no samples"):
        ImageList((), (), {})
    with pytest.raises(InputError, match="paths has 1 entries for 2 images; give one per"):
        ImageList(("a", "b"), ("/a",), {})
    with pytest.raises(InputError, match=r"/b: the id 'b\\n' holds the control character U\+000A"):
        ImageList(("a", "b\n"), ("/a", "/b"), {})
    with pytest.raises(InputError, match="label 'kind' has 1 value for 2 samples"):
        ImageList(("a", "b"), ("/a", "/b"), {"kind": ("x",)})


def test_a_sample_is_known_by_its_id_and_its_bytes(folder):
    listing = list_images(folder)
    samples = image_samples(listing, with_digests=True)
    raw = b"n01_2.JPEG"
    content = f"n01/n01_2.JPEG\0{hashlib.sha256(raw).hexdigest()}"
    assert samples.digests[2] == hashlib.sha256(content.encode()).hexdigest()[:32]
    assert (samples.ids, samples.texts, samples.labels) == (listing.ids, listing.paths, listing.labels)
    assert samples.lengths.tolist() == [10] * 12
    assert samples.notices == ()


def test_the_digest_does_not_know_where_the_folder_is(folder, tmp_path):
    before = image_samples(list_images(folder), with_digests=True)
    folder.rename(tmp_path / "elsewhere")
    after = image_samples(list_images(tmp_path / "elsewhere"), with_digests=True)
    assert after.digest == before.digest
    assert after.texts != before.texts


def test_without_digests_only_sizes_are_taken(folder, monkeypatch):
    listing = list_images(folder)
    monkeypatch.setattr("builtins.open", None)  # reading would fail
    samples = image_samples(listing, with_digests=False)
    assert samples.digests == ("",) * 12
    assert samples.lengths.tolist() == [10] * 12


def test_equal_files_are_counted(folder):
    (folder / "n03" / "copy.png").write_bytes(b"n01_2.JPEG")
    samples = image_samples(list_images(folder), with_digests=True)
    assert samples.notices == (
        "1 of 13 images equal an earlier one: kept, they will be counted as duplicate points",
    )


@pytest.mark.parametrize("with_digests", [True, False])
def test_empty_and_vanished_files_are_told_together(with_digests, folder):
    listing = list_images(folder)
    (folder / "n01" / "n01_1.JPEG").write_bytes(b"")
    (folder / "n02" / "n02_0.JPEG").unlink()
    with pytest.raises(
        ProblemsError, match=r"n01_1.JPEG has no bytes: copy it again, or remove it"
    ) as caught:
        image_samples(listing, with_digests=with_digests)
    assert len(caught.value.problems) == 2
    assert "n02_0.JPEG: No such file or directory; check path" in caught.value.problems[1]


def test_bytes_are_those_that_were_listed_or_none(folder):
    samples = image_samples(list_images(folder), with_digests=True)
    path, sample_id, digest = samples.texts[0], samples.ids[0], samples.digests[0]
    assert verified_bytes(path, sample_id, digest) == b"n01_0.JPEG"
    with pytest.raises(InputError, match=r"'n01/n01_1.JPEG'.* has changed"):
        verified_bytes(path, samples.ids[1], digest)
    with pytest.raises(
        InputError, match=f"expected digest none, found {digest[:12]} in 10 bytes; restore the"
    ):
        verified_bytes(path, sample_id, "")
    (folder / "n01" / "n01_0.JPEG").write_bytes(b"other")
    with pytest.raises(InputError, match=f"expected digest {digest[:12]}, found .* in 5 bytes"):
        verified_bytes(path, sample_id, digest)
    (folder / "n01" / "n01_0.JPEG").unlink()
    with pytest.raises(InputError, match="does not exist"):
        verified_bytes(path, sample_id, digest)


def test_listing_and_reading_do_not_import_pillow(folder):
    code = (
        "import sys; from hpcgeom.data import *;"
        f"image_samples(list_images({str(folder)!r}), with_digests=True);"
        "print(sorted({'PIL', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
