"""From a manifest's file to a checked manifest, or to all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.crosschecks import cross_problems
from hpcgeom.manifest.explain import explain
from hpcgeom.manifest.fields import Key, Problem, found, has_shorthand, key_text
from hpcgeom.manifest.sections import Manifest
from hpcgeom.manifest.yaml import Document, read_yaml


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
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise InputError(
            f"{path}:{document.positions[()][0]}: expected a mapping with the keys "
            f"{', '.join(Manifest.model_fields)}, found {found(document.data)}"
        )
    try:
        manifest = Manifest.model_validate(document.data)
    except ValidationError as error:
        problems = [*explain(error, Manifest), *_contradictions(document)]
        raise ProblemsError(_lines(problems, document, path)) from None
    absolute = path.absolute()
    return LoadedManifest(manifest, absolute, Path(folder or absolute.parent).absolute(), document.text)


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
        raise InputError("expected a path, found an empty text")
    if has_shorthand(path):
        raise InputError(
            f"expected a path, found '{path}': write the path out; ~ and $VARIABLES are not expanded"
        )
    return Path(folder).absolute() / path


def _contradictions(document: Document) -> Iterator[Problem]:
    """Contradictions among the sections that are right on their own."""
    sections: dict[str, Any] = {}
    for name, field in Manifest.model_fields.items():
        if name not in document.data:
            if not field.is_required():
                sections[name] = field.default
            continue
        annotation: Any = Annotated[field.annotation, field]
        try:
            sections[name] = TypeAdapter(annotation).validate_python(document.data[name])
        except ValidationError:
            continue
    return cross_problems(sections, document.positions.keys())


def _lines(problems: list[Problem], document: Document, path: Path) -> list[str]:
    """Write each problem once, in the order of the file."""
    lines = []
    for key, message in sorted(dict.fromkeys(problems), key=lambda problem: _position(problem.key, document)):
        where = f"{path}:{_position(key, document)[0]}"
        lines.append(": ".join(part for part in (where, key_text(key), message) if part))
    return lines


def _position(key: Key, document: Document) -> tuple[int, int]:
    """Line and column of a key, or of the nearest one around it."""
    while key not in document.positions:
        key = key[:-1]
    return document.positions[key]
