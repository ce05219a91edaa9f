"""How a split search spreads over Dask workers of one thread each, and that all numbers of workers agree.

    python tools/bench/search_workers.py                  # N = 90,000, one and two workers, five minutes
    python tools/bench/search_workers.py --workers 1 2 3

One layer of points is searched in pairs of blocks and merged, by `hpcgeom run` as anybody would call it. The
time counts from the begin of the first pair to the end of the last: neither the start of the workers nor the
other stages are in it. All runs must leave identical stores.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from hpcgeom.store.compare import differences

MANIFEST = """
name: cloud
dataset: {kind: arrays}
models: [{name: cloud, family: arrays, source: "layer{layer}.npy"}]
neighbors: {k: 64, unit_work: %g}
geometry: {estimators: [twonn_mle], overlap_k: [10], labels: []}
"""


def write(folder: Path, n_rows: int, n_features: int, unit_work: float) -> Path:
    """Points of a surface of 12 dimensions with noise, and the manifest that searches them."""
    rng = np.random.default_rng(0)
    points = np.tanh(rng.standard_normal((n_rows, 12)) @ rng.standard_normal((12, n_features)) / np.sqrt(12))
    points += 0.05 * rng.standard_normal(points.shape)
    np.save(folder / "layer0.npy", points.astype(np.float32))
    path = folder / "cloud.yaml"
    path.write_text(MANIFEST % unit_work)
    return path


def pairs(root: Path) -> list[tuple[float, float, int]]:
    """Begin and end in seconds, and process, of every pair of blocks that was searched."""
    found = []
    for path in sorted((root / "records" / "search").glob("0*.json")):
        record = json.loads(path.read_text())
        if "/pair-" in record["key"]:
            end = path.stat().st_mtime
            found.append((end - record["facts"]["seconds"], end, record["made_by"]["pid"]))
    return found


def main() -> None:
    """Run, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=90_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--unit-work", type=float, default=1e11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write(folder, options.rows, options.features, options.unit_work)
        seconds: dict[int, float] = {}
        for n_workers in options.workers:
            root = folder / f"run{n_workers}"
            command = [sys.executable, "-m", "hpcgeom.cli.main", "run", "-m", manifest, "--run-dir", root]
            subprocess.run([*command, "--workers", str(n_workers)], check=True, capture_output=True)
            spans = pairs(root)
            seconds[n_workers] = max(end for _, end, _ in spans) - min(begin for begin, _, _ in spans)
            shares = sorted(Counter(pid for _, _, pid in spans).values())
            ratio = seconds[options.workers[0]] / seconds[n_workers]
            print(
                f"{n_workers} workers: {len(spans)} pairs in {seconds[n_workers]:.1f} s, {ratio:.2f} x the "
                f"speed of {options.workers[0]}; pairs of each process: {shares}",
                flush=True,
            )
        first, *others = (folder / f"run{n_workers}" for n_workers in options.workers)
        for other in others:
            found = differences(first, other)
            print(f"{first.name} and {other.name}: {'identical' if not found else found[:3]}")


if __name__ == "__main__":
    main()
