"""The samples of a manifest: its data set read, its labels attached, its exclusions applied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpcgeom.data.arrays import array_samples, layer_files, points_shape
from hpcgeom.data.fasta import read_fasta
from hpcgeom.data.files import read_text_file, source_digest
from hpcgeom.data.labels import labels_from_file
from hpcgeom.data.samples import Samples, exclude
from hpcgeom.data.text import read_text
from hpcgeom.errors import InputError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import ArraysDataset, ArraysModel, FastaDataset, Manifest, TextDataset
from hpcgeom.plan.plan import SamplesPlan, SourceFile


def read_dataset(manifest: Manifest, folder: Path) -> Samples:
    """Read the samples of a manifest, with all of their labels.

    Parameters
    ----------
    folder
        The manifest's folder.

    Raises
    ------
    InputError
        The data set or a label file is not what the manifest says.
    """
    samples = _read(manifest, folder)
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
    main = dataset.ids if isinstance(dataset, ArraysDataset) else dataset.path
    return [resolve_path(folder, path) for path in ([main] if main else []) + found]


def samples_plan(samples: Samples, files: list[Path]) -> SamplesPlan:
    """What the plan keeps of the samples."""
    return SamplesPlan(
        n=len(samples),
        digest=samples.digest,
        label_digests={name: samples.label_digest(name) for name in sorted(samples.labels)},
        files=tuple(SourceFile(path=d.path, size=d.size, sha256=d.sha256) for d in source_digest(files)),
        notices=samples.notices,
    )


def _read(manifest: Manifest, folder: Path) -> Samples:
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
    return _rows_of_arrays(manifest, dataset, folder)


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
    path = resolve_path(folder, dataset.ids)
    ids = read_text_file(path).rstrip("\n").split("\n")
    if len(ids) != n:
        raise InputError(f"{path} has {len(ids)} ids, but the arrays have {n} points: give one id a line")
    return array_samples(n, n_features, ids)
