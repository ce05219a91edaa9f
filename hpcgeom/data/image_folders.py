"""Images in a folder, flat or with one subfolder per class: a listing that is the same everywhere.

What is done with what a folder may hold besides images:

- hidden files and folders (``.name``) and files without an image's suffix are skipped, counted and named;
- symbolic links are followed; one that leads nowhere, or back to a folder above it, is an error;
- folders inside a class folder belong to that class;
- a class folder without images is an error, and so are images beside class folders.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpcgeom.data.files import read_text_file, readable
from hpcgeom.data.npy import map_npy, read_npy_header
from hpcgeom.data.problems import refuse
from hpcgeom.data.tables import require_suffix, suffix_of
from hpcgeom.data.wording import counted, listed, nearest
from hpcgeom.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of images, in lower case; those of files are compared without regard to case."""

_TRAIN = "train"


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """What a folder holds.

    Attributes
    ----------
    root
        The folder that ids are relative to.
    by_class
        Class to its ids, classes and ids in order; the only class of a flat folder is the empty string.
    notices
        What was skipped.
    """

    root: Path
    by_class: Mapping[str, tuple[str, ...]]
    notices: tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    """What is met on the way besides images."""

    root: Path
    n_hidden: int = 0
    others: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def scan_folder(folder: Path | str, classes: Sequence[str] | None = None) -> ImageFolder:
    """List the images of a folder; ids are POSIX paths relative to its root, sorted part by part.

    Where the folder holds a folder ``train`` with class folders, as ImageNet does, that one is the root.

    Parameters
    ----------
    folder
        Holds images, or one folder of images per class.
    classes
        The class folders that are read; all where None.

    Raises
    ------
    InputError
        If a folder cannot be read, holds no images, or holds what the module refuses; a class is not
        there (with the nearest one), named twice, or asked of a flat folder.
    """
    root, notices = _class_root(Path(folder))
    seen = _Seen(root)
    images, folders = _entries("", seen)
    if images and folders:
        raise InputError(
            f"{root} holds {counted(len(images), 'image')} ({listed(images, 2)}) beside the folders "
            f"{listed(folders, 3)}; expected images or class folders: move one kind, or name one folder"
        )
    if not folders:
        if classes is not None and images:
            raise InputError(f"{root} has no class folders, so classes cannot be chosen: leave classes out")
        found = {"": tuple(images)} if images else {}
    else:
        wanted = folders if classes is None else _chosen(root, classes, folders)
        found = {name: tuple(_images_below(name, seen)) for name in wanted}
    seen.problems += [
        f"{root / name} is a class folder without images; add some, remove it, or name the classes wanted"
        for name, ids in found.items()
        if not ids
    ]
    refuse(root, seen.problems)
    if not found:
        raise InputError(
            f"{root} holds no images{_skips(seen)}; expected {', '.join(IMAGE_SUFFIXES)}: name another folder"
        )
    return ImageFolder(root, found, (*notices, *_told(seen)))


def class_folders(folder: Path | str) -> tuple[str, ...]:
    """Return the names of the class folders, sorted by code point: ImageNet's order of classes.

    Raises
    ------
    InputError
        If the folder cannot be read or has no class folders.
    """
    root, _ = _class_root(Path(folder))
    _, folders = _entries("", _Seen(root))
    if not folders:
        raise InputError(f"{root} has no class folders; name the folder that holds one folder per class")
    return tuple(folders)


def read_classes(path: Path | str, folder: Path | str) -> tuple[str, ...]:
    """Read which classes are wanted, in the order of the file.

    Parameters
    ----------
    path
        A .txt with one class a line (blank lines are skipped), or a .npy of strings, or of integers, which
        are positions (from 0) in the sorted class folders; they mean ImageNet's class numbers only where
        all of ImageNet's 1000 class folders are there.
    folder
        The folder with the class folders.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, names a class twice or one that is not there, or a number is
        out of range.
    """
    path = require_suffix(path, (".txt", ".npy"))
    known = class_folders(folder)
    if suffix_of(path) == ".txt":
        names = [line.strip() for line in read_text_file(path).split("\n") if line.strip()]
    else:
        names = _npy_classes(path, known)
    return tuple(_chosen(path, names, known, in_order=True))


