"""What `hpcgeom models` shows: families with their sites, and the models that are known."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Any

from hpcgeom.catalog.families import FAMILIES, Family
from hpcgeom.catalog.models import KNOWN, KnownModel
from hpcgeom.catalog.sites import HEAD_SITES, POINTS_SITE, POOLINGS, SITES, pooling_words
from hpcgeom.cli import render

COLUMNS = 110
_INDENT = " " * 9
_HEAD_KEYS = ("n_heads", "n_kv_heads", "head_dim")
_ITEM_BYTES = {"float32": 4, "bfloat16": 2}
_UNITS = (("B", 1e9), ("M", 1e6))

_ARRAYS = {
    "reads": "points that exist already: .npy or Zarr, one file a layer",
    "sites": [POINTS_SITE],
    "dataset_kinds": ["arrays"],
}
_MODULE = {
    "reads": "any torch.nn.Module from a factory; block sites need `blocks`",
    "sites": [*SITES, "module:<glob>"],
    "dataset_kinds": ["text", "fasta", "tokens"],
}
_LEGEND = (
    "Heads: in brackets those of k and v, where they are fewer. Parameters and bytes of the weights: of what "
    "pooled sites need, without the head. Access: login: the hub wants a login and an accepted license; "
    "login?: it has at times; none: weights were never released."
)


def as_json() -> str:
    """All of the catalog, with exact numbers."""
    families = {
        "arrays": _ARRAYS,
        **{name: _family(row) for name, row in FAMILIES.items()},
        "module": _MODULE,
    }
    models = {name: _model(model) for name, model in KNOWN.items()}
    return json.dumps(
        {"families": families, "poolings": [*POOLINGS, "token:<i>"], "models": models}, indent=1
    )


def as_text() -> str:
    """The catalog for people, at most `COLUMNS` wide."""
    lines = [*_entry("arrays", _ARRAYS)]
    for name, family in FAMILIES.items():
        lines += _entry(name, _family(family))
    lines += _entry("module", _MODULE)
    heads = ", ".join(HEAD_SITES)
    lines += ["", *_wrapped(f"sites of one head of {heads}: {HEAD_SITES[-1]}.0, {HEAD_SITES[-1]}.1, ...")]
    lines += [*_wrapped(f"poolings: {pooling_words()}"), ""]
    lines += [render.table([_HEADINGS, *map(_row, KNOWN.values())]), "", *_wrapped(_LEGEND)]
    return "\n".join([*lines, *(f"{name}: {model.note}" for name, model in KNOWN.items() if model.note)])


def _family(family: Family) -> dict[str, Any]:
    found = asdict(family)
    del found["name"]
    return {"reads": f"config.json with model_type {' or '.join(family.model_types)}", **found}


def _model(model: KnownModel) -> dict[str, Any]:
    # Nothing but the sizes of heads depends on a number of heads that is not known.
    facts = asdict(model.facts(dict.fromkeys(model.unpublished, 1)))
    if model.unpublished:
        facts.update(dict.fromkeys(_HEAD_KEYS))
    found = {**asdict(model), "facts": facts}
    found["weight_bytes"] = {name: facts["n_parameters"] * size for name, size in _ITEM_BYTES.items()}
    del found["name"]
    return found


def _entry(name: str, row: dict[str, Any]) -> list[str]:
    """What a family reads, and its sites, below each other."""
    about = f"; trained to predict {row['objective']} ({row['reference']})" if "objective" in row else ""
    lines = _wrapped(f"{name:<9}{row['reads']}{about}")
    lines += _wrapped(f"{_INDENT}data sets: {', '.join(row['dataset_kinds'])}")
    lines += _wrapped(f"{_INDENT}sites: {', '.join(row['sites'])}")
    if row.get("detail_sites"):
        lines += _wrapped(f"{_INDENT}kept whole: {', '.join(row['detail_sites'])}")
    for site, why in row.get("absent_sites", {}).items():
        lines += _wrapped(f"{_INDENT}no {site}: {why}")
    return lines


def _wrapped(line: str) -> list[str]:
    indent = _INDENT + "  " if line.startswith(_INDENT) else _INDENT
    return textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)


_HEADINGS = ("model", "family", "blocks", "width", "heads", "params", "float32", "bfloat16", "access")


def _row(model: KnownModel) -> tuple[str, ...]:
    found = _model(model)
    facts = found["facts"]
    fewer = f" ({facts['n_kv_heads']})" if facts["n_kv_heads"] != facts["n_heads"] else ""
    return (
        model.name,
        model.family,
        str(facts["n_layers"]),
        str(facts["width"]),
        f"{facts['n_heads'] or '-'}{fewer}",
        _rounded(facts["n_parameters"]),
        *(render.size(n_bytes) for n_bytes in found["weight_bytes"].values()),
        _access(model),
    )


def _access(model: KnownModel) -> str:
    if not model.has_weights:
        return "none"
    return {True: "login", False: "open", None: "login?"}[model.is_gated]


def _rounded(n_parameters: int) -> str:
    unit, factor = next(item for item in _UNITS if n_parameters >= item[1] or item is _UNITS[-1])
    return f"{f'{n_parameters / factor:#.3g}'.rstrip('.')} {unit}"
