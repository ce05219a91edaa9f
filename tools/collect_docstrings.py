"""Collect docstrings of installed Python packages into one table of texts, offline.

    python tools/collect_docstrings.py --out data/docstrings.jsonl

Sources are parsed, never imported or run. Each line holds an id (the qualified name), the text and the
package, which is the label. Texts end before their examples: code is another language. Public objects come
first; of more than --per-package, an even selection over the alphabet is taken. The same installed packages
give the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

STANDARD_LIBRARY = "stdlib"
PACKAGES = ("numpy", "scipy", "sklearn", "matplotlib", "pandas", "networkx", STANDARD_LIBRARY)
_FOREIGN = {
    "tests",
    "test",
    "externals",
    "extern",
    "_vendor",
    "site-packages",
    "idlelib",
    "lib2to3",
    "pydoc_data",
}
_EXAMPLES = re.compile(r"^\s*(?:Examples?:?\s*\n\s*-{3,}|Examples?:?:?\s*$|>>> )", re.MULTILINE)
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Docstring:
    """One docstring: where it stands, what it says, and whether users are meant to see the object."""

    name: str
    text: str
    is_public: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect, write, and print the counts; returns the exit code."""
    options = _parser().parse_args(arguments)
    seen: set[str] = set()
    rows: list[dict[str, str]] = []
    for package in options.packages:
        sources = find_sources(package)
        if not sources:
            sys.stderr.write(
                f"package {package!r} is not installed: install it, or leave it out of --packages\n"
            )
            return 2
        found = collect(sources, options.min_characters, seen)
        kept = select(found, options.per_package)
        rows += [{"id": row.name, "text": row.text, "package": package} for row in kept]
        sys.stdout.write(f"{package:<12} {len(kept):>6} of {len(found)}\n")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    options.out.write_text("".join(lines), encoding="utf-8", newline="\n")
    sys.stdout.write(f"{'total':<12} {len(rows):>6} in {options.out}\n")
    return 0


def find_sources(package: str) -> list[tuple[str, Path]]:
    """Return (module name, file) of every source of a package, sorted, without tests and foreign code."""
    if package == STANDARD_LIBRARY:
        folder = Path(inspect.__file__).parent
        return [row for row in _walk(folder, ()) if row[0].split(".")[0] in sys.stdlib_module_names]
    if "." in package or (spec := importlib.util.find_spec(package)) is None:
        return []
    if spec.submodule_search_locations:
        return _walk(Path(next(iter(spec.submodule_search_locations))), (package,))
    return [(package, Path(spec.origin))] if spec.origin and spec.origin.endswith(".py") else []


def collect(sources: Sequence[tuple[str, Path]], min_characters: int, seen: set[str]) -> list[Docstring]:
    """Return the docstrings of some sources, public ones first, then by name; `seen` texts are left out.

    Equal texts are kept once, under the first name in that order, and are added to `seen`.
    """
    found = [without_examples(row) for module, path in sources for row in _docstrings(module, path)]
    kept: list[Docstring] = []
    names: set[str] = set()
    for docstring in sorted(found, key=lambda one: (not one.is_public, one.name)):
        new = docstring.name not in names and docstring.text not in seen
        if new and len(docstring.text) >= min_characters:
            names.add(docstring.name)
            seen.add(docstring.text)
            kept.append(docstring)
    return kept


def without_examples(docstring: Docstring) -> Docstring:
    """The docstring up to its section of examples or its first doctest."""
    start = _EXAMPLES.search(docstring.text)
    return replace(docstring, text=docstring.text[: start.start()].rstrip()) if start else docstring


def select(found: Sequence[Docstring], limit: int) -> list[Docstring]:
    """Take at most `limit`: all public ones before any private one, evenly spaced where a kind is cut."""
    public = [docstring for docstring in found if docstring.is_public]
    private = [docstring for docstring in found if not docstring.is_public]
    kept = _spread(public, limit)
    return sorted(kept + _spread(private, limit - len(kept)), key=lambda docstring: docstring.name)


def _spread(found: Sequence[Docstring], limit: int) -> list[Docstring]:
    if len(found) <= limit:
        return list(found)
    return [found[i * len(found) // limit] for i in range(limit)]


def _walk(folder: Path, parents: tuple[str, ...]) -> list[tuple[str, Path]]:
    sources = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if _FOREIGN.intersection(parts[:-1]) or parts[-1] == "conftest" or parts[-1].startswith("test_"):
            continue
        names = parts[:-1] if parts[-1] == "__init__" else parts
        if names or parents:
            sources.append((".".join(parents + names), path))
    return sources


def _docstrings(module: str, path: Path) -> Iterator[Docstring]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and files of other Python versions
        return
    if text := ast.get_docstring(tree):
        yield Docstring(module, text, _is_public(module))
    yield from _definitions(tree.body, module, ())
    if path.stem.startswith("_add_newdocs"):
        yield from _added(tree, module)


def _definitions(body: Sequence[ast.stmt], module: str, outer: tuple[str, ...]) -> Iterator[Docstring]:
    for node in body:
        if isinstance(node, _Definition):
            names = (*outer, node.name)
            if text := ast.get_docstring(node):
                # Packages define public functions in private modules, so the module's name does not count.
                yield Docstring(".".join((module, *names)), text, _is_public(".".join(names)))
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, module, names)
        elif isinstance(node, ast.If | ast.Try):
            yield from _definitions([*node.body, *node.orelse], module, outer)


def _added(tree: ast.Module, module: str) -> Iterator[Docstring]:
    """Read numpy's ``add_newdoc("module", "name", "text" or ("method", "text"))`` and scipy's form."""
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "add_newdoc"
        ):
            continue
        try:
            values = [ast.literal_eval(argument) for argument in node.args]
        except ValueError:  # built at run time
            continue
        place = [module.rpartition(".")[0], *values] if len(values) == 2 else values
        if len(place) == 3 and isinstance(place[2], tuple):
            place[1:] = [f"{place[1]}.{place[2][0]}", place[2][1]]
        if len(place) == 3 and all(isinstance(part, str) for part in place):
            yield Docstring(f"{place[0]}.{place[1]}", inspect.cleandoc(place[2]), _is_public(place[1]))


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the table to write (.jsonl)")
    parser.add_argument(
        "--packages", nargs="+", default=PACKAGES, help="default: %(default)s", metavar="NAME"
    )
    parser.add_argument(
        "--per-package", type=int, default=580, help="most texts of one (default: %(default)s)"
    )
    parser.add_argument("--min-characters", type=int, default=80, help="shortest text (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