def _npy_classes(path: Path, known: Sequence[str]) -> list[str]:
    header = read_npy_header(path)
    if len(header.shape) != 1 or header.dtype.kind not in "iuU" or not header.shape[0]:
        raise InputError(
            f"{path} holds {header.dtype} of shape {header.shape}; expected one dimension of class numbers "
            "or names: save it again as such"
        )
    values = map_npy(path)
    if header.dtype.kind == "U":
        return [str(value) for value in values]
    outside = np.flatnonzero((values < 0) | (values >= len(known)))
    if len(outside):
        raise InputError(
            f"{path}: {counted(len(outside), 'class number')} out of range, the first {values[outside[0]]} "
            f"at position {outside[0]}; expected 0 to {len(known) - 1}, for there are "
            f"{counted(len(known), 'class folder')}: correct them, or name classes in a .txt"
        )
    return [known[value] for value in values]


def _chosen(place: Path, names: Sequence[str], known: Sequence[str], in_order: bool = False) -> list[str]:
    if isinstance(names, str) or not names:
        raise InputError(
            f"{place}: classes are {names!r}; expected a list of at least one class folder: name one"
        )
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise InputError(f"{place}: class {listed(repeated)} is named more than once; name each once")
    there = set(known)
    if missing := [name for name in names if name not in there]:
        shown = ", ".join(f"{name!r}{nearest(name, known)}" for name in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"{place}: {len(missing)} of {len(names)} classes not found among "
            f"{counted(len(known), 'class folder')}: {shown}{more}; correct or remove them"
        )
    return list(names) if in_order else sorted(names)


def _class_root(folder: Path) -> tuple[Path, list[str]]:
    """Go down to ``train``, if that is where the class folders are."""
    images, folders = _entries("", _Seen(folder))
    if images or _TRAIN not in folders:
        return folder, []
    root = folder / _TRAIN
    images, below = _entries("", _Seen(root))
    if images or not below:
        return folder, []
    others = [name for name in folders if name != _TRAIN]
    unread = f"; not read: {listed(others)}" if others else ""
    return root, [f"the class folders of {folder} are those in its folder {_TRAIN!r}{unread}"]


def _images_below(name: str, seen: _Seen) -> list[str]:
    """List the images of a class folder, however deep."""
    found: list[str] = []
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(name, frozenset([_identity(seen.root)]))]
    while pending:
        inside, above = pending.pop()
        identity = _identity(seen.root / inside)
        if identity in above:
            seen.problems.append(
                f"{seen.root / inside} is a symbolic link to a folder above it: remove the link"
            )
            continue
        images, folders = _entries(inside, seen)
        found += [f"{inside}/{image}" for image in images]
        pending += [(f"{inside}/{folder}", above | {identity}) for folder in folders]
    return sorted(found, key=lambda path: path.split("/"))


def _identity(folder: Path) -> tuple[int, int]:
    with readable(folder):
        status = os.stat(folder)
    return status.st_dev, status.st_ino


def _entries(inside: str, seen: _Seen) -> tuple[list[str], list[str]]:
    """Return the sorted names of images and of folders; note the rest."""
    images, folders = [], []
    place = seen.root / inside
    with readable(place), os.scandir(place) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                seen.n_hidden += 1
            elif (kind := _kind(entry)) == "folder":
                folders.append(entry.name)
            elif kind != "file":
                seen.problems.append(f"{entry.path} {kind}")
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                images.append(entry.name)
            else:
                seen.others.append(f"{inside}/{entry.name}" if inside else entry.name)
    return images, folders


def _kind(entry: os.DirEntry[str]) -> str:
    """Return ``file``, ``folder``, or what is wrong with the entry."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError as error:  # links in a circle
        return f"cannot be followed ({error.strerror}): mend or remove it"
    if entry.is_symlink():
        return "is a symbolic link to nothing: mend or remove it"
    return "is neither a file nor a folder: remove it"


def _told(seen: _Seen) -> list[str]:
    notices = []
    if seen.n_hidden:
        noun = "hidden file or folder" if seen.n_hidden == 1 else "hidden files or folders"
        notices.append(f"{seen.n_hidden} {noun} in {seen.root} skipped")
    if seen.others:
        count = (
            "1 file that is not an image"
            if len(seen.others) == 1
            else f"{len(seen.others)} files that are not images"
        )
        notices.append(f"{count} in {seen.root} skipped: {listed(seen.others, 3)}")
    return notices


def _skips(seen: _Seen) -> str:
    return f" ({'; '.join(told)})" if (told := _told(seen)) else ""
