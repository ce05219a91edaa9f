"""Protein sequences out of FASTA, read strictly: nothing is dropped or replaced in silence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hpcgeom.data.files import read_text_file
from hpcgeom.data.names import check_ids
from hpcgeom.data.problems import refuse
from hpcgeom.data.samples import Samples, first_rows, make_samples
from hpcgeom.data.wording import counted, listed
from hpcgeom.errors import InputError

RESIDUES = "ACDEFGHIKLMNPQRSTVWYXBUZO"
"""The amino acids that ESM's tokenizer knows: the 20, X, B, U, Z and O."""

_OFFENDER = re.compile(rf"[^{RESIDUES}{RESIDUES.lower()}*]|\*(?=.)")
_TOKEN = re.compile(r"<[a-z]+>")
_DNA_SHARE = 0.9  # of A, C, G, T, U (RNA) and N; in proteins these are a quarter
_MENDS = {
    "-": "is a gap: remove the gaps",
    ".": "is a gap: remove the gaps",
    "*": "is a stop inside the sequence: cut it there, or remove it",
    " ": "is a space: remove it",
    "\t": "is a tab: remove it",
    "J": "(leucine or isoleucine) is not known to the models: write X, or remove the sequence",
}


@dataclass(slots=True)
class _Record:
    line: int
    header: str
    parts: list[str] = field(default_factory=list)
    sequence: str = ""

    @property
    def name(self) -> str:
        return self.header.split(None, 1)[0]


def read_fasta(
    path: Path | str,
    max_length: int | None = None,
    too_long: Literal["error", "truncate", "window"] = "error",
    duplicates: Literal["keep", "drop"] = "keep",
    labels_header: Mapping[str, str] | None = None,
) -> Samples:
    r"""Read protein sequences from a FASTA file, plain or gzip.

    The id is the first word of the header. Lower case is read as upper case and a ``*`` at the end of a
    sequence is stripped, both with a notice. Lengths are residues after truncation.

    Parameters
    ----------
    path
        The file.
    max_length
        Most residues a sequence may have; no limit where None.
    too_long
        What becomes of longer ones: an error that names them; their first `max_length` residues; or, with
        ``window``, they stay whole with a notice, for whoever encodes them to cut into windows.
    duplicates
        What becomes of a sequence equal to an earlier one, after truncation: kept, or dropped. Either way
        a notice counts them.
    labels_header
        Name of a label to a regular expression searched for in the header (without ``>``); its first group
        is the label: ``{"superfamily": r"sf=(\S+)"}``.

    Raises
    ------
    InputError
        If the file cannot be read or is FASTQ, a sequence is empty, too long or holds anything but
        residues, a header is blank or has no label, or an id occurs twice.
    """
    _check_options(max_length, too_long, duplicates)
    path = Path(path)
    patterns = {name: _compiled(name, pattern) for name, pattern in (labels_header or {}).items()}
    records, problems = _parse(path, read_text_file(path).split("\n"))
    refuse(path, problems)
    check_ids([record.name for record in records], lambda row: f"{path}:{records[row].line}")
    notices = _normalize(records)
    notices += _dna_notice(path, records)
    notices += _limit_lengths(path, records, max_length, too_long)
    records, told = _settle_duplicates(records, duplicates)
    return make_samples(
        [record.name for record in records],
        [record.sequence for record in records],
        labels={name: _header_labels(path, name, pattern, records) for name, pattern in patterns.items()},
        notices=notices + told,
        place=lambda row: f"{path}:{records[row].line}",
    )


def _check_options(max_length: int | None, too_long: str, duplicates: str) -> None:
    if max_length is not None and max_length < 1:
        raise InputError(
            f"max_length is {max_length}; expected at least 1 residue, or none for no limit: raise or remove "
            "it"
        )
    if too_long not in ("error", "truncate", "window"):
        raise InputError(
            f"too_long is {too_long!r}; expected 'error', 'truncate' or 'window': choose one of them"
        )
    if duplicates not in ("keep", "drop"):
        raise InputError(f"duplicates is {duplicates!r}; expected 'keep' or 'drop': choose one of them")


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"label {name!r}: {pattern!r} is not a regular expression ({error}); correct it"
        ) from error
    if not compiled.groups:
        raise InputError(f"label {name!r}: {pattern!r} has no group; put parentheses around the label")
    return compiled


