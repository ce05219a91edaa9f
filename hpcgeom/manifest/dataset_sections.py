"""The samples of a manifest: where they are, how long they may be, and which labels they have."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hpcgeom.manifest.fields import (
    MAX_INT64,
    List,
    PathText,
    Problem,
    Section,
    Slug,
    Text,
    refuse,
    unique,
)

_LABEL_FILE = (
    "Table with the columns id and label (jsonl, csv, tsv, parquet), or .npy or .txt in sample order."
)
TooLong = Literal["error", "truncate", "window"]
TooLongField = Annotated[
    TooLong,
    Field(
        description="What is done with a longer sample: stop with an error, cut it to max_length, or cut it "
        "into windows of max_length whose tokens are pooled together."
    ),
]


def _checked_pattern(value: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pattern = re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise refuse("a regular expression", value, str(error)) from None
    if pattern.groups < 1:
        raise refuse(
            "a regular expression with a group", value, r"the label is the first group, as in 'sf=(\S+)'"
        )
    return value


class _Label(Section):
    """Base of the label sources: exactly one of the keys says where the label is."""

    def problems(self) -> Iterator[Problem]:
        keys = list(type(self).model_fields)
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) != 1:
            was_found = " and ".join(given) if given else "none"
            yield Problem((), f"expected exactly one of the keys {' and '.join(keys)}, found {was_found}")


class TextLabel(_Label):
    """Where a label of a text table comes from: exactly one key."""

    column: Annotated[Text | None, Field(description="Column of the table that holds the label.")] = None
    file: Annotated[PathText | None, Field(description=_LABEL_FILE)] = None


class FastaLabel(_Label):
    """Where a label of FASTA records comes from: exactly one key."""

    header: Annotated[
        Annotated[str, AfterValidator(_checked_pattern)] | None,
        Field(description="Regular expression searched in the header line; its first group is the label."),
    ] = None
    file: Annotated[PathText | None, Field(description=_LABEL_FILE)] = None


class ArraysLabel(Section):
    """Where a label of points that exist already comes from."""

    file: Annotated[PathText, Field(description=_LABEL_FILE)]


class TextColumns(Section):
    """Which columns of a text table are read."""

    id: Annotated[Text, Field(description="Column of the sample ids.")] = "id"
    text: Annotated[Text, Field(description="Column of the texts.")] = "text"

    def problems(self) -> Iterator[Problem]:
        """The id and the text cannot be one column."""
        if self.id == self.text:
            yield Problem(
                ("text",), f"expected another column than that of the ids, found '{self.id}' for both"
            )


Exclude = Annotated[
    tuple[Text, ...],
    List,
    AfterValidator(unique),
    Field(description="Ids of samples that are left out of everything."),
]


class TextDataset(Section):
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


class FastaDataset(Section):
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


def _only_true(value: Any) -> Any:
    if value is not True:  # 1 would do for a Literal
        raise refuse("true", value, "write true, or remove folder")
    return value


class ImagesLabel(_Label):
    """Where a label of images comes from: exactly one key."""

    folder: Annotated[
        Annotated[Literal[True], BeforeValidator(_only_true)] | None,
        Field(description="true: the name of the subfolder that an image lies in."),
    ] = None
    column: Annotated[
        Text | None, Field(description="Column of the list of images that holds the label.")
    ] = None
    file: Annotated[PathText | None, Field(description=_LABEL_FILE)] = None


class ImagesDataset(Section):
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

    def problems(self) -> Iterator[Problem]:
        """A seed needs a draw."""
        if self.seed != 0 and self.per_class is None:
            yield Problem(
                ("seed",),
                f"expected no seed, because only per_class draws at random, found {self.seed}: remove seed, "
                "or say how many images are drawn with per_class",
            )


class TokensDataset(Section):
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

    def problems(self) -> Iterator[Problem]:
        """Lines of a .jsonl bring their ids."""
        if self.ids is not None and self.path.removesuffix(".gz").endswith(".jsonl"):
            yield Problem(
                ("ids",), "expected no ids, because the lines of a .jsonl have a key id: remove ids"
            )


class ArraysDataset(Section):
    """Points that exist already; they skip the models."""

    kind: Annotated[Literal["arrays"], Field(description="What the samples are: rows of arrays of points.")]
    ids: Annotated[
        PathText | None,
        Field(description="File with one sample id per row of the arrays; without it ids are row numbers."),
    ] = None
    labels: Annotated[dict[Slug, ArraysLabel], Field(description="Label sets by name.")] = Field(default={})


Dataset = Annotated[
    TextDataset | FastaDataset | ImagesDataset | TokensDataset | ArraysDataset,
    Field(discriminator="kind", description="The samples, in order."),
]


def label_names(dataset: Any) -> tuple[str, ...]:
    """Names of all label sets of a dataset section, sorted: the order in a file means nothing."""
    return tuple(sorted(dataset.labels))
