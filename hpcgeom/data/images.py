"""Images as samples: which files, under which ids, with which bytes. Nothing is decoded here."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcgeom.data.files import read_bytes, read_text_file, readable, require_file
from hpcgeom.data.image_folders import IMAGE_SUFFIXES, ImageFolder, scan_folder
from hpcgeom.data.names import Place, check_ids, check_labels
from hpcgeom.data.notices import blank_notice, repeat_notice
from hpcgeom.data.problems import SHOWN, refuse
from hpcgeom.data.samples import Samples, sample_digest
from hpcgeom.data.tables import read_table, require_suffix, suffix_of
from hpcgeom.data.wording import counted, listed
from hpcgeom.errors import InputError

FOLDER_LABEL = "folder"
"""Name of the label that class folders give."""

_LISTS = (".txt", ".txt.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class ImageList:
    """Files of images in their order.

    Attributes
    ----------
    ids
        One unique name per image; no two differ only by case.
    paths
        Absolute path of each file.
    labels
        Name of a label to one string per image: ``folder`` for class folders.
    notices
        What the user must be told: what was skipped, what was drawn.

    Raises
    ------
    InputError
        If there are no images, the fields differ in length, an id or label is empty, or an id occurs twice,
        differs from another only by case, or holds a control character.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.ids):
            raise InputError(
                f"paths has {len(self.paths)} entries for {counted(len(self.ids), 'image')}; give one per "
                "image"
            )
        check_ids(self.ids, lambda row: self.paths[row])
        _refuse_case(self.ids)
        for name, values in self.labels.items():
            check_labels(name, values, self.ids)

    def __len__(self) -> int:
        return len(self.ids)


def list_images(
    path: Path | str,
    *,
    classes: Sequence[str] | None = None,
    per_class: int | None = None,
    seed: int = 0,
    labels: Mapping[str, str] | None = None,
) -> ImageList:
    """List images: those of a folder, or those that a file names.

    Parameters
    ----------
    path
        A folder of images or of class folders (also ImageNet's, with ``train/<class>/*.JPEG``); ids are the
        POSIX paths below it, sorted part by part, and the label ``folder`` names the class.
        `image_folders` says what is skipped and what is refused.
        Or a .txt with one path a line, or a .csv, .tsv (each also .gz) or .parquet with the column ``path``
        and possibly ``id``; relative paths start at the list's folder, the order is that of the list, and
        ids are the paths as written unless there is a column ``id``.
    classes
        The class folders that are read, in any order; all where None.
    per_class
        Draw that many images of each class; all where None. A class with M images in sorted order
        contributes ``numpy.random.default_rng(seed).choice(M, per_class, replace=False)``, sorted; what is
        drawn from a class does not depend on the other classes.
    seed
        Seed of the draw.
    labels
        Name of a label to the column of a table that holds it.

    Raises
    ------
    InputError
        If the path cannot be read or holds no images, classes are missing or too small, files of a list
        are missing, or `ImageList` would refuse the ids.
    """
    path = Path(path)
    _check_draw(per_class, seed)
    with readable(path):
        is_folder, exists = path.is_dir(), path.exists()
    if is_folder:
        if labels:
            raise InputError(
                f"{path} is a folder, and has no column {listed(labels.values())}; its only label is "
                f"{FOLDER_LABEL!r}: use a table of paths for others"
            )
        return _from_folder(scan_folder(path, classes), per_class, seed)
    if not exists:
        require_file(path)
    path = require_suffix(path, _LISTS)
    if classes is not None or per_class is not None:
        raise InputError(
            f"{path} is a list of paths; classes and per_class need a folder of class folders: leave them "
            "out, or shorten the list"
        )
    return _from_list(path, labels or {})


def image_samples(listing: ImageList, *, with_digests: bool) -> Samples:
    """Make the samples of a listing.

    Texts are the paths, lengths the sizes in bytes. The digest of a sample is `sample_digest` of its id and
    the sha256 (64 hex) of its file, so every file is read once. Files with equal bytes are counted in the
    notices.

    Parameters
    ----------
    with_digests
        Where False no file is read, only its size is taken, and every digest is an empty string: enough for
        a price, not for a run.

    Raises
    ------
    InputError
        If files are missing, unreadable or have no bytes; the first ten are named.
    """
    sizes: list[int] = []
    hashes: list[str] = []
    problems: list[str] = []
    for path in listing.paths:
        size, sha256 = 0, ""
        try:
            size, sha256 = _measured(path, with_digests)
        except InputError as error:
            problems.append(str(error))
        else:
            if not size:
                problems.append(f"{path} has no bytes: copy it again, or remove it")
        sizes.append(size)
        hashes.append(sha256)
    refuse("images", problems)
    return Samples(
        ids=listing.ids,
        texts=listing.paths,
        lengths=np.array(sizes, dtype=np.int64),
        labels=listing.labels,
        digests=tuple(map(sample_digest, listing.ids, hashes)) if with_digests else ("",) * len(listing),
        notices=(*listing.notices, *(repeat_notice(hashes, "images") if with_digests else ())),
    )


