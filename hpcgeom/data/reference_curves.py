"""Curves along the depth of models that others have published, to be drawn beside one's own.

A JSON object ``{"source": "...", "curves": [...]}``; a curve is an object with `name`, `variable`, `value`
and `relative_depth`, or `layer` with `n_layers`; ``docs/results.md`` says what else it may have.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcgeom.data.files import read_text_file
from hpcgeom.data.problems import refuse
from hpcgeom.data.wording import listed, nearest
from hpcgeom.errors import InputError

VARIABLES = ("intrinsic_dimension", "consecutive_overlap", "label_overlap")
TEXTS = ("name", "variable", "model", "site", "pooling", "label")
NUMBERS = ("relative_depth", "layer", "value", "error")
COUNTS = ("k", "n_layers")
_REQUIRED = ("name", "variable", "value")


@dataclass(frozen=True, slots=True)
class Curve:
    """One published curve; numbers of one length, NaN where none is known.

    Attributes
    ----------
    name
        What the legend says.
    variable
        Of `VARIABLES`.
    depth, value, error
        Relative depth in 0..1, number and standard error at each layer.
    model, site, pooling, label, k
        What the curve is of; None where it goes with any.
    """

    name: str
    variable: str
    depth: tuple[float, ...]
    value: tuple[float, ...]
    error: tuple[float, ...]
    model: str | None = None
    site: str | None = None
    pooling: str | None = None
    label: str | None = None
    k: int | None = None


@dataclass(frozen=True, slots=True)
class ReferenceCurves:
    """The curves of a file, and where they are from."""

    source: str
    curves: tuple[Curve, ...] = field(default_factory=tuple)


def read_reference_curves(path: Path | str) -> ReferenceCurves:
    """Read and check a file of curves.

    Raises
    ------
    InputError
        The file cannot be read, is no such object, or has curves that are not as they should be (up to ten
        problems together).
    """
    place = Path(path)
    if place.is_dir():
        raise InputError(f"{place} is a folder; expected a JSON file of curves: name the file")
    try:
        found = json.loads(read_text_file(place))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error}); expected an object of curves: correct it") from error
    if not isinstance(found, dict) or set(found) != {"source", "curves"}:
        raise InputError(
            f"{place}: expected an object with 'source' and 'curves', found {_keys(found)}; "
            f"put the curves into a list 'curves', and say where they are from in 'source'"
        )
    source, curves = found["source"], found["curves"]
    if not isinstance(source, str) or not source.strip():
        raise InputError(f"{place}: 'source' is {source!r}; expected text: say where the curves are from")
    if not isinstance(curves, list) or not curves:
        raise InputError(f"{place}: 'curves' is {_shown(curves)}; expected a list of curves: add one")
    problems = []
    for number, curve in enumerate(curves, start=1):
        name = f" ('{curve['name']}')" if isinstance(curve, dict) and "name" in curve else ""
        problems += [f"{place}: curve {number}{name}: {problem}" for problem in _problems(curve)]
    refuse(place, problems)
    return ReferenceCurves(source.strip(), tuple(_curve(each) for each in curves))


def _problems(curve: Any) -> list[str]:
    if not isinstance(curve, dict):
        return [f"{_shown(curve)} found; expected an object with {listed(_REQUIRED)}: write it as one"]
    known = (*TEXTS, *NUMBERS, *COUNTS)
    problems = [
        f"there is no key '{key}'{nearest(key, known)}; expected some of {', '.join(known)}: rename it"
        for key in curve
        if key not in known
    ]
    problems += [f"no '{key}'; expected one: add it" for key in _REQUIRED if key not in curve]
    for key in (key for key in TEXTS if key in curve):
        if not isinstance(curve[key], str) or not curve[key].strip():
            problems.append(f"'{key}' is {_shown(curve[key])}; expected text: write it in quotes")
    for key in (key for key in COUNTS if key in curve):
        if not isinstance(curve[key], int) or isinstance(curve[key], bool) or curve[key] < 1:
            problems.append(f"'{key}' is {_shown(curve[key])}; expected a whole number from 1: correct it")
    if "variable" in curve and curve["variable"] not in VARIABLES:
        problems.append(
            f"variable {curve['variable']!r} is not drawn along depth; expected one of "
            f"{', '.join(VARIABLES)}: choose one of them"
        )
    wrong = [key for key in NUMBERS if key in curve and not _are_numbers(curve[key], key)]
    problems += [f"'{key}' is {_shown(curve[key])}; {_EXPECTED[key]}" for key in wrong]
    return problems if wrong else problems + _problems_of_depth(curve)


_EXPECTED = {
    "relative_depth": "expected a list of numbers from 0 to 1: divide layers by the number of blocks",
    "layer": "expected a list of whole numbers from 0: count the embedding as 0",
    "value": "expected a list of numbers, null where one is not known: write it as one",
    "error": "expected a list of numbers from 0, null where one is not known: write it as one",
}


def _problems_of_depth(curve: dict[str, Any]) -> list[str]:
    if ("relative_depth" in curve) == ("layer" in curve):
        return ["expected either 'relative_depth' or 'layer' with 'n_layers': give one of them"]
    if ("layer" in curve) != ("n_layers" in curve):
        return ["'layer' and 'n_layers' (number of blocks) go together: give both or none"]
    problems = []
    if "n_layers" in curve and max(curve["layer"], default=0) > curve["n_layers"]:
        problems.append(
            f"layer {max(curve['layer'])} is beyond n_layers {curve['n_layers']}; expected layers up to it: "
            f"correct one of them"
        )
    lengths = {key: len(curve[key]) for key in NUMBERS if key in curve}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        found = ", ".join(f"{n} of '{key}'" for key, n in lengths.items())
        problems.append(f"{found}; expected as many of each, and one at least: complete them")
    return problems


def _are_numbers(values: Any, key: str) -> bool:
    if not isinstance(values, list):
        return False
    highest = 1.0 if key == "relative_depth" else math.inf
    lowest = -math.inf if key == "value" else 0.0
    for number in values:
        if number is None and key in ("value", "error"):
            continue
        kinds = int if key == "layer" else int | float
        if not isinstance(number, kinds) or isinstance(number, bool):
            return False
        if not math.isfinite(number) or not lowest <= number <= highest:
            return False
    return True


def _keys(found: Any) -> str:
    if not isinstance(found, dict):
        return type(found).__name__
    return listed(found, shown=3) or "an empty one"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _curve(given: dict[str, Any]) -> Curve:
    depth = given.get("relative_depth") or [layer / given["n_layers"] for layer in given["layer"]]
    return Curve(
        name=given["name"],
        variable=given["variable"],
        depth=tuple(map(float, depth)),
        value=_floats(given["value"]),
        error=_floats(given.get("error", [None] * len(depth))),
        **{key: given.get(key) for key in ("model", "site", "pooling", "label", "k")},
    )


def _floats(numbers: list[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if number is None else float(number) for number in numbers)
