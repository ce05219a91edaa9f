"""Predict the search of many layers of many points: wall time, bytes, and what limits where.

    python tools/bench/search_constants.py > constants.json
    python tools/bench/scaling.py --constants constants.json            # prints the tables of docs/scaling.md
    python tools/bench/scaling.py --constants constants.json --write    # puts both into docs/scaling.md

Without constants, those that stand in the document are used. Nothing is measured but these: times are
those of a model (`search_model.py`), and rates of GPUs and file systems are assumptions.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

from search_constants import RUN_FEATURES, RUN_K, RUN_ROWS
from search_model import Constants, Machine, Outcome, Search, layer_units, run

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
SIZES = (100_000, 1_000_000, 10_000_000)
N_LAYERS, N_FEATURES, K = 81, 8192, 128
FILES = (2e9, 10e9)
EFFICIENCY = 0.5
"""Assumed share of the peaks below that is sustained."""
PEAKS = {"H100 SXM": (989e12, 67e12, 3.35e12, 64e9), "A100 SXM 80 GB": (312e12, 19.5e12, 2.04e12, 32e9)}
"""Of data sheets: float16 on tensor cores without sparsity, float32, memory, and link to the host one way."""
GPU_THREADS = 16
CPU_ADAPTED = {"pair_tile_rows": 2**13, "merge_tile_rows": 2**16, "audits_units": True}
GPU_ADAPTED = {**CPU_ADAPTED, "unit_work": 2e15, "pair_tile_rows": 2**18}
"""What the document proposes to change; a worker with a GPU also reads with all its threads."""


def cpus(n_nodes: int, n_cores: int, files: float, node_bytes: float) -> Machine:
    """A worker for each core."""
    return Machine(n_nodes * n_cores, files, node_bytes / 2, n_cores)


def gpus(n: int, files: float, *, adapted: bool = False) -> Machine:
    """A worker for each H100, eight to a node of 2 TB (one alone has 256 GB); half of it holds files."""
    half, _, memory, link = (EFFICIENCY * peak for peak in PEAKS["H100 SXM"])
    node_bytes = 256e9 if n == 1 else 2e12
    readers = GPU_THREADS if adapted else 1
    return Machine(n, files, node_bytes / 2, min(n, 8), GPU_THREADS, readers, half, memory, link)


def search_of(n_rows: int, changes: Mapping[str, Any] = MappingProxyType({})) -> Search:
    """A layer of the document."""
    return Search(n_rows, N_FEATURES, K, **changes)


def duration(seconds: float) -> str:
    """In the unit that is read best."""
    for size, unit in ((365.25 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds)} s"


def n_bytes(value: float) -> str:
    """In powers of a thousand."""
    for size, unit in ((1e18, "EB"), (1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= size:
            return f"{_digits(value / size)} {unit}"
    return f"{_digits(value)} B"


def _digits(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "-|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def check_table(constants: Constants) -> str:
    """Two timed searches against the model: by the clock, and the time of all cores together."""
    rows = []
    searched = Search(RUN_ROWS, RUN_FEATURES, RUN_K, unit_work=inf)
    for name, threads in (("1_thread", 1.0), ("2_threads", 1.0 + constants["second_thread"])):
        machine = dataclasses.replace(cpus(1, 1, inf, inf), threads=threads)
        predicted = layer_units(searched, machine, constants)[0][0][0].seconds
        alone = dataclasses.replace(machine, threads=1.0)
        of_cores = layer_units(searched, alone, constants)[0][0][0].seconds
        row = [name.replace("_", " ")]
        for expected, key in ((predicted, f"run_s_{name}"), (of_cores, f"run_core_s_{name}")):
            row += [f"{expected:.1f} s", f"{constants[key]:.1f} s", f"{constants[key] / expected:.2f}"]
        rows.append(row)
    names = ["predicted", "measured", "ratio"]
    return table(["", *names, *(f"of cores: {name}" for name in names)], rows)


def size_table(constants: Constants) -> str:
    """Units and bytes of all layers."""
    rows = []
    for n in SIZES:
        search = search_of(n)
        partial = search.partial_bytes(constants)
        units = layer_units(search, gpus(1, inf), constants)
        counts = [N_LAYERS * sum(number for _, number in step) for step in units]
        rows.append(
            [f"{n:,}", " + ".join(f"{count:,}" for count in counts), f"{N_LAYERS * n**2 * N_FEATURES:.1e}",
             n_bytes(N_LAYERS * search.layer_bytes), n_bytes(N_LAYERS * search.list_bytes()),
             n_bytes(partial), n_bytes(N_LAYERS * partial), n_bytes(search.pair_memory()),
             n_bytes(search.merge_memory(constants))]
        )  # fmt: skip
    return table(
        ["N", "scans + pairs + merges", "FLOP", "activations", "lists", "partials of a layer", "of all",
         "memory of a pair", "of a merge"], rows,
    )  # fmt: skip


def traffic_table(constants: Constants) -> str:
    """Bytes that units ask for in one layer, were nothing held in memory."""
    rows = []
    bare = dataclasses.replace(gpus(1, inf), cache_bytes=0.0)
    variants = (("as built", {}), ("adapted, cores", CPU_ADAPTED), ("adapted, GPUs", GPU_ADAPTED))
    for n in SIZES:
        for name, changes in variants:
            search = search_of(n, changes)
            steps = layer_units(search, bare, constants)
            asked = [sum(unit.file_bytes * number for unit, number in step) for step in steps]
            merges = n_bytes(asked[-1]) if len(asked) > 1 else "in the unit"
            first = n_bytes(sum(asked[:-1]) if len(asked) > 1 else asked[0])
            rows.append([f"{n:,}", name, str(search.n_blocks), f"{search.tile_rows:,}", first, merges])
    return table(["N", "", "blocks", "tile rows", "scan and pairs", "merges"], rows)


def cpu_table(constants: Constants) -> str:
    """Wall time on processors, as built and adapted."""
    rows = []
    machines = (("1 core", 1, 1, 64e9), ("16 cores", 1, 16, 64e9), ("64 x 32 cores", 64, 32, 256e9))
    for n in SIZES:
        for name, nodes, cores, memory in machines:
            row = [f"{n:,}", name]
            for changes in ({}, CPU_ADAPTED):
                for files in FILES:
                    machine = cpus(nodes, cores, files, memory)
                    row.append(_cell(run(search_of(n, changes), machine, constants, N_LAYERS)))
            rows.append(row)
    return table(["N", "machine", *_variants()], rows)


def gpu_table(constants: Constants) -> str:
    """Wall time on GPUs, as built and adapted."""
    rows = []
    for n in SIZES:
        for count in (1, 8, 64):
            row = [f"{n:,}", str(count), duration(products(n, count))]
            for changes in ({}, GPU_ADAPTED):
                for files in FILES:
                    machine = gpus(count, files, adapted=bool(changes))
                    row.append(_cell(run(search_of(n, changes), machine, constants, N_LAYERS)))
            rows.append(row)
    return table(["N", "GPUs", "products alone", *_variants()], rows)


def _cell(outcome: Outcome) -> str:
    return f"{duration(outcome.seconds)} ({outcome.limit})"


def _variants() -> list[str]:
    return [f"{kind}, {files / 1e9:.0f} GB/s" for kind in ("as built", "adapted") for files in FILES]


def products(n_rows: int, count: int, name: str = "H100 SXM", kind: int = 0) -> float:
    """Seconds of the products alone, at the assumed share of a peak."""
    return N_LAYERS * n_rows**2 * N_FEATURES / (EFFICIENCY * PEAKS[name][kind] * count)


def product_table() -> str:
    """Products alone on one GPU of each kind."""
    rows = []
    for name in PEAKS:
        for kind, dtype in enumerate(("float16", "float32")):
            rate = f"{EFFICIENCY * PEAKS[name][kind] / 1e12:,.1f}"
            rows.append([f"{name}, {dtype}", rate, *(duration(products(n, 1, name, kind)) for n in SIZES)])
    return table(["one GPU", "assumed TFLOP/s", *(f"N = {n:,}" for n in SIZES)], rows)


def tables(constants: Constants) -> str:
    """What stands between the marks of the document."""
    parts = (
        ("Model against two real searches", check_table(constants)),
        ("Units and bytes of all layers, as built", size_table(constants)),
        ("Bytes that the units of one layer ask for", traffic_table(constants)),
        ("Wall time on processors", cpu_table(constants)),
        ("Products alone, on one GPU", product_table()),
        ("Wall time on H100 GPUs", gpu_table(constants)),
    )
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in parts)


def between(text: str, mark: str) -> str:
    """What stands between the comments `<!-- mark -->` and `<!-- end of mark -->`."""
    return re.search(rf"<!-- {mark} -->\n(.*?)\n<!-- end of {mark} -->", text, re.DOTALL)[1]  # type: ignore[index]


def constants_of(page: str) -> dict[str, float]:
    """The constants that stand in the document."""
    found: dict[str, float] = json.loads(
        between(page, "constants").removeprefix("```json\n").removesuffix("```")
    )
    return found


def with_results(page: str, constants: Constants) -> str:
    """The document with other constants and their tables."""
    written = f"```json\n{json.dumps(constants, indent=2)}\n```"
    for mark, block in (("constants", written), ("tables", tables(constants))):
        begin, end = f"<!-- {mark} -->\n", f"\n<!-- end of {mark} -->"
        page = page.replace(f"{begin}{between(page, mark)}{end}", f"{begin}{block}{end}")
    return page


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--constants", type=Path, help="JSON of search_constants.py")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    constants = json.loads(options.constants.read_text()) if options.constants else constants_of(page)
    if options.write:
        PAGE.write_text(with_results(page, constants), encoding="utf-8")
    else:
        print(tables(constants))


if __name__ == "__main__":
    main()
