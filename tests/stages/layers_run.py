"""A run of points that exist already in which everything is asked for that is measured on one layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import arrays_run
import numpy as np

from hpcgeom.api.running import run_manifest
from hpcgeom.plan import paths
from hpcgeom.stages.run import Run
from hpcgeom.store import neighbors

GEOMETRY = {
    "estimators": "[twonn, twonn_mle, twonn_bayes, gride, levina_bickel]",
    "gride_range_max": "32",
    "levina_bickel_k": "[3, 12]",
    "plateau_tolerance": "0.1",
    "local_dimension_k": "8",
    "spectrum": "true",
    "variance_fractions": "[0.5, 0.99]",
    "overlap_k": "[1, 5, 32]",
    "exclude_same": "{third: parity}",
}


def run(folder: Path, name: str = "clouds", **changes: str) -> Path:
    """Run `arrays_run.MANIFEST` with everything asked for, but for some changes to its geometry."""
    asked = {**GEOMETRY, **changes}
    text = ", ".join(f"{key}: {value}" for key, value in asked.items())
    manifest = arrays_run.write_manifest(folder, name, neighbors="{k: 64}", geometry=f"{{{text}}}")
    return run_manifest(manifest, folder / f"run-{name}", workers=1)


def stored_lists(root: Path) -> Iterator[tuple[dict[str, Any], neighbors.Lists]]:
    """Place of every layer in the results, and its lists as they are stored."""
    for model in Run(root).plan.models:
        for item in model.representations:
            group = paths.group(item.site, item.pooling)
            for position, layer in enumerate(item.layers):
                lists = neighbors.read_lists(
                    root / paths.neighbors(model.name), group, position, arrays_run.N
                )
                yield {"model": model.name, "layer": layer}, lists


def same(found: Any, expected: Any) -> None:
    """Equal bit by bit, NaN where NaN is expected."""
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
