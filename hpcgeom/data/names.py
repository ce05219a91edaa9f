"""Whether ids and labels can name samples: unique, not empty, on one line, writable as UTF-8."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from hpcgeom.data.wording import counted, listed
from hpcgeom.errors import InputError

Place = Callable[[int], str]
"""Where a row came from, for messages: ``row -> "a.fa:12"``."""


def check_ids(ids: Sequence[str], place: Place | None = None) -> None:
    """Check that there are ids, that they are unique, and that each can stand on one line.

    Raises
    ------
    InputError
        Otherwise, with the place of the first offenders.
    """
    place = place or numbered
    if not ids:
        raise InputError("no samples: expected at least one; check the data set")
    seen: dict[str, int] = {}
    repeated: list[str] = []
    for row, sample_id in enumerate(ids):
        if not sample_id.strip():
            raise InputError(f"{place(row)}: the id is empty; give every sample a unique id")
        if not sample_id.isprintable() and (bad := _forbidden(sample_id)):
            raise InputError(
                f"{place(row)}: the id {sample_id!r} holds the control character U+{ord(bad):04X}; remove it"
            )
        first = seen.setdefault(sample_id, row)
        if first != row:
            repeated.append(f"{sample_id!r} ({place(first)} and {place(row)})")
    if repeated:
        more = f" and {len(repeated) - 3} more" if len(repeated) > 3 else ""
        raise InputError(
            f"ids occur more than once: {', '.join(repeated[:3])}{more}; ids must be unique: rename some"
        )


def check_labels(name: str, values: Sequence[str], ids: Sequence[str]) -> None:
    """Check that a label has a usable name and one non-empty value per sample.

    Raises
    ------
    InputError
        If the name is empty or holds a control character, the number of values is another, or some
        are empty (with their ids).
    """
    if not name.strip() or _forbidden(name):
        raise InputError(f"a label has the name {name!r}; expected printable characters: rename it")
    if len(values) != len(ids):
        raise InputError(
            f"label {name!r} has {counted(len(values), 'value')} for {counted(len(ids), 'sample')}; "
            "give one per sample"
        )
    if empty := [sample_id for sample_id, value in zip(ids, values, strict=True) if not value.strip()]:
        raise InputError(
            f"label {name!r} is missing for {len(empty)} of {counted(len(ids), 'sample')}: {listed(empty)}; "
            "give them a label, or exclude them"
        )
    for sample_id, value in zip(ids, values, strict=True):
        if not is_encodable(value) or "\0" in value:
            raise InputError(
                f"label {name!r} of {sample_id!r} holds a NUL or half a surrogate pair; remove it"
            )


def numbered(row: int) -> str:
    """Name a row by its number: the place of samples that came from no file."""
    return f"row {row}"


def _forbidden(text: str) -> str:
    """Return the first control character, line break or lone surrogate, or an empty string."""
    return next((mark for mark in text if unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp")), "")


def is_encodable(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
