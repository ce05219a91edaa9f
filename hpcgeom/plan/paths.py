"""Names of everything in a run directory, relative to it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

MANIFEST = "manifest.yaml"
PROVENANCE = "provenance.json"
SAMPLES = "samples.parquet"
PLAN = "plan.json"
RESULTS = "results.zarr"
FIGURES = "report/figures"

DEFAULT_ROOT = Path("runs")


def run_directory(name: str, manifest_digest: str) -> Path:
    """Where a manifest's run lies unless the user says otherwise."""
    return DEFAULT_ROOT / f"{name}-{manifest_digest[:8]}"


def prepared(model: str) -> str:
    """Table of a model's batches."""
    return f"prepared/{model}.parquet"


def activations(model: str) -> str:
    """Store of a model's activations."""
    return f"activations/{model}.zarr"


def activation_shard(model: str, group: str, position: int, shard: int) -> str:
    """File with one layer's points of one extract unit."""
    return f"{activations(model)}/{group}/activations/c/{position}/{shard}/0"


def neighbors(model: str) -> str:
    """Store of a model's neighbor lists."""
    return f"neighbors/{model}.zarr"


PARTIAL_NEIGHBORS = "neighbors/partial"
"""What the parts of split searches found, until it is merged."""


def group(site: str, pooling: str) -> str:
    """Group of a representation inside a store; globs are spelled with safe characters."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", site)
    if safe != site:
        safe = f"{safe}-{hashlib.sha256(site.encode()).hexdigest()[:6]}"
    return f"{safe}/{pooling}"


def rows(start: int, stop: int) -> str:
    """Name of a range of rows."""
    return f"rows-{start:08d}-{stop:08d}"


def column_sums(model: str, start: int, stop: int) -> str:
    """float64 sums over an extract unit's points, by representation: what the search centers with."""
    return f"records/extract/sums/{model}-{rows(start, stop)}.npz"


def partial_neighbors(model: str, site: str, pooling: str, layer: int) -> str:
    """Folder of what the parts of one layer's search found."""
    return f"{PARTIAL_NEIGHBORS}/{model}/{group(site, pooling)}/layer-{layer:03d}"


def profile(model: str, site: str, pooling: str, layer: int) -> str:
    """Partial result: everything measured on one layer alone."""
    return f"geometry/profile/{model}/{group(site, pooling)}/layer-{layer:03d}.npz"


def between(kind: str, site: str, pooling: str, part: str) -> str:
    """Partial result: what is counted between all layers, over some of the points or of the pairs."""
    return f"geometry/{kind}/{group(site, pooling)}/{part}.npz"
