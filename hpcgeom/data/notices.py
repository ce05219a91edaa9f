"""What readers of every kind tell their user in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpcgeom.data.samples import first_rows
from hpcgeom.data.wording import counted


def repeat_notice(contents: Sequence[str], nouns: str) -> list[str]:
    """Return one notice that counts the samples whose content equals an earlier one, or none.

    Parameters
    ----------
    contents
        One per sample; a digest of the content will do.
    nouns
        What the samples are, in the plural: ``images``.
    """
    n_repeats = int((first_rows(contents) != range(len(contents))).sum())
    if not n_repeats:
        return []
    count = f"{n_repeats} of {len(contents)} {nouns} equal an earlier one"
    return [f"{count}: kept, they will be counted as duplicate points"]


def blank_notice(path: Path, n_blank: int) -> list[str]:
    """Return one notice that counts the blank lines of a file, or none."""
    return [f"{counted(n_blank, 'blank line')} of {path} skipped"] if n_blank else []
