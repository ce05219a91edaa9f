"""What a folder of images may hold besides, and lists of classes."""

import os

import numpy as np
import pytest

from hpcgeom.data import IMAGE_SUFFIXES, class_folders, list_images, read_classes
from hpcgeom.errors import InputError, ProblemsError


@pytest.fixture
def fill(tmp_path):
    """Make files below the folder ``images``."""

    def make(*names):
        folder = tmp_path / "images"
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return folder

    return make


def test_suffixes_are_compared_without_case(fill):
    names = ["a.BMP", "b.gif", "c.JPEG", "d.jpg", "e.Png", "f.tif", "g.TIFF", "h.webp", "i.jpeg"]
    listing = list_images(fill(*names))
    assert listing.ids == tuple(names)
    assert {os.path.splitext(name)[1].lower() for name in names} == set(IMAGE_SUFFIXES)


def test_hidden_and_other_files_are_skipped_counted_and_named(fill):
    folder = fill(
        "cat/1.jpg", "cat/.2.jpg", "cat/notes.txt", ".git/3.jpg", "dog/4.jpg", "README", "cat/5.jpg.part"
    )
    listing = list_images(folder)
    assert listing.ids == ("cat/1.jpg", "dog/4.jpg")
    assert listing.notices == (
        f"2 hidden files or folders in {folder} skipped",
        f"3 files that are not images in {folder} skipped: 'README', 'cat/5.jpg.part', 'cat/notes.txt'",
    )


def test_one_of_each_is_told_in_the_singular(fill):
    folder = fill("1.jpg", ".DS_Store", "Thumbs.db")
    assert list_images(folder).notices == (
        f"1 hidden file or folder in {folder} skipped",
        f"1 file that is not an image in {folder} skipped: 'Thumbs.db'",
    )


def test_deeper_folders_belong_to_their_class_in_order_of_parts(fill):
    folder = fill("a/z.jpg", "a/b/1.jpg", "a/b-c/0.jpg", "a/b/c/2.jpg", "a-b/1.jpg")
    listing = list_images(folder)
    assert listing.ids == ("a/b/1.jpg", "a/b/c/2.jpg", "a/b-c/0.jpg", "a/z.jpg", "a-b/1.jpg")
    assert listing.labels["folder"] == ("a", "a", "a", "a", "a-b")


def test_the_order_does_not_depend_on_that_of_the_disk(fill, monkeypatch):
    folder = fill(*(f"{name}/{number}.jpg" for name in "cab" for number in (10, 9, 1)))
    before = list_images(folder)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Backwards)
    assert list_images(folder) == before
    assert before.ids[:3] == ("a/1.jpg", "a/10.jpg", "a/9.jpg")


def test_the_class_folders_of_imagenet_are_in_train(fill):
    folder = fill("train/n01/1.JPEG", "train/n02/2.JPEG", "val/1.JPEG", "test/1.JPEG")
    listing = list_images(folder)
    assert listing.ids == ("n01/1.JPEG", "n02/2.JPEG") == list_images(folder / "train").ids
    assert listing.notices == (
        f"the class folders of {folder} are those in its folder 'train'; not read: 'test', 'val'",
    )
    assert class_folders(folder) == ("n01", "n02")


def test_a_class_may_be_named_train(fill):
    folder = fill("bus/1.jpg", "train/1.jpg", "train/steam/2.jpg")
    assert list_images(folder).labels["folder"] == ("bus", "train", "train")


def test_links_are_followed(fill, tmp_path):
    folder = fill("cat/1.jpg")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "2.jpg").write_bytes(b"y")
    (folder / "dog").symlink_to(tmp_path / "kept")
    (folder / "cat" / "3.jpg").symlink_to(tmp_path / "kept" / "2.jpg")
    assert list_images(folder).ids == ("cat/1.jpg", "cat/3.jpg", "dog/2.jpg")


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("cat/up", "..", r"cat/up is a symbolic link to a folder above it: remove the link"),
        ("cat/me", ".", r"cat/me is a symbolic link to a folder above it"),
        ("cat/2.jpg", "none.jpg", r"cat/2.jpg is a symbolic link to nothing: mend or remove it"),
        ("dog", "/nowhere", r"images/dog is a symbolic link to nothing"),
        ("cat/2.jpg", "2.jpg", r"cat/2.jpg .*(cannot be followed|link to nothing)"),
    ],
)
def test_links_to_nothing_and_in_circles_are_told(link, target, message, fill):
    folder = fill("cat/1.jpg")
    (folder / link).symlink_to(target)
    with pytest.raises(ProblemsError, match=message):
        list_images(folder)


def test_a_pipe_with_the_name_of_an_image_is_not_read(fill):
    folder = fill("1.jpg")
    os.mkfifo(folder / "2.jpg")
    with pytest.raises(ProblemsError, match=r"2.jpg is neither a file nor a folder: remove it"):
        list_images(folder)


