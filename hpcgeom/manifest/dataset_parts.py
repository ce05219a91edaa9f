"""What data sets and their queries have in common: where labels come from, which columns are read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hpcgeom.manifest.fields import PathText, Problem, Section, Text, refuse

_LABEL_FILE = (
    "Table with the columns id and label (jsonl, csv, tsv, parquet), or .npy or .txt in sample order."
)


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
            was_found = f"{' and '.join(given)}: keep one" if given else "none: give one of them"
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
                ("text",),
                f"expected another column than that of the ids, found '{self.id}' for both: name another one",
            )


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
