"""What an error of huggingface_hub means, and what to do next: one sentence each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # the base of its HTTP library, whichever that is
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hpcgeom.errors import HpcgeomError, InputError, ResourceError

_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"
_AGAIN = "run the same command again (what is fetched whole is kept)"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def is_unanswered(error: BaseException) -> bool:
    """Whether `error` says nothing about the repository: no network, none wanted, or a hub that is busy."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    return isinstance(error, OfflineModeIsEnabled | HTTPError)


def why_unanswered(error: BaseException) -> str:
    """An error of `is_unanswered` in words."""
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return f"the hub answers {status}{', too many requests' if status == 429 else ''}"
    return f"the hub cannot be reached ({constants.ENDPOINT}: {one_line(error)})"


def not_in_cache(at: str, unanswered: BaseException, lack: str) -> InputError:
    """The error of a model that the hub was not there to complete; `lack` says what the cache lacks."""
    offline = isinstance(unanswered, OfflineModeIsEnabled)
    return InputError(
        f"model {at} {lack} {constants.HF_HUB_CACHE}, and {why_unanswered(unanswered)}: run "
        f"`hpcgeom prepare` where there is internet{' and HF_HUB_OFFLINE is not set' if offline else ''}, "
        "copy the model into a folder that HPCGEOM_MIRROR names, or give a local folder as source"
    )


@contextmanager
def explaining_the_hub(source: str, at: str) -> Iterator[None]:
    """Turn errors of huggingface_hub into ours; what is wrong with the machine otherwise passes as it is.

    Raises
    ------
    InputError
        The hub refuses, breaks off, or cannot be reached; or the cache cannot be written.
    ResourceError
        The disk of the cache is full.
    """
    try:
        yield
    except HpcgeomError:
        raise
    except Exception as error:
        explained = _explained(_cause(error), source, at)
        if explained is None:
            raise
        raise explained from error


def one_line(error: BaseException) -> str:
    """The text of an error without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _cause(error: Exception) -> Exception:
    """What made a file be looked for in the cache, where it then was not."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return error.__cause__
    return error


def _explained(error: Exception, source: str, at: str) -> HpcgeomError | None:
    if isinstance(error, HFValidationError):
        return InputError(
            f"model {at} is neither a local folder nor a hub id: {one_line(error)}: correct source"
        )
    if isinstance(error, HfHubHTTPError):
        return InputError(f"model {at} {_refusal(error, source)}")
    if is_unanswered(error):
        return InputError(f"model {at} could not be fetched: {why_unanswered(error)}: {_AGAIN}")
    if isinstance(error, OSError) and error.errno is not None:
        return _about_the_disk(error, at)
    if isinstance(error, RuntimeError) and "No space left" in str(error):  # from hf_xet
        return _about_the_disk(OSError(errno.ENOSPC, one_line(error)), at)
    if isinstance(error, RuntimeError):
        return InputError(
            f"model {at} could not be fetched: {one_line(error)}: {_AGAIN}; if the network lets only "
            "huggingface.co through, set HF_HUB_DISABLE_XET=1"
        )
    if isinstance(error, OSError):
        return InputError(f"model {at} could not be fetched: {one_line(error)}: {_AGAIN}")
    return None


def _refusal(error: HfHubHTTPError, source: str) -> str:
    status, page = error.response.status_code, f"https://huggingface.co/{source}"
    if isinstance(error, GatedRepoError) and status == 401:
        return f"is gated, and no token was sent: accept its license on {page}, then {_LOG_IN}"
    if isinstance(error, GatedRepoError):
        return (
            f"is gated, and the account of your token has no access: ask for it on {page} (a fine-grained "
            "token needs the permission to read public gated repositories besides)"
        )
    if isinstance(error, DisabledRepoError):
        return f"has been disabled on the hub: see {page}, or name another source"
    if isinstance(error, RevisionNotFoundError):
        return f"is not there: the hub has no such revision: give a commit, branch or tag of {page}"
    if status == 401 and "Invalid credentials" in error.response.headers.get("X-Error-Message", ""):
        return f"was refused because the token that was sent is not valid (or has expired): {_LOG_IN}"
    if isinstance(error, EntryNotFoundError):
        return f"lacks a file that the hub lists: {one_line(error)}: {_AGAIN}"
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return (
            "is not there: the hub has no such repository, or it is private (the answer is the same): "
            f"check the spelling, or {_LOG_IN}"
        )
    if status == 403:
        return "was refused: your token does not permit to read it: give it that permission on the hub"
    if is_unanswered(error):
        return f"could not be fetched: {why_unanswered(error)}: wait, then {_AGAIN}"
    return f"could not be fetched: {one_line(error)}"


def _about_the_disk(error: OSError, at: str) -> HpcgeomError | None:
    cache = constants.HF_HUB_CACHE
    if error.errno in _FULL:
        return ResourceError(
            f"no space is left in {cache} to fetch model {at} ({error.strerror}): free some, or set HF_HOME "
            f"to a folder on another disk, then {_AGAIN}"
        )
    if error.errno in _NOT_WRITABLE:
        return InputError(
            f"model {at} could not be fetched: {error.filename or cache} cannot be written "
            f"({error.strerror}): set HF_HOME to a folder of your own"
        )
    return None