def test_a_folder_that_cannot_be_read_is_an_error(fill, monkeypatch):
    folder = fill("cat/1.jpg", "dog/1.jpg")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(
        InputError, match=r"cannot read \S*dog: Permission denied; check path and permissions"
    ):
        list_images(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["README"], r"holds no images \(1 file that is not an image in .*'README'\); expected .bmp, .gif"),
        ([".hidden.jpg"], r"holds no images \(1 hidden file .* skipped\); .*: name another folder"),
        (
            ["cat/1.jpg", "2.jpg"],
            r"holds 1 image \('2.jpg'\) beside the folders 'cat'; expected images or class",
        ),
        (["cat/1.jpg", "dog/README"], "dog is a class folder without images; add some, remove it, or name"),
    ],
)
def test_folders_without_images_or_of_two_minds_are_refused(names, message, fill):
    with pytest.raises(InputError, match=message):
        list_images(fill(*names))


def test_names_that_are_not_text_are_refused(fill):
    folder = fill("1.jpg")
    with open(os.fsencode(folder) + b"/\xe9.jpg", "wb") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"the id '\\udce9.jpg' holds the control character U\+DCE9"):
        list_images(folder)


def test_classes_choose_folders_in_any_order_and_leave_the_others_unread(fill):
    folder = fill("a/1.jpg", "b/1.jpg", "c/1.jpg", "d/README")
    listing = list_images(folder, classes=["c", "a"])
    assert listing.labels["folder"] == ("a", "c")
    assert listing.notices == ()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ["n01", "n0x", "n7"],
            r"2 of 3 classes not found among 2 class folders: 'n0x' \(nearest: 'n02'\), 'n7'",
        ),
        ([f"x{i}" for i in range(5)], r"5 of 5 classes not found .*'x0', 'x1', 'x2' and 2 more; correct or"),
        (["n01", "n01"], "class 'n01' is named more than once; name each once"),
        ([], r"classes are \[\]; expected a list of at least one class folder: name"),
        ("n01", r"classes are 'n01'; expected a list"),
    ],
)
def test_classes_that_are_not_there_are_named(classes, message, fill):
    with pytest.raises(InputError, match=message):
        list_images(fill("n01/1.jpg", "n02/1.jpg"), classes=classes)


def test_a_flat_folder_has_no_classes(fill):
    folder = fill("1.jpg")
    with pytest.raises(
        InputError, match="images has no class folders, so classes cannot be chosen: leave classes"
    ):
        list_images(folder, classes=["cat"])
    with pytest.raises(
        InputError, match="images has no class folders; name the folder that holds one folder per"
    ):
        class_folders(folder)


def test_lists_of_classes_are_names_or_positions_among_the_sorted_folders(fill, tmp_path):
    folder = fill(*(f"n{number:02d}/1.jpg" for number in (3, 1, 0, 2)))
    (tmp_path / "names.txt").write_text("n02\r\n\r\n  n00\r\n")
    assert read_classes(tmp_path / "names.txt", folder) == ("n02", "n00")
    np.save(tmp_path / "numbers.npy", np.array([3, 1]))
    assert read_classes(tmp_path / "numbers.npy", folder) == ("n03", "n01")
    np.save(tmp_path / "strings.npy", np.array(["n01", "n03"]))
    assert read_classes(tmp_path / "strings.npy", folder) == ("n01", "n03")


def test_a_list_of_300_of_imagenets_1000_classes_is_read(fill, tmp_path):
    folder = fill(*(f"n{number:08d}/1.JPEG" for number in range(1000)))
    numbers = np.sort(np.random.default_rng(0).choice(1000, 300, replace=False))
    np.save(tmp_path / "classes.npy", numbers)
    classes = read_classes(tmp_path / "classes.npy", folder)
    assert classes == tuple(f"n{number:08d}" for number in numbers)
    assert len(list_images(folder, classes=classes, per_class=1)) == 300


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([0, 2, 5]),
            r"2 class numbers out of range, the first 2 at position 1; expected 0 to 1, for there",
        ),
        (np.array([-1]), r"1 class number out of range, the first -1 at position 0"),
        (np.array([1, 1]), "class 'n02' is named more than once"),
        (np.array(["n01", "n03"]), r"1 of 2 classes not found among 2 class folders: 'n03' \(nearest"),
        (
            np.array([0.0, 1.0]),
            r"holds float64 of shape \(2,\); expected one dimension of class numbers or names",
        ),
        (np.array([[0, 1]]), r"holds int64 of shape \(1, 2\)"),
        (np.array([], dtype=np.int64), r"holds int64 of shape \(0,\)"),
        (np.array([True]), r"holds bool of shape \(1,\)"),
    ],
)
def test_class_numbers_are_checked(values, message, fill, tmp_path):
    np.save(tmp_path / "classes.npy", values)
    with pytest.raises(InputError, match=message):
        read_classes(tmp_path / "classes.npy", fill("n01/1.jpg", "n02/1.jpg"))


def test_lists_of_classes_that_are_none_are_refused(fill, tmp_path):
    folder = fill("n01/1.jpg")
    (tmp_path / "classes.txt").write_text("n01\nn1\n")
    with pytest.raises(InputError, match=r"classes.txt: 1 of 2 classes not found .* 'n1' \(nearest: 'n01'\)"):
        read_classes(tmp_path / "classes.txt", folder)
    with pytest.raises(InputError, match=r"the suffix is '.csv'; expected one of .txt, .npy"):
        read_classes(tmp_path / "classes.csv", folder)
    np.save(tmp_path / "classes.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="holds Python objects"):
        read_classes(tmp_path / "classes.npy", folder)
