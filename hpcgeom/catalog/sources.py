"""Where a model's folder is: a local path, a folder inside an installed package, a mirror, or a hub id."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from hpcgeom.errors import InputError

PACKAGE_PREFIX = "package:"
MIRROR_VARIABLE = "HPCGEOM_MIRROR"
REVISION_FILE = ".revision"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FINISHED = ("config.json", "tokenizer.json", "tokenizer_config.json")


def locate(source: str, manifest_folder: Path) -> Path | None:
    """The local folder or file that `source` names, or None where only the hub has it.

    Looked for in this order: a package, a local path, the mirror. The mirror is the folder that the
    environment variable ``HPCGEOM_MIRROR`` names, for machines without internet: the model ``org/name`` is
    its subfolder ``org/name``, with config.json, the safetensors and the tokenizer's files as on the hub.
    The hub is not asked for a model that the mirror has; one that it lacks is looked for on the hub. A file
    ``.revision`` beside config.json says which commit was copied (see `mirrored_revision`)::

        hf download org/name --local-dir mirror/org/name --revision <commit>
        echo <commit> > mirror/org/name/.revision
        rsync -a mirror/ cluster:/scratch/mirror    # and there: export HPCGEOM_MIRROR=/scratch/mirror

    Parameters
    ----------
    source
        ``package:<import name>/<folder>``, a path (relative to `manifest_folder`), or ``org/name``.

    Raises
    ------
    InputError
        The package is not installed, the folder does not exist, the text is none of the three, or
        ``HPCGEOM_MIRROR`` is set but names no folder.
    """
    if source.startswith(PACKAGE_PREFIX):
        return _inside_package(source)
    path = Path(source)
    local = path if path.is_absolute() else manifest_folder / path
    if local.exists():
        return local.resolve()
    if _HUB_ID.fullmatch(source):
        return _inside_mirror(source)
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


def _inside_mirror(hub_id: str) -> Path | None:
    named = os.environ.get(MIRROR_VARIABLE)
    if not named:
        return None
    root = Path(named).expanduser()
    if not root.is_absolute() or not root.is_dir():
        raise InputError(
            f"{MIRROR_VARIABLE} is '{named}': expected the absolute path of a folder with "
            f"<org>/<name>/ below it, as for '{hub_id}': correct the variable, or unset it"
        )
    folder = root / hub_id
    return folder.resolve() if folder.is_dir() else None


def mirrored_revision(folder: Path, pinned: str | None = None) -> str:
    """The commit of which a folder is a copy, from its file ``.revision``; empty where there is no such file.

    Parameters
    ----------
    folder
        What `locate` found.
    pinned
        The revision that the manifest asks for, if it does. A branch or tag cannot be compared with a
        commit, so only the commit itself is taken for equal.

    Raises
    ------
    InputError
        ``.revision`` is not 40 hexadecimal digits; or a revision is pinned, and the folder is a copy of
        another one or does not say of which.
    """
    file = folder / REVISION_FILE
    if not file.is_file():
        if pinned is None:
            return ""
        raise InputError(
            f"{folder} does not say which commit it is a copy of, but the manifest pins revision "
            f"'{pinned}': write the 40 digits of its commit to {file}, or remove revision"
        )
    commit = file.read_bytes().decode("ascii", "replace").strip()
    if not _COMMIT.fullmatch(commit):
        raise InputError(
            f"{file} holds '{commit[:60]}': expected a commit of 40 hexadecimal digits (0-9, a-f): correct it"
        )
    if pinned is not None and pinned != commit:
        raise InputError(
            f"{folder} is a copy of commit {commit}, but the manifest pins revision '{pinned}': copy that "
            f"commit, or pin {commit}"
        )
    return commit


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
    return folder if commit and any((folder / name).exists() for name in _FINISHED) else None
