"""Models from the Hugging Face hub or a mirror of it, in the local cache, pinned to a commit."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from hpcgeom.errors import InputError
from hpcgeom.models.hub_errors import explaining_the_hub, is_unanswered, not_in_cache, one_line
from hpcgeom.models.hub_files import (
    CONFIG_FILE,
    IN_FOLDERS,
    SMALL_FILES,
    as_patterns,
    check_weights,
    choose_weights,
    refuse_foreign_code,
    refuse_other_formats,
    refuse_small_disk,
    wanted_files,
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The arguments of `fetch`."""

    source: str
    revision: str | None
    with_weights: bool
    needs_config: bool

    @property
    def at(self) -> str:
        """Name and revision, for messages."""
        return f"'{self.source}'" + (f" at revision '{self.revision}'" if self.revision else "")


def fetch(
    source: str, revision: str | None, *, with_weights: bool = True, needs_config: bool = True
) -> tuple[Path, str]:
    """Bring a model's weights, configuration and tokenizer to the local cache.

    The hub is ``HF_ENDPOINT`` where that is set. What is unfit is refused before its weights are downloaded;
    afterwards every safetensors file is checked to be whole. Where the hub does not answer, or under
    ``HF_HUB_OFFLINE=1``, the cache answers: a commit is itself, and a branch is what it was when it was
    fetched last. A busy hub (408, 429, 5xx) is asked again by huggingface_hub, with growing pauses and five
    times at most; a refusal (401, 403, 404) and a missing network are final at once.

    Parameters
    ----------
    source
        Hub id, such as ``facebook/esm2_t6_8M_UR50D``.
    revision
        Commit, branch or tag; None for the main branch.
    with_weights
        False for untrained models and for tokenizers: configuration and tokenizer only.
    needs_config
        Whether config.json must be there and name an architecture of transformers. False where only a
        tokenizer is wanted, or weights for a module that a factory of one's own makes.

    Returns
    -------
    tuple
        Local folder, and the commit (40 hexadecimal digits) that was resolved.

    Raises
    ------
    InputError
        The id is malformed; the repository or revision does not exist; access is not granted; the hub does
        not answer and the cache is not whole; there are no safetensors; the architecture is code in the
        repository; or a file is damaged.
    ResourceError
        The disk of the cache is too small, or full.
    """
    asked = _Asked(source, revision, with_weights, needs_config)
    with explaining_the_hub(source, asked.at), _bars_on_terminals_only():
        try:
            info = _look_up(asked)
        except Exception as error:
            if not is_unanswered(error):
                raise
            folder = _from_cache(asked, error)
        else:
            folder = _from_hub(asked, info)
    return folder, folder.name


def _look_up(asked: _Asked) -> Any:
    """The commit of a revision, and its files with their sizes."""
    hub = HfApi()

    def ask() -> Any:
        seconds = constants.HF_HUB_ETAG_TIMEOUT
        return hub.model_info(asked.source, revision=asked.revision, files_metadata=True, timeout=seconds)

    try:
        try:
            info = ask()
        except HfHubHTTPError as error:
            if not is_unanswered(error):
                raise
            # A model is asked for once, but a listing again and again: this waits for a busy hub.
            next(iter(hub.list_repo_tree(asked.source, revision=asked.revision)), None)
            info = ask()
        if not re.fullmatch(r"[0-9a-f]{40}", info.sha or ""):
            raise ValueError(f"it names the commit {info.sha!r}")
    except (HfHubHTTPError, HFValidationError):
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"model {asked.at}: what answers at {constants.ENDPOINT} is not a Hugging Face hub "
            f"({one_line(error)}): check HF_ENDPOINT, the proxy, and whether the network has a login page"
        ) from error
    return info


def _from_hub(asked: _Asked, info: Any) -> Path:
    source, at = asked.source, asked.at
    names = {file.rfilename: file for file in info.siblings or () if "/" not in file.rfilename}
    if asked.needs_config:
        refuse_other_formats(names, at)
        refuse_foreign_code(Path(hf_hub_download(source, CONFIG_FILE, revision=info.sha)), at)
    patterns = list(SMALL_FILES)
    if asked.with_weights:
        patterns += as_patterns(choose_weights(source, info.sha, names, at))
    refuse_small_disk(source, info.sha, wanted_files(names, patterns, at), at)
    # By its revision, not its commit: the cache then knows which commit the revision is, for work offline.
    folder = Path(
        snapshot_download(
            source, revision=asked.revision, allow_patterns=patterns, ignore_patterns=list(IN_FOLDERS)
        )
    )
    if folder.name != info.sha:
        raise InputError(
            f"model {at} was commit {info.sha} on the hub, and {folder.name} when it had been fetched: it "
            "has just been changed, or the hub broke off: run the same command again"
        )
    if asked.with_weights:
        check_weights(folder, at)
    return folder


def _from_cache(asked: _Asked, unanswered: Exception) -> Path:
    try:
        folder = Path(
            snapshot_download(
                asked.source,
                revision=asked.revision,
                allow_patterns=list(SMALL_FILES),
                ignore_patterns=list(IN_FOLDERS),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError as error:
        lack = "is only partly in" if hasattr(error, "snapshot_path") else "is not in"
        raise not_in_cache(asked.at, unanswered, lack) from error
    if asked.needs_config and not (folder / CONFIG_FILE).exists():
        raise not_in_cache(asked.at, unanswered, f"lacks its {CONFIG_FILE} in")
    if asked.needs_config:
        refuse_foreign_code(folder / CONFIG_FILE, asked.at)
    if asked.with_weights:
        try:
            check_weights(folder, asked.at)
        except InputError as error:
            raise not_in_cache(asked.at, unanswered, f"has no whole weights ({error}) in") from error
    return folder


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """No progress bars in logs; ``HF_HUB_DISABLE_PROGRESS_BARS`` decides instead where it is set."""
    is_decided = constants.HF_HUB_DISABLE_PROGRESS_BARS is not None or are_progress_bars_disabled()
    hidden = not is_decided and not sys.stderr.isatty()
    if hidden:
        disable_progress_bars()
    try:
        yield
    finally:
        if hidden:
            enable_progress_bars()
