"""Where a run came from: dates, hosts, versions, commands. Here, and never in a store."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from hpcgeom.errors import DamagedError
from hpcgeom.manifest import LoadedManifest
from hpcgeom.plan import paths
from hpcgeom.stages.base import made_by

PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "zarr",
    "xarray",
    "dask",
    "numba",
    "pyarrow",
    "faiss-cpu",
    "faiss-gpu",
)


def provenance(loaded: LoadedManifest) -> dict[str, Any]:
    """Who prepared a run, from what, with which versions."""
    return {
        **made_by(),
        "command": sys.argv,
        "python": sys.version,
        "manifest": str(loaded.path),
        "manifest_folder": str(loaded.folder),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def read_manifest_folder(root: Path) -> Path:
    """The folder that relative paths of a run's manifest start from.

    Raises
    ------
    DamagedError
        ``provenance.json`` is missing or damaged.
    """
    path = root / paths.PROVENANCE
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["manifest_folder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{path} cannot be read ({type(error).__name__}: {error}): go on with hpcgeom run -m MANIFEST "
            f"--run-dir {root}"
        ) from error


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
