"""Where a model's folder is: a local path, a folder inside an installed package, or a hub id."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from hpcgeom.errors import InputError

PACKAGE_PREFIX = "package:"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(source: str, manifest_folder: Path) -> Path | None:
    """The local folder or file that `source` names, or None where it is a hub id.

    Parameters
    ----------
    source
        ``package:<import name>/<folder>``, a path (relative to `manifest_folder`), or ``org/name``.

    Raises
    ------
    InputError
        The package is not installed, the folder does not exist, or the text is none of the three.
    """
    if source.startswith(PACKAGE_PREFIX):
        return _inside_package(source)
    path = Path(source)
    local = path if path.is_absolute() else manifest_folder / path
    if local.exists():
        return local.resolve()
    if _HUB_ID.fullmatch(source):
        return None
    raise InputError(
        f"'{source}' does not exist (looked for {local}), and it is not a hub id (org/name): correct source"
    )


def _inside_package(source: str) -> Path:
    name, _, folder = source.removeprefix(PACKAGE_PREFIX).partition("/")
    top, *inner = name.split(".")
    # find_spec of a top-level name imports nothing; that of an inner one would import what is around it.
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"'{source}' names the Python package '{name}', which is not installed here: "
            "install it, or name a folder"
        )
    root = Path(next(iter(spec.submodule_search_locations)), *inner).resolve()
    path = (root / folder).resolve()
    if not path.is_relative_to(root) or not path.exists():
        raise InputError(f"'{source}': the package '{name}' has no folder '{folder}': look below {root}")
    return path


def _hub_cache() -> Path:
    """Where huggingface_hub keeps snapshots, without importing it."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{caches}/huggingface")
    cache = os.environ.get("HF_HUB_CACHE", os.environ.get("HUGGINGFACE_HUB_CACHE", f"{home}/hub"))
    return Path(os.path.expandvars(cache)).expanduser()


def cached_hub_folder(hub_id: str, revision: str | None) -> Path | None:
    """The snapshot of a hub id that lies in the local cache, or None; looks at folders only."""
    root = _hub_cache() / f"models--{hub_id.replace('/', '--')}"
    commit = revision
    reference = root / "refs" / (revision or "main")
    if reference.is_file():
        commit = reference.read_text().strip()
    folder = root / "snapshots" / (commit or "")
    return folder if commit and (folder / "config.json").exists() else None
