"""Queries against a data set: samples whose neighbors are looked for among those of the data set alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from hpcgeom.manifest.dataset_parts import ArraysLabel, FastaLabel, ImagesLabel, TextColumns, TextLabel
from hpcgeom.manifest.fields import PathText, Problem, Section, Slug

_IN_ORDER = (".npy", ".txt", ".txt.gz")
"""How label files end that hold one value per sample, without ids."""
_LABELS = "Label sets that come from another place than those of the data set, by name."


class TextQuery(Section):
    """Texts that are queries."""

    path: Annotated[PathText, Field(description="The table, or .txt with a text a line, of the queries.")]
    columns: Annotated[
        TextColumns | None, Field(description="Which columns are read; those of the data set when absent.")
    ] = None
    labels: Annotated[dict[Slug, TextLabel], Field(description=_LABELS)] = Field(default={})


class FastaQuery(Section):
    """Proteins that are queries."""

    path: Annotated[PathText, Field(description="The FASTA file of the queries.")]
    labels: Annotated[dict[Slug, FastaLabel], Field(description=_LABELS)] = Field(default={})


class ImagesQuery(Section):
    """Images that are queries; all of them are read."""

    path: Annotated[PathText, Field(description="A folder or a list of the images that are queries.")]
    labels: Annotated[dict[Slug, ImagesLabel], Field(description=_LABELS)] = Field(default={})


class TokensQuery(Section):
    """Rows of token ids that are queries."""

    path: Annotated[PathText, Field(description="(N, T) integers as .npy, or .jsonl, of the queries.")]
    ids: Annotated[
        PathText | None,
        Field(description="File with one id per row of a .npy; without it ids are query-0, query-1, ..."),
    ] = None
    labels: Annotated[dict[Slug, ArraysLabel], Field(description=_LABELS)] = Field(default={})

    def problems(self) -> Iterator[Problem]:
        """Lines of a .jsonl bring their ids."""
        yield from ids_problem(self.ids, self.path)


class ArraysQuery(Section):
    """Points that are queries; each model says with query_source where they are."""

    ids: Annotated[
        PathText | None,
        Field(description="File with one id per row; without it ids are query-0, query-1, ..."),
    ] = None
    labels: Annotated[dict[Slug, ArraysLabel], Field(description=_LABELS)] = Field(default={})


def ids_problem(ids: str | None, path: str) -> Iterator[Problem]:
    """A file of ids beside lines that bring theirs."""
    if ids is not None and path.removesuffix(".gz").endswith(".jsonl"):
        yield Problem(("ids",), "expected no ids, because the lines of a .jsonl have a key id: remove ids")


def query_problems(labels: Mapping[str, Any], query: Any) -> Iterator[Problem]:
    """Contradictions between the label sets of a data set and those of its queries.

    Parameters
    ----------
    labels
        Of the data set.
    query
        Section of the queries, or None.
    """
    if query is None:
        return
    for name in query.labels:
        if name not in labels:
            yield Problem(
                ("query", "labels", name),
                f"expected a name of dataset.labels ({', '.join(labels) or 'it has none'}), found '{name}': "
                "a label is of the data set and of its queries, so add it there or remove it here",
            )
    for name, label in labels.items():
        if name not in query.labels and label.file is not None and label.file.endswith(_IN_ORDER):
            yield Problem(
                ("query", "labels"),
                f"expected the label '{name}', because {label.file} lists the labels of the data set in its "
                f"order and cannot name queries: give query.labels.{name}, or a table by id to both",
            )
