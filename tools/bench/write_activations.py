"""Activations to disk with a model that costs nothing, against `numpy.save` and fsync of as many bytes.

    python tools/bench/write_activations.py          # 4 GiB, five times each, about two minutes
    python tools/bench/write_activations.py --gb 1

The model looks up a row of a table for each sample's only token, and hands it through blocks that do nothing.
All else is the stage `extract` as any run does it: tokens are read, batches formed, 17 layers pooled and put
in order, shards written with the checksums of their chunks and of the file for the records, made durable.
Both take turns; the median counts.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_BLOCKS, WIDTH, VOCABULARY = 16, 4096, 64
LAYERS = N_BLOCKS + 1
UNIT_ROWS = 1024
MANIFEST = f"""
name: free
dataset: {{kind: tokens, path: tokens.npy}}
models:
  - {{name: free, family: module, factory: 'write_activations:make', weights: random, blocks: blocks}}
representations: {{sites: [resid], pooling: [last]}}
extract: {{unit_rows: {UNIT_ROWS}}}
neighbors: {{k: 16}}
geometry: {{gride_range_max: 4, overlap_k: [1]}}
"""


def make() -> object:
    """A module whose blocks do nothing."""
    import torch

    class Free(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
            self.blocks = torch.nn.ModuleList(torch.nn.Identity() for _ in range(N_BLOCKS))

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.embedding(input_ids)
            for block in self.blocks:
                hidden = block(hidden)
            return hidden

    return Free()


def prepared(folder: Path, n_bytes: float) -> object:
    """A run whose extract units hold `n_bytes` together."""
    from hpcgeom.manifest import load_manifest
    from hpcgeom.stages.prepare import prepare

    n_units = max(1, round(n_bytes / (UNIT_ROWS * LAYERS * WIDTH * 4)))
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (n_units * UNIT_ROWS, 1))
    np.save(folder / "tokens.npy", tokens)
    (folder / "manifest.yaml").write_text(MANIFEST)
    return prepare(load_manifest(folder / "manifest.yaml"), folder / "run")


def extract(run: object) -> tuple[float, int]:
    """Seconds and bytes of all units anew; the weights are loaded."""
    from hpcgeom.stages import task

    units = run.units("extract")  # type: ignore[attr-defined]
    records = run.records("extract")  # type: ignore[attr-defined]
    for unit in units:
        records.remove(unit)
        for name in unit.owns:
            (run.root / name).unlink(missing_ok=True)  # type: ignore[attr-defined]
    began = time.perf_counter()
    receipts = task.do(task.Task(str(run.root), "extract", tuple(unit.index for unit in units)))  # type: ignore[attr-defined]
    taken = time.perf_counter() - began
    assert all(receipt.did for receipt in receipts), receipts
    return taken, sum(entry.size for unit in units for entry in records.load(unit).files)


def save(folder: Path, values: np.ndarray) -> tuple[float, int]:
    """Seconds and bytes of one file."""
    path = folder / "values.npy"
    began = time.perf_counter()
    with path.open("wb") as file:
        np.save(file, values)
        file.flush()
        os.fsync(file.fileno())
    taken, size = time.perf_counter() - began, path.stat().st_size
    path.unlink()
    return taken, size


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=4.0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; by default that of $TMPDIR")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))  # so that the manifest finds `make`
    rates: dict[str, list[float]] = {"extract": [], "numpy.save": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        run = prepared(folder, options.gb * 2**30)
        n_rows = int(options.gb * 2**30) // (4 * WIDTH)
        values = np.random.default_rng(0).standard_normal((n_rows, WIDTH), dtype=np.float32)
        extract(run)
        for _ in range(options.repeat):
            for way, (taken, size) in (("extract", extract(run)), ("numpy.save", save(folder, values))):
                rates[way].append(size / taken / 1e9)
    for way, found in rates.items():
        print(f"{way:10} {statistics.median(found):5.2f} GB/s  ({min(found):.2f} to {max(found):.2f})")
    print(f"ratio {statistics.median(rates['extract']) / statistics.median(rates['numpy.save']):.2f}")


if __name__ == "__main__":
    main()