def verified_bytes(path: Path | str, sample_id: str, digest: str) -> bytes:
    """Read a file and check that it is the one that `image_samples` saw.

    Parameters
    ----------
    digest
        The sample's; an empty one matches nothing.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or has changed.
    """
    raw = read_bytes(path)
    found = sample_digest(sample_id, hashlib.sha256(raw).hexdigest())
    if found != digest:
        raise InputError(
            f"{path} ({sample_id!r}) has changed since it was recorded: expected digest "
            f"{digest[:12] or 'none'}, found {found[:12]} in {len(raw)} bytes; restore the file, or prepare "
            "a new run"
        )
    return raw


def _check_draw(per_class: int | None, seed: int) -> None:
    if per_class is not None and per_class < 1:
        raise InputError(
            f"per_class is {per_class}; expected at least 1 image, or none for all: raise or remove it"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more: raise it")


def _from_folder(folder: ImageFolder, per_class: int | None, seed: int) -> ImageList:
    by_class, notices = folder.by_class, list(folder.notices)
    if per_class is not None:
        by_class = _drawn(folder, per_class, seed)
        n_all, n_drawn = (sum(map(len, found.values())) for found in (folder.by_class, by_class))
        notices.append(
            f"{n_drawn} of {counted(n_all, 'image')} drawn: {per_class} of each class, with seed {seed}"
        )
    ids = tuple(image for found in by_class.values() for image in found)
    root = os.path.abspath(folder.root)
    labels = {FOLDER_LABEL: tuple(name for name, found in by_class.items() for _ in found)}
    return ImageList(
        ids=ids,
        paths=tuple(os.path.join(root, image) for image in ids),
        labels={} if "" in by_class else labels,
        notices=tuple(notices),
    )


def _drawn(folder: ImageFolder, per_class: int, seed: int) -> dict[str, tuple[str, ...]]:
    if "" in folder.by_class:
        raise InputError(
            f"{folder.root} has no class folders, so none can be drawn from: leave per_class out"
        )
    small = [f"{name} ({len(found)})" for name, found in folder.by_class.items() if len(found) < per_class]
    if small:
        raise InputError(
            f"{folder.root}: {len(small)} of {len(folder.by_class)} classes with fewer than {per_class} "
            f"images: {listed(small)}; lower per_class, or leave these classes out"
        )
    drawn = {}
    for name, found in folder.by_class.items():
        rows = np.random.default_rng(seed).choice(len(found), per_class, replace=False)
        drawn[name] = tuple(found[row] for row in sorted(rows))
    return drawn


def _from_list(path: Path, labels: Mapping[str, str]) -> ImageList:
    values: dict[str, tuple[str, ...]] = {}
    if suffix_of(path).startswith(".txt"):
        if labels:
            raise InputError(
                f"{path} is plain lines and has no column {listed(labels.values())}; use a .csv or .parquet"
            )
        ids, place, n_blank = _lines(path)
        written = ids
    else:
        id_column = ["id"] if "id" in _column_names(path) else []
        table = read_table(path, ["path", *id_column, *labels.values()])
        written = table.strings("path")
        ids = table.names("id") if id_column else written
        values = {name: table.names(column) for name, column in labels.items()}
        place, n_blank = table.place, table.n_blank
    check_ids(ids, place)
    folder = os.path.abspath(path.parent)
    paths = tuple(os.path.join(folder, name) for name in written)
    unusable = [row for row, found in enumerate(paths) if not (_is_image(found) and os.path.isfile(found))]
    told = [f"{place(row)}: {_what_is_wrong(paths[row])}" for row in unusable[:SHOWN]]
    refuse(path, told, len(unusable[SHOWN:]))
    return ImageList(ids=ids, paths=paths, labels=values, notices=tuple(blank_notice(path, n_blank)))


def _lines(path: Path) -> tuple[tuple[str, ...], Place, int]:
    lines = read_text_file(path).rstrip("\n").split("\n")
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
    written = tuple(lines[number - 1] for number in numbers)
    return written, lambda row: f"{path}:{numbers[row]}", len(lines) - len(numbers)


def _column_names(path: Path) -> list[str]:
    if suffix_of(path) == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowException, OSError, ValueError):
            return []  # `read_table` says what is wrong with it
    first = next((line for line in read_text_file(path).split("\n") if line), "")
    delimiter = "\t" if suffix_of(path).startswith(".tsv") else ","
    return next(csv.reader(io.StringIO(first), delimiter=delimiter), [])


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def _what_is_wrong(path: str) -> str:
    """Word it with the nearest name, which takes a while in a large folder."""
    try:
        require_file(path)
    except InputError as error:
        return str(error)
    return f"{path!r} has no suffix of an image; expected one of {', '.join(IMAGE_SUFFIXES)}: convert it"


def _refuse_case(ids: Sequence[str]) -> None:
    """Refuse ids that some file systems take for one."""
    seen: dict[str, str] = {}
    for sample_id in ids:
        other = seen.setdefault(unicodedata.normalize("NFC", sample_id.casefold()), sample_id)
        if other is not sample_id:
            raise InputError(
                f"the ids {other!r} and {sample_id!r} differ only by case or by how an accent is written; "
                "rename one"
            )


def _measured(path: str, with_digest: bool) -> tuple[int, str]:
    with readable(Path(path)):
        if not with_digest:
            return os.stat(path).st_size, ""
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), sha256
