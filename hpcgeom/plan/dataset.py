"""The samples of a manifest: its data set read, its labels attached, its exclusions applied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpcgeom.data.arrays import array_samples, layer_files, points_shape
from hpcgeom.data.fasta import read_fasta
from hpcgeom.data.files import read_text_file, source_digest
from hpcgeom.data.image_folders import read_classes
from hpcgeom.data.images import FOLDER_LABEL, image_samples, list_images
from hpcgeom.data.labels import labels_from_file
from hpcgeom.data.samples import Samples, exclude
from hpcgeom.data.text import read_text
from hpcgeom.data.tokens import open_tokens, token_samples
from hpcgeom.errors import InputError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import (
    ArraysDataset,
    ArraysModel,
    FastaDataset,
    ImagesDataset,
    Manifest,
    TextDataset,
    TokensDataset,
)
from hpcgeom.plan.plan import SamplesPlan, SourceFile


def read_dataset(manifest: Manifest, folder: Path, *, with_digests: bool = True) -> Samples:
    """Read the samples of a manifest, with all of their labels.

    Parameters
    ----------
    folder
        The manifest's folder.
    with_digests
        Whether images are read and hashed; otherwise they are only listed.

    Raises
    ------
    InputError
        The data set or a label file is not what the manifest says.
    """
    samples = _read(manifest, folder, with_digests)
    left_out = () if isinstance(manifest.dataset, ArraysDataset) else manifest.dataset.exclude
    if left_out:
        samples = exclude(samples, left_out)
    labels = dict(samples.labels)
    for name, label in manifest.dataset.labels.items():
        if label.file is not None:
            labels[name] = labels_from_file(resolve_path(folder, label.file), samples.ids)
    return replace(samples, labels=labels)


def dataset_files(manifest: Manifest, folder: Path) -> list[Path]:
    """The files that the samples and their labels come from."""
    dataset = manifest.dataset
    found = [label.file for label in dataset.labels.values() if label.file is not None]
    for key in ("path", "ids", "classes"):
        if (path := getattr(dataset, key, None)) is not None:
            found.insert(0, path)
    # what lies in a folder of images has digests of its own
    return [path for path in (resolve_path(folder, each) for each in found) if not path.is_dir()]


def samples_plan(samples: Samples, files: list[Path]) -> SamplesPlan:
    """What the plan keeps of the samples."""
    return SamplesPlan(
        n=len(samples),
        digest=samples.digest,
        label_digests={name: samples.label_digest(name) for name in sorted(samples.labels)},
        files=tuple(SourceFile(path=d.path, size=d.size, sha256=d.sha256) for d in source_digest(files)),
        notices=samples.notices,
    )


def _read(manifest: Manifest, folder: Path, with_digests: bool) -> Samples:
    dataset = manifest.dataset
    if isinstance(dataset, TextDataset):
        columns = {"id": dataset.columns.id, "text": dataset.columns.text}
        by_column = {name: label.column for name, label in dataset.labels.items() if label.column is not None}
        path = resolve_path(folder, dataset.path)
        is_lines = path.name.removesuffix(".gz").endswith(".txt")
        return read_text(path, {} if is_lines else columns, by_column)
    if isinstance(dataset, FastaDataset):
        headers = {name: label.header for name, label in dataset.labels.items() if label.header is not None}
        path = resolve_path(folder, dataset.path)
        return read_fasta(path, dataset.max_length, dataset.too_long, dataset.duplicates, headers)
    if isinstance(dataset, ImagesDataset):
        return _images(dataset, folder, with_digests)
    if isinstance(dataset, TokensDataset):
        return _encoded(dataset, folder)
    return _rows_of_arrays(manifest, dataset, folder)


def _images(dataset: ImagesDataset, folder: Path, with_digests: bool) -> Samples:
    path = resolve_path(folder, dataset.path)
    classes = None if dataset.classes is None else read_classes(resolve_path(folder, dataset.classes), path)
    columns = {name: label.column for name, label in dataset.labels.items() if label.column is not None}
    listing = list_images(
        path, classes=classes, per_class=dataset.per_class, seed=dataset.seed, labels=columns
    )
    samples = image_samples(listing, with_digests=with_digests)
    labels = {name: samples.labels[name] for name in columns}
    for name, label in dataset.labels.items():
        if label.folder:
            if FOLDER_LABEL not in samples.labels:
                raise InputError(
                    f"dataset.labels.{name}: {path} has no subfolders that could be labels: "
                    "give a column or file"
                )
            labels[name] = samples.labels[FOLDER_LABEL]
    return replace(samples, labels=labels)


def _encoded(dataset: TokensDataset, folder: Path) -> Samples:
    path = resolve_path(folder, dataset.path)
    tokens = open_tokens(path, pad_id=dataset.pad_id)
    ids = None if dataset.ids is None else _ids(resolve_path(folder, dataset.ids), len(tokens))
    samples = token_samples(tokens, ids)
    return replace(samples, texts=tuple(str(row) for row in range(len(tokens))))


def _ids(path: Path, n: int) -> list[str]:
    ids = read_text_file(path).rstrip("\n").split("\n")
    if len(ids) != n:
        raise InputError(f"{path} has {len(ids)} ids, but the arrays have {n} points: give one id a line")
    return ids


def _rows_of_arrays(manifest: Manifest, dataset: ArraysDataset, folder: Path) -> Samples:
    counts: dict[int, str] = {}
    n_features = 0
    for model in manifest.models:
        assert isinstance(model, ArraysModel)
        first = next(iter(layer_files(model.source, folder).values()))
        n, n_features = points_shape(first)[0]
        counts.setdefault(n, str(first))
    if len(counts) > 1:
        (n, one), (m, other) = list(counts.items())[:2]
        raise InputError(
            f"{one} has {n} points and {other} has {m}: models of one manifest share their samples; "
            "give arrays of equal length"
        )
    n = next(iter(counts))
    if dataset.ids is None:
        return array_samples(n, n_features)
    return array_samples(n, n_features, _ids(resolve_path(folder, dataset.ids), n))
