"""Which strategy large models are run with on which devices, from the plan's own functions.

    python tools/strategy_tables.py            print the tables
    python tools/strategy_tables.py --write    put them into docs/strategies.md

Nothing is loaded and nothing is downloaded: sizes are those of the catalog. A test holds the page against
what this prints.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hpcgeom.api.pricing import price
from hpcgeom.api.strategies import parse_devices
from hpcgeom.plan.footprints import STRATEGIES, Footprint
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.strategies import AUTO, choose

PAGE = Path(__file__).resolve().parents[1] / "docs" / "strategies.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
DEVICES = ("1x24", "1x80", "2x80", "4x40", "8x80")
MODELS = {
    "ESM2-15B": ("fasta, path: a.fa", "esm2, source: facebook/esm2_t48_15B_UR50D", "mean"),
    "iGPT-XL": (
        "images, path: a",
        "igpt, source: igpt-xl, weights: random, config: {n_head: 48}",
        "mean_all",
    ),
    "Llama-2-70B": ("text, path: a.tsv, max_length: 256", "llama, source: meta-llama/Llama-2-70b-hf", "last"),
}
"""Name to data set, model, and pooling of a manifest."""
MANIFEST = """\
name: table
dataset: {{kind: {dataset}}}
models: [{{name: m, family: {model}, dtype: bfloat16}}]
representations: {{sites: [ln_1], pooling: [{pooling}]}}
extract: {{tokens_per_batch: 8192}}
"""
N_SAMPLES = 10_000


def rows(name: str) -> Iterator[tuple[str, ...]]:
    """Cells of one model: devices, what each strategy takes of them, and the one that is chosen."""
    dataset, model, pooling = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.yaml"
        path.write_text(MANIFEST.format(dataset=dataset, model=model, pooling=pooling))
        plan = price(path, N_SAMPLES).plan
    # Weights that were never released are counted as if they were in files.
    needs = replace(needs_of(plan, plan.models[0]), drawn=0)
    for text in DEVICES:
        choice = choose(name, needs, AUTO, parse_devices(text))
        cells = [_cell(choice.of(strategy), strategy == choice.strategy) for strategy in STRATEGIES]
        yield (text, *cells)


def _cell(found: Footprint, is_chosen: bool) -> str:
    if found.gpu_bytes is None or (found.problem and not found.problem.startswith("needs")):
        return "-"
    text = f"{found.gpu_bytes / 2**30:.1f} + {found.host_bytes / 2**30:.1f}"
    return f"~~{text}~~" if found.problem else f"**{text}**" if is_chosen else text


def tables() -> str:
    """All tables as Markdown."""
    parts = []
    for name in MODELS:
        parts += ["", f"**{name}**", "", f"| GPUs x GiB | {' | '.join(STRATEGIES)} |"]
        parts += ["|-|" + "-|" * len(STRATEGIES)]
        parts += [f"| {' | '.join(cells)} |" for cells in rows(name)]
    return "\n".join(parts).lstrip("\n") + "\n"


def page_with(text: str, found: str) -> str:
    """The page with `found` in place of its tables."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"the page has no place for tables: expected {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}{found}{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/strategies.md")
    found = tables()
    if parser.parse_args().write:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    else:
        print(found)


if __name__ == "__main__":
    main()
