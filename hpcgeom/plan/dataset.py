"""The samples of a manifest: its data set read, its labels attached, its exclusions applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcgeom.data.arrays import array_samples, layer_files, points_shape
from hpcgeom.data.fasta import read_fasta
from hpcgeom.data.files import source_digest
from hpcgeom.data.image_folders import read_classes
from hpcgeom.data.images import FOLDER_LABEL, image_samples, list_images
from hpcgeom.data.labels import labels_from_file
from hpcgeom.data.queries import PREFIX, with_queries
from hpcgeom.data.samples import Samples, exclude, sample_digest
from hpcgeom.data.text import read_text
from hpcgeom.data.tokens import open_tokens, token_samples
from hpcgeom.errors import InputError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import (
    ArraysDataset,
    ArraysModel,
    Dataset,
    FastaDataset,
    ImagesDataset,
    Manifest,
    TextDataset,
    TokensDataset,
)
from hpcgeom.plan.array_samples import matched_samples, read_ids
from hpcgeom.plan.plan import SamplesPlan, SourceFile


def read_dataset(manifest: Manifest, folder: Path, *, with_digests: bool = True) -> Samples:
    """Read the samples of a manifest, with all of their labels; queries stand behind the others.

    Parameters
    ----------
    folder
        The manifest's folder.
    with_digests
        Whether images are read and hashed; otherwise they are only listed.

    Raises
    ------
    InputError
        The data set, its queries or a label file is not what the manifest says.
    """
    dataset = manifest.dataset
    left_out = () if isinstance(dataset, ArraysDataset) else dataset.exclude
    models = [model for model in manifest.models if isinstance(model, ArraysModel)]
    if isinstance(dataset, ArraysDataset) and any(model.ids is not None for model in models):
        base = matched_samples(models, dataset, folder)
    else:
        base = _read(dataset, [model.source for model in models], folder, with_digests)
    if dataset.query is None:
        return _labeled(_without(base, left_out), dataset.labels, folder)
    asked = query_dataset(dataset)
    arrays = [model.query_source for model in models if model.query_source is not None]
    queries = _behind(asked, _read(asked, arrays, folder, with_digests, PREFIX), len(base))
    of_queries = {*queries.ids}
    base = _without(base, [sample for sample in left_out if sample not in of_queries])
    queries = _without(queries, [sample for sample in left_out if sample in of_queries])
    return with_queries(
        _labeled(base, dataset.labels, folder),
        _labeled(queries, asked.labels, folder),
        getattr(dataset, "path", ""),
        getattr(asked, "path", ""),
    )


def dataset_files(manifest: Manifest, folder: Path) -> list[Path]:
    """The files that the samples, the queries and their labels come from."""
    dataset = manifest.dataset
    found: list[str] = []
    for section in (dataset, *([] if dataset.query is None else [query_dataset(dataset)])):
        paths = [getattr(section, key, None) for key in ("classes", "ids", "path")]
        labels = [label.file for label in section.labels.values()]
        found += [path for path in (*paths, *labels) if path is not None]
    # what lies in a folder of images has digests of its own
    resolved = dict.fromkeys(resolve_path(folder, each) for each in found)
    return [path for path in resolved if not path.is_dir()]


def samples_plan(samples: Samples, files: list[Path]) -> SamplesPlan:
    """What the plan keeps of the samples."""
    return SamplesPlan(
        n=len(samples),
        n_base=samples.n_base,
        digest=samples.digest,
        label_digests={name: samples.label_digest(name) for name in sorted(samples.labels)},
        files=tuple(SourceFile(path=d.path, size=d.size, sha256=d.sha256) for d in source_digest(files)),
        notices=samples.notices,
    )


def query_dataset(dataset: Any) -> Any:
    """The section of a data set as it reads its queries: all as for the data set but what `query` says."""
    query = dataset.query
    given = {key: getattr(query, key) for key in query.model_fields_set if key != "labels"}
    always = {"query": None, "labels": {**dataset.labels, **query.labels}}
    fresh = {key: None for key in ("ids", "classes", "per_class") if key in type(dataset).model_fields}
    changes = {**fresh, **{key: value for key, value in given.items() if value is not None}, **always}
    return dataset.model_copy(update=changes)


def _labeled(samples: Samples, asked: Mapping[str, Any], folder: Path) -> Samples:
    """The samples with the labels that lie in files of their own."""
    labels = dict(samples.labels)
    for name, label in asked.items():
        if label.file is not None:
            labels[name] = labels_from_file(resolve_path(folder, label.file), samples.ids)
    return replace(samples, labels=labels)


def _without(samples: Samples, left_out: Sequence[str]) -> Samples:
    return exclude(samples, left_out) if left_out else samples


def _behind(dataset: Dataset, queries: Samples, n_rows: int) -> Samples:
    """Queries whose rows of tokens, of which the texts are the numbers, follow those of the data set."""
    if not isinstance(dataset, TokensDataset):
        return queries
    return replace(queries, texts=tuple(str(n_rows + int(row)) for row in queries.texts))


def _read(
    dataset: Dataset, arrays: Sequence[str], folder: Path, with_digests: bool, prefix: str = ""
) -> Samples:
    """Samples as their kind is read, without the labels of files.

    Parameters
    ----------
    arrays
        Where the points are, for each model, if they exist already.
    prefix
        Stands before ids that are but numbers of rows or lines.
    """
    if isinstance(dataset, TextDataset):
        columns = {"id": dataset.columns.id, "text": dataset.columns.text}
        by_column = {name: label.column for name, label in dataset.labels.items() if label.column is not None}
        path = resolve_path(folder, dataset.path)
        if not path.name.removesuffix(".gz").endswith(".txt"):
            return read_text(path, columns, by_column)
        samples = read_text(path, {}, by_column)
        ids = tuple(prefix + sample for sample in samples.ids)
        return replace(samples, ids=ids, digests=tuple(map(sample_digest, ids, samples.texts)))
    if isinstance(dataset, FastaDataset):
        headers = {name: label.header for name, label in dataset.labels.items() if label.header is not None}
        path = resolve_path(folder, dataset.path)
        return read_fasta(path, dataset.max_length, dataset.too_long, dataset.duplicates, headers)
    if isinstance(dataset, ImagesDataset):
        return _images(dataset, folder, with_digests)
    if isinstance(dataset, TokensDataset):
        return _encoded(dataset, folder, prefix)
    return _rows_of_arrays(arrays, dataset, folder, prefix)


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


def _encoded(dataset: TokensDataset, folder: Path, prefix: str) -> Samples:
    tokens = open_tokens(resolve_path(folder, dataset.path), pad_id=dataset.pad_id)
    ids = _ids(dataset, folder, len(tokens), prefix) if tokens.ids is None else None
    samples = token_samples(tokens, ids)
    return replace(samples, texts=tuple(str(row) for row in range(len(tokens))))


def _ids(dataset: TokensDataset | ArraysDataset, folder: Path, n: int, prefix: str) -> list[str]:
    """Ids from a file, else numbers of rows."""
    if dataset.ids is None:
        return [f"{prefix}{row}" for row in range(n)]
    return read_ids(resolve_path(folder, dataset.ids), n)


def _rows_of_arrays(sources: Sequence[str], dataset: ArraysDataset, folder: Path, prefix: str) -> Samples:
    counts: dict[int, str] = {}
    n_features = 0
    for source in sources:
        first = next(iter(layer_files(source, folder).values()))
        n, n_features = points_shape(first)[0]
        counts.setdefault(n, str(first))
    if len(counts) > 1:
        (n, one), (m, other) = list(counts.items())[:2]
        raise InputError(
            f"{one} has {n} points and {other} has {m}: models of one manifest share their samples; "
            "give arrays of equal length, or with ids in each model the samples that its rows are"
        )
    n = next(iter(counts))
    return array_samples(n, n_features, _ids(dataset, folder, n, prefix))
