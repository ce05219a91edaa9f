"""Points of two small models on disk, and the manifest that asks about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MANIFEST = """\
name: small
dataset:
  kind: arrays
  ids: ids.txt
  labels:
    group: {file: group.tsv}
models:
  - {name: first, family: arrays, source: "first{layer}.npy"}
  - {name: second, family: arrays, source: "second{layer}.npy"}
neighbors: {k: 16}
geometry: {gride_range_max: 16, overlap_k: [1, 5], data_fractions: [1.0, 0.5]}
"""
N_POINTS, WIDTH = 1000, 256


def write_inputs(folder: Path, text: str = MANIFEST) -> Path:
    """Points of three layers of two models, with labels that are not ASCII, and their manifest."""
    rng = np.random.default_rng(0)
    for name in ("first0", "first1", "second0"):
        np.save(folder / f"{name}.npy", rng.standard_normal((N_POINTS, WIDTH)).astype(np.float32))
    ids = [f"größe-{row}" for row in range(N_POINTS)]
    (folder / "ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    rows = [f"{name}\t{'αβ'[row % 2]}" for row, name in enumerate(ids)]
    (folder / "group.tsv").write_text("\n".join(["id\tlabel", *rows]) + "\n", encoding="utf-8")
    path = folder / "small.yaml"
    path.write_text(text)
    return path
