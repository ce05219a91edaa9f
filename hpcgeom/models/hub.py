"""Weights from the Hugging Face hub, pinned to a commit."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hpcgeom.errors import InputError

ALLOW_PATTERNS = ("*.safetensors", "*.json", "*.txt")
IGNORE_PATTERNS = ("*/*",)  # exports for other engines lie in subfolders
_TOKEN_HINT = "log in with `hf auth login` or set HF_TOKEN"


def fetch(source: str, revision: str | None) -> tuple[Path, str]:
    """Bring a model's weights, configuration and tokenizer to the local cache.

    Parameters
    ----------
    source
        Hub id, such as ``facebook/esm2_t6_8M_UR50D``.
    revision
        Commit, branch or tag; None for the main branch.

    Returns
    -------
    tuple
        Local folder, and the commit (40 hexadecimal digits) that was resolved.

    Raises
    ------
    InputError
        The id is malformed, the repository or revision does not exist, access is not granted, or the hub
        cannot be reached and nothing is cached.
    """
    at = f"'{source}'" + (f" at revision '{revision}'" if revision else "")
    try:
        folder = huggingface_hub.snapshot_download(
            source,
            revision=revision,
            allow_patterns=list(ALLOW_PATTERNS),
            ignore_patterns=list(IGNORE_PATTERNS),
        )
    except GatedRepoError as error:
        raise InputError(
            f"model {at} is gated: accept its license on https://huggingface.co/{source}, then {_TOKEN_HINT}"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"model {at}: the hub has no such revision: give a commit, branch or tag") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"model {at}: the hub has no such repository, or it is private (it answers the same): check the "
            f"spelling, or {_TOKEN_HINT}"
        ) from error
    except HFValidationError as error:
        raise InputError(f"model {at} is neither a local folder nor a hub id: {error}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise InputError(
            f"model {at} is not (wholly) in the local cache and the hub cannot be reached: run `hpcgeom "
            "prepare` where there is internet and HF_HUB_OFFLINE is not set, or give a local folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"model {at} could not be fetched: {_one_line(error)}{_status_hint(error)}"
        ) from error
    return Path(folder), _commit_of(Path(folder), at)


def _commit_of(folder: Path, at: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", folder.name):
        raise InputError(f"model {at}: its cache folder {folder} is not named by a commit: empty the cache")
    return folder.name


def _status_hint(error: OSError) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f": access is not granted: {_TOKEN_HINT}" if status in (401, 403) else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
