"""The samples of a manifest: where they are, how long they may be, and which labels they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from hpcgeom.manifest.dataset_parts import ArraysLabel, FastaLabel, ImagesLabel, TextColumns, TextLabel
from hpcgeom.manifest.fields import (
    MAX_INT64,
    List,
    PathText,
    Problem,
    Section,
    Slug,
    Text,
    unique,
)
from hpcgeom.manifest.query_sections import (
    ArraysQuery,
    FastaQuery,
    ImagesQuery,
    TextQuery,
    TokensQuery,
    ids_problem,
    query_problems,
)

TooLong = Literal["error", "truncate", "window"]
TooLongField = Annotated[
    TooLong,
    Field(
        description="What is done with a longer sample: stop with an error, cut it to max_length, or cut it "
        "into windows of max_length whose tokens are pooled together."
    ),
]


Exclude = Annotated[
    tuple[Text, ...],
    List,
    AfterValidator(unique),
    Field(description="Ids of samples that are left out of everything."),
]
QUERY = "Samples that are searched in the data set: their neighbors are of the data set alone."


class _Searched(Section):
    """Base of the data sets: what an absent query would add to the identity of a manifest is left out."""

    @model_serializer(mode="wrap")
    def _without_absent_query(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        if found.get("query") is None:
            found.pop("query", None)
        return found

    def problems(self) -> Iterator[Problem]:
        """Labels are those of the data set and of its queries."""
        section: Any = self
        yield from query_problems(section.labels, section.query)


class TextDataset(_Searched):
    """Texts: a table (jsonl, csv, tsv or parquet), or a .txt with one a line."""

    kind: Annotated[Literal["text"], Field(description="What the samples are: rows of a table of texts.")]
    path: Annotated[
        PathText,
        Field(description="The table, or .txt with a text a line; relative to the manifest's folder."),
    ]
    columns: Annotated[TextColumns, Field(description="Which columns are read.")] = TextColumns()
    max_length: Annotated[
        int,
        Field(ge=3, le=MAX_INT64, description="Longest sample in tokens, special tokens included."),
    ] = 512
    too_long: TooLongField = "error"
    labels: Annotated[dict[Slug, TextLabel], Field(description="Label sets by name.")] = Field(default={})
    exclude: Exclude = ()
    query: Annotated[TextQuery | None, Field(description=QUERY)] = None


class FastaDataset(_Searched):
    """A FASTA file of protein sequences."""

    kind: Annotated[Literal["fasta"], Field(description="What the samples are: records of a FASTA file.")]
    path: Annotated[PathText, Field(description="The FASTA file; relative to the manifest's folder.")]
    max_length: Annotated[
        int,
        Field(ge=1, le=MAX_INT64, description="Longest sequence in residues, special tokens not included."),
    ] = 1022
    too_long: TooLongField = "error"
    duplicates: Annotated[
        Literal["keep", "drop"],
        Field(description="What is done with records whose sequence is that of an earlier record."),
    ] = "keep"
    labels: Annotated[dict[Slug, FastaLabel], Field(description="Label sets by name.")] = Field(default={})
    exclude: Exclude = ()
    query: Annotated[FastaQuery | None, Field(description=QUERY)] = None


class ImagesDataset(_Searched):
    """Images: a folder with a subfolder per class (ImageNet's layout), a flat folder, or a list of files."""

    kind: Annotated[Literal["images"], Field(description="What the samples are: images.")]
    path: Annotated[
        PathText,
        Field(
            description="A folder; or a list: .txt with a path a line, or a table with the column path (and "
            "id)."
        ),
    ]
    classes: Annotated[
        PathText | None,
        Field(
            description="The subfolders that are read: .txt with a name a line, or .npy of names or of "
            "positions in the sorted list of subfolders."
        ),
    ] = None
    per_class: Annotated[
        int | None,
        Field(ge=1, le=MAX_INT64, description="Images drawn at random from every class; all when absent."),
    ] = None
    seed: Annotated[int, Field(ge=0, le=MAX_INT64, description="Seed of per_class.")] = 0
    transparent: Annotated[
        Literal["error", "white", "black"],
        Field(description="What is done with transparent pixels: an error, or the color behind them."),
    ] = "error"
    labels: Annotated[dict[Slug, ImagesLabel], Field(description="Label sets by name.")] = Field(default={})
    exclude: Exclude = ()
    query: Annotated[ImagesQuery | None, Field(description=QUERY)] = None

    def problems(self) -> Iterator[Problem]:
        """A seed needs a draw."""
        yield from super().problems()
        if self.seed != 0 and self.per_class is None:
            yield Problem(
                ("seed",),
                f"expected no seed, because only per_class draws at random, found {self.seed}: remove seed, "
                "or say how many images are drawn with per_class",
            )


class TokensDataset(_Searched):
    """Samples that are encoded already: rows of token ids."""

    kind: Annotated[Literal["tokens"], Field(description="What the samples are: rows of token ids.")]
    path: Annotated[
        PathText, Field(description="(N, T) integers as .npy, or .jsonl with id and tokens a line.")
    ]
    ids: Annotated[
        PathText | None,
        Field(description="File with one sample id per row of a .npy; without it ids are row numbers."),
    ] = None
    pad_id: Annotated[
        int | None, Field(ge=0, le=MAX_INT64, description="Id that fills the end of shorter rows.")
    ] = None
    labels: Annotated[dict[Slug, ArraysLabel], Field(description="Label sets by name.")] = Field(default={})
    exclude: Exclude = ()
    query: Annotated[TokensQuery | None, Field(description=QUERY)] = None

    def problems(self) -> Iterator[Problem]:
        """Lines of a .jsonl bring their ids."""
        yield from super().problems()
        yield from ids_problem(self.ids, self.path)


class ArraysDataset(_Searched):
    """Points that exist already; they skip the models."""

    kind: Annotated[Literal["arrays"], Field(description="What the samples are: rows of arrays of points.")]
    ids: Annotated[
        PathText | None,
        Field(description="File with one sample id per row of the arrays; without it ids are row numbers."),
    ] = None
    samples: Annotated[
        Literal["all", "intersect"],
        Field(
            description="Whether all models have the same samples, or those are measured that all have; by "
            "the ids of the models."
        ),
    ] = "all"
    labels: Annotated[dict[Slug, ArraysLabel], Field(description="Label sets by name.")] = Field(default={})
    query: Annotated[ArraysQuery | None, Field(description=QUERY)] = None


Dataset = Annotated[
    TextDataset | FastaDataset | ImagesDataset | TokensDataset | ArraysDataset,
    Field(discriminator="kind", description="The samples, in order."),
]


def label_names(dataset: Any) -> tuple[str, ...]:
    """Names of all label sets of a dataset section, sorted: the order in a file means nothing."""
    return tuple(sorted(dataset.labels))