def _parse(path: Path, lines: Sequence[str]) -> tuple[list[_Record], list[str]]:
    """Cut lines into records, and say what is wrong with each line."""
    records: list[_Record] = []
    problems: list[str] = []
    for number, line in enumerate((line.rstrip(" \t") for line in lines), start=1):
        if not line:
            continue
        if line.startswith(">"):
            records.append(_Record(number, line[1:].strip() or "?"))
            if not line[1:].strip():
                problems.append(f"{path}:{number}: '>' without a name; write an id after it")
            continue
        if not records:
            raise InputError(_no_header(path, number, line))
        if problem := _line_problem(records[-1], line):
            problems.append(f"{path}:{number}: {problem}")
        records[-1].parts.append(line)
    for record in records:
        if not "".join(record.parts).removesuffix("*"):
            problems.append(
                f"{path}:{record.line}: {record.name!r} has no sequence; add it, or remove the header"
            )
    return records, problems


def _no_header(path: Path, number: int, line: str) -> str:
    if line.startswith("@"):
        return (
            f"{path}:{number}: starts with '@': this is FASTQ (sequencing reads), not protein FASTA: "
            "name another file"
        )
    return (
        f"{path}:{number}: {line[:20]!r} stands before the first header; FASTA starts with '>' and a name: "
        "add them, or remove it"
    )


def _line_problem(record: _Record, line: str) -> str:
    if record.parts and record.parts[-1].endswith("*"):
        return f"the sequence of {record.name!r} goes on after '*', which {_MENDS['*']}"
    offender = _OFFENDER.search(line)
    if offender is None:
        return ""
    if token := _TOKEN.match(line, offender.start()):
        return f"{token.group()!r} is text of a special token; write residues only"
    mark = offender.group()
    mend = _MENDS.get(mark.upper(), "is not an amino acid: correct or remove it")
    shown = repr(mark) if mark.isascii() else f"{mark!r} (U+{ord(mark):04X})"
    return f"column {offender.start() + 1} of the sequence of {record.name!r}: {shown} {mend}"


def _normalize(records: Sequence[_Record]) -> list[str]:
    n_lower = n_stops = 0
    for record in records:
        written = "".join(record.parts)
        record.sequence = written.removesuffix("*").upper()
        n_stops += written.endswith("*")
        n_lower += not written.isupper()
    notices = []
    if n_lower:
        notices.append(f"{counted(n_lower, 'sequence')} with lower-case residues read as upper case")
    if n_stops:
        notices.append(f"terminal '*' stripped from {counted(n_stops, 'sequence')}")
    return notices


def _dna_notice(path: Path, records: Sequence[_Record]) -> list[str]:
    n_residues = sum(len(record.sequence) for record in records)
    share = sum(record.sequence.count(base) for record in records for base in "ACGTUN") / n_residues
    if share <= _DNA_SHARE:
        return []
    return [f"{path} looks like DNA: {share:.1%} of its letters are A, C, G, T, U or N; protein is expected"]


def _limit_lengths(
    path: Path, records: Sequence[_Record], max_length: int | None, too_long: str
) -> list[str]:
    longer = [record for record in records if max_length is not None and len(record.sequence) > max_length]
    if not longer:
        return []
    named = listed(f"{record.name} ({len(record.sequence)})" for record in longer)
    if too_long == "error":
        raise InputError(
            f"{path}: {counted(len(longer), 'sequence')} longer than max_length {max_length}: {named}; "
            "raise max_length, or set too_long to truncate or window"
        )
    count = f"{len(longer)} of {counted(len(records), 'sequence')}"
    if too_long == "window":
        return [f"{count} longer than {max_length} residues: kept whole, to be read in windows: {named}"]
    for record in longer:
        record.sequence = record.sequence[:max_length]
    return [f"{count} cut to {max_length} residues: {named}"]


def _settle_duplicates(records: list[_Record], duplicates: str) -> tuple[list[_Record], list[str]]:
    first = first_rows([record.sequence for record in records])
    equal = [(row, int(earlier)) for row, earlier in enumerate(first) if row != earlier]
    if not equal:
        return records, []
    named = listed(f"{records[row].name} = {records[earlier].name}" for row, earlier in equal)
    count = f"{len(equal)} of {counted(len(records), 'sequence')} equal to an earlier one"
    if duplicates == "keep":
        return records, [f"{count}: kept, they will be counted as duplicate points: {named}"]
    return [records[row] for row in sorted(set(first.tolist()))], [f"{count}: dropped: {named}"]


def _header_labels(
    path: Path, name: str, pattern: re.Pattern[str], records: Sequence[_Record]
) -> tuple[str, ...]:
    found = [pattern.search(record.header) for record in records]
    values = [(match.group(1) or "").strip() if match else "" for match in found]
    if missing := [record for record, value in zip(records, values, strict=True) if not value]:
        raise InputError(
            f"{path}: label {name!r} not found by {pattern.pattern!r} in {len(missing)} of "
            f"{counted(len(records), 'header')}: {listed(record.name for record in missing)} "
            f"(line {missing[0].line} reads {missing[0].header[:80]!r}); correct the expression or them"
        )
    return tuple(values)
