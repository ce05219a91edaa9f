"""From a manifest's file to a checked manifest, or to all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.crosschecks import cross_problems
from hpcgeom.manifest.explain import explain
from hpcgeom.manifest.fields import Key, Problem, Section, found, has_shorthand, key_text
from hpcgeom.manifest.sections import Manifest
from hpcgeom.manifest.yaml import Document, read_yaml

S = TypeVar("S", bound=Section)
CrossChecks = Callable[[Mapping[str, Any], Set[Key]], Iterable[Problem]]


@dataclass(frozen=True)
class LoadedManifest:
    """A manifest with the file it came from.

    Attributes
    ----------
    manifest
        The checked content, all defaults filled in.
    path
        The file, absolute; symbolic links are not followed.
    folder
        Where relative paths start: an absolute folder.
    text
        The file as it was read.
    """

    manifest: Manifest
    path: Path
    folder: Path
    text: str

    def resolve(self, path: str) -> Path:
        """Resolve a path of the manifest; see `resolve_path`."""
        return resolve_path(self.folder, path)


def load_manifest(path: str | Path, folder: str | Path | None = None) -> LoadedManifest:
    """Load and check a manifest.

    Parameters
    ----------
    path
        The YAML file.
    folder
        Where relative paths start, if not in the folder of `path`: for a copy of a manifest.

    Returns
    -------
    LoadedManifest
        Nothing that it names is opened: that data and weights exist is checked by ``prepare``.

    Raises
    ------
    InputError
        The file cannot be read or is no YAML.
    ProblemsError
        It is not a manifest: one sentence ``file:line: key: expected, found`` a problem, in line order.
    """
    path = Path(path)
    manifest, document = load_section(path, Manifest, cross_problems)
    absolute = path.absolute()
    return LoadedManifest(manifest, absolute, Path(folder or absolute.parent).absolute(), document.text)


def load_section(
    path: Path, root: type[S], cross_checks: CrossChecks, mends: Mapping[str, str] | None = None
) -> tuple[S, Document]:
    """Load and check a YAML file that holds one section.

    Parameters
    ----------
    path
        The YAML file.
    root
        The section at its root.
    cross_checks
        Finds the contradictions between the keys of `root`. It gets those that are right on their own, and
        the keys that are written in the file.
    mends
        What to do about keys that no section has, by key; the nearest key of the section otherwise.

    Returns
    -------
    root
        The checked content, all defaults filled in.
    document
        The file, with its text and the lines of its keys.

    Raises
    ------
    InputError, ProblemsError
        As of `load_manifest`.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise InputError(
            f"{path}:{document.positions[()][0]}: expected a mapping with the keys "
            f"{', '.join(root.model_fields)}, found {found(document.data)}: write these keys"
        )
    try:
        return root.model_validate(document.data), document
    except ValidationError as error:
        problems = [*explain(error, root, mends or {}), *_contradictions(document, root, cross_checks)]
        raise problems_error(problems, document, path) from None


def problems_error(problems: Iterable[Problem], document: Document, path: Path) -> ProblemsError:
    """Make the error of a file: each problem once, with its line, in the order of the file."""
    lines = []
    for key, message in sorted(dict.fromkeys(problems), key=lambda problem: _position(problem.key, document)):
        where = f"{path}:{_position(key, document)[0]}"
        lines.append(_printable(": ".join(part for part in (where, key_text(key), message) if part)))
    return ProblemsError(lines)


def _printable(line: str) -> str:
    """Escape what would not show or would move a terminal's cursor: keys and paths may hold anything."""
    return "".join(character if character.isprintable() else f"{character!a}"[1:-1] for character in line)


def resolve_path(folder: str | Path, path: str) -> Path:
    """Resolve a path of a manifest against the manifest's folder.

    Parameters
    ----------
    folder
        The manifest's folder.
    path
        Absolute, or relative to `folder`; ``~`` and ``$VARIABLES`` are not expanded.

    Returns
    -------
    Path
        Absolute; symbolic links are not followed, and it need not exist.

    Raises
    ------
    InputError
        `path` is empty or holds ``~`` or ``$VARIABLES``.
    """
    if not path.strip():
        raise InputError("expected a path, found an empty text: write one")
    if has_shorthand(path):
        raise InputError(
            f"expected a path, found '{path}': write the path out; ~ and $VARIABLES are not expanded"
        )
    return Path(folder).absolute() / path


def _contradictions(document: Document, root: type[S], cross_checks: CrossChecks) -> Iterable[Problem]:
    """Contradictions among the sections that are right on their own."""
    sections: dict[str, Any] = {}
    for name, field in root.model_fields.items():
        if name not in document.data:
            if not field.is_required():
                sections[name] = field.default
            continue
        annotation: Any = Annotated[field.annotation, field]
        try:
            sections[name] = TypeAdapter(annotation).validate_python(document.data[name])
        except ValidationError:
            continue
    return cross_checks(sections, document.positions.keys())


def _position(key: Key, document: Document) -> tuple[int, int]:
    """Line and column of a key, or of the nearest one around it."""
    while key not in document.positions:
        key = key[:-1]
    return document.positions[key]
