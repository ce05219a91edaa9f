"""A YAML reader that guesses nothing: YAML 1.2 scalars, no tags, no aliases, no key twice, lines known."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.fields import Key

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_DIGITS = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")  # YAML 1.1 reads 012 as 10 and 1.2 as 12: here it is a text
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.nan|\.NaN|\.NAN")


@dataclass(frozen=True)
class Document:
    """The content of a YAML file.

    Attributes
    ----------
    data
        Mappings, lists and scalars.
    positions
        Line and column, from 1, of each key of a mapping and of each item of a list, by path from the root.
    text
        The file as it was read.
    """

    data: Any
    positions: dict[Key, tuple[int, int]]
    text: str


def read_yaml(path: Path) -> Document:
    """Read one YAML file.

    Parameters
    ----------
    path
        A regular file of at most `MAX_BYTES` bytes in UTF-8.

    Raises
    ------
    InputError
        The file cannot be read or is no YAML.
    ProblemsError
        It is YAML, but with tags, anchors, aliases, merge keys, several documents, or keys that are given
        twice or are not text; all of these are reported together, in line order.
    """
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text (a byte order mark is dropped), up to `MAX_BYTES`.

    Raises
    ------
    InputError
        It is missing, not a regular file, too large, unreadable, or not UTF-8.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: expected a YAML file, found a directory: name the file in it")
        if not stat.S_ISREG(mode):
            raise InputError(
                f"{path}: expected a YAML file, found a device, pipe or socket: save it to a file"
            )
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message = f"{path}: expected a YAML file, found nothing of that name: check the path"
        raise InputError(message) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: expected a readable YAML file, found: {reason}: check path and permissions"
        ) from None
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{path}: expected at most {MAX_BYTES} bytes, found more: is this the right file? "
            "Long lists of samples belong in the data set"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise InputError(
            f"{path}:{line}:{column}: expected text in UTF-8, found the byte 0x{content[error.start]:02x}: "
            "save the file as UTF-8"
        ) from None


def parse_yaml(text: str, shown: str) -> Document:
    """Parse YAML text; `shown` is the name of the file in messages. Raises as `read_yaml`."""
    if bad := _NOT_YAML.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        raise InputError(
            f"{shown}:{line}:{column}: expected text, found the control character U+{ord(bad[0]):04X}: "
            "remove it"
        )
    reader = _Reader(yaml.parse(text, Loader=_LOADER), shown)
    try:
        data = reader.document()
    except yaml.YAMLError as error:
        reader.syntax_error(error, text)
    except _TooDeepError:
        pass
    if reader.problems:
        raise ProblemsError(
            [f"{shown}:{line}:{column}: {what}" for line, column, what in sorted(reader.problems)]
        )
    return Document(data, reader.positions, text)


class _TooDeepError(Exception):
    """Nesting beyond `MAX_DEPTH`; the problem is noted already."""


@dataclass
class _Reader:
    """Builds plain data from parser events, and notes what is wrong with line and column."""

    events: Iterator[Any]
    shown: str
    positions: dict[Key, tuple[int, int]] = field(default_factory=dict)
    problems: list[tuple[int, int, str]] = field(default_factory=list)

    def problem(self, position: tuple[int, int], message: str) -> None:
        self.problems.append((*position, message))

    def syntax_error(self, error: Any, text: str) -> None:
        """Note what the parser stumbled over."""
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        parts = [getattr(error, name, None) for name in ("context", "problem")]
        what = ", ".join(part for part in parts if part) or str(error)
        has_tab = "\t" in "".join(text.split("\n")[line - 1 : line])[: column + 1]
        what += ": indent with spaces, not with tabs" if has_tab else ": correct it"
        self.problem((line, column), f"expected YAML, found a syntax error: {what}")

    def document(self) -> Any:
        """Read the one document of the stream."""
        data: Any = None
        n_documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents == 2:
                    self.problem(
                        _position(event),
                        "expected one document, found another: remove the line --- and what follows",
                    )
                    break
                root = next(self.events)
                self.positions[()] = _position(root)
                data = self.node(root, (), 0)
        if data is None and not self.problems:
            self.problem((1, 1), "expected a mapping of keys, found an empty file: write its keys")
        return data

    def node(self, event: Any, key: Key, depth: int) -> Any:
        """Read the node that begins with `event`."""
        if isinstance(event, yaml.AliasEvent):
            self.problem(
                _position(event), f"expected a value, found the alias *{event.anchor}: write the value out"
            )
            return None
        if event.anchor is not None:
            self.problem(_position(event), f"expected no anchor, found &{event.anchor}: remove it")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.problem(
                _position(event),
                f"expected no tag, found {tag}: remove it, or put a text with ! in quotes",
            )
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if depth == MAX_DEPTH:
            self.problem(
                _position(event), f"expected at most {MAX_DEPTH} nested levels, found more: flatten it"
            )
            raise _TooDeepError
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(key, depth)
        return self.mapping(key, depth)

    def sequence(self, key: Key, depth: int) -> list[Any]:
        """Read the items up to the end of a list."""
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            item_key = (*key, len(items))
            self.positions[item_key] = _position(event)
            items.append(self.node(event, item_key, depth + 1))
        return items

    def mapping(self, key: Key, depth: int) -> dict[str, Any]:
        """Read the pairs up to the end of a mapping; of a key given twice the first stays."""
        pairs: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            position = _position(event)
            name = self.node(event, (*key, "?"), depth + 1)
            is_valid = self.is_valid_name(event, name, position)
            if is_valid and name in pairs:
                first = self.positions[(*key, name)][0]
                self.problem(
                    position,
                    f"expected every key once, found '{name}' again, first in line {first}: remove one",
                )
                is_valid = False
            if is_valid:
                self.positions[(*key, name)] = position
            value_key = (*key, name if is_valid else "?")
            value = self.node(next(self.events), value_key, depth + 1)
            if is_valid:
                pairs[name] = value
        return pairs

    def is_valid_name(self, event: Any, name: Any, position: tuple[int, int]) -> bool:
        """Whether a key is a text; note a problem otherwise."""
        if isinstance(event, yaml.AliasEvent):
            return False
        if isinstance(event, yaml.ScalarEvent) and _is_plain(event) and event.value == "<<":
            self.problem(position, "expected a key, found the merge key <<: write the keys out")
            return False
        if not isinstance(name, str):
            is_scalar = isinstance(event, yaml.ScalarEvent)
            what = f"'{event.value}': put it in quotes" if is_scalar else "a list or a mapping: write a text"
            self.problem(position, f"expected a key that is a text, found {what}")
            return False
        return True

    def scalar(self, event: Any) -> Any:
        """Read a scalar by the YAML 1.2 core schema, where anything in quotes is a text."""
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.problem(
                _position(event), "expected text, found half of a surrogate pair: write the character itself"
            )
            return None
        if not _is_plain(event) or event.tag is not None:
            return text
        if len(text) > MAX_DIGITS and (_DECIMAL.fullmatch(text) or _OTHER_BASE.fullmatch(text)):
            self.problem(
                _position(event), f"expected at most {MAX_DIGITS} digits, found {len(text)}: shorten it"
            )
            return None
        value = plain_value(text)
        if isinstance(value, float) and math.isinf(value) and not _INFINITY.fullmatch(text):
            self.problem(
                _position(event),
                f"expected a number that fits in float64, found {text[:MAX_DIGITS]}: correct it",
            )
            return None
        return value


def plain_value(text: str) -> Any:
    """Value of an unquoted scalar in the YAML 1.2 core schema, but numbers with leading zeros are texts."""
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinity := _INFINITY.fullmatch(text):
        return float(f"{infinity[1]}inf")
    return math.nan if _NOT_A_NUMBER.fullmatch(text) else text


def _is_plain(event: Any) -> bool:
    return not event.style


def _position(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
