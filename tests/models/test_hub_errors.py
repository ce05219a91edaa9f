"""What the hub refuses, what breaks off, and work without it: each in one sentence that says what to do."""

from __future__ import annotations

import errno
import time

import pytest
from hub_server import HALF, MODEL, WEIGHTS, hub_of_the_client
from huggingface_hub import constants

from hpcgeom.errors import InputError, ResourceError
from hpcgeom.models import fetch

BUSY = [("", 503, {})]
PATIENCE = [1, 2, 4, 8, 8]
"""Seconds between the six times that huggingface_hub asks."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one model."""
    with hub_of_the_client(tmp_path, monkeypatch) as server:
        server.add("me/mine", MODEL)
        yield server


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def token(monkeypatch):
    return lambda text: monkeypatch.setenv("HF_TOKEN", text)


@pytest.fixture
def go_offline(monkeypatch):
    """Work as under HF_HUB_OFFLINE=1 from then on."""
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def refused(message, source="me/mine", revision=None, **options):
    with pytest.raises(InputError, match=message) as caught:
        fetch(source, revision, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sent", [None, "good"])
def test_what_is_unknown_looks_like_what_is_private_and_is_asked_for_once(hub, token, waits, sent):
    hub.repositories["me/mine"].private = ("owner",)
    if sent:
        token(sent)
    for source in ("me/nothing", "me/mine"):
        refused(rf"model '{source}' is not there: .* private \(the answer is the same\): check the", source)
    assert (len(hub.asked), waits) == (2, [])


def test_a_gate_without_a_token_asks_for_one(hub, waits):
    hub.repositories["me/mine"].gate = ("owner",)
    refused(
        r"model 'me/mine' is gated, and no token was sent: accept its license on "
        r"https://huggingface.co/me/mine, then log in with `hf auth login` or set HF_TOKEN$"
    )
    assert (hub.n_asked("resolve"), waits) == (1, [])


def test_a_gate_that_a_token_does_not_open_asks_for_access(hub, token, waits):
    hub.repositories["me/mine"].gate = ("owner",)
    token("good")
    refused(
        r"is gated, and the account of your token has no access: ask for it on "
        r"https://huggingface.co/me/mine \(a fine-grained token needs"
    )
    assert (hub.n_asked("resolve"), waits) == (1, [])


def test_a_token_opens_the_gate_and_what_is_in_the_cache_needs_none(hub, token):
    hub.repositories["me/mine"].gate = ("good",)
    token("good")
    commit = fetch("me/mine", None)[1]
    token("")
    assert fetch("me/mine", commit)[1] == commit


def test_a_token_that_is_not_valid_is_said_so(hub, token):
    token("stale")
    refused(r"was refused because the token that was sent is not valid \(or has expired\): log in")


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_a_revision_that_is_not_there_is_said_so(hub, revision):
    refused(
        rf"model 'me/mine' at revision '{revision}' is not there: the hub has no such revision: give a "
        r"commit, branch or tag of https://huggingface.co/me/mine$",
        revision=revision,
    )


def test_what_is_no_hub_id_is_said_so(hub):
    refused(r"model '-a/b' is neither a local folder nor a hub id: .*: correct source", "-a/b")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (
            403,
            {"X-Error-Message": "Access to this resource is disabled."},
            r"has been disabled on the hub: see",
        ),
        (403, {}, r"was refused: your token does not permit to read it: give it that permission"),
        (400, {}, r"model 'me/mine' could not be fetched: Bad request"),
        (
            404,
            {"X-Error-Code": "EntryNotFound"},
            r"lacks a file that the hub lists: 404 .*: run the same comm",
        ),
    ],
)
def test_other_refusals_are_told_as_the_hub_tells_them(hub, waits, status, headers, message):
    hub.failures = [("/api/models", status, headers)]
    refused(message)
    assert (len(hub.asked), waits) == (1, [])


def test_a_busy_hub_is_asked_again_with_growing_pauses(hub, waits):
    hub.failures = BUSY * 4
    assert fetch("me/mine", None)[0].is_dir()
    assert waits == PATIENCE[:3]


def test_a_hub_that_says_how_long_to_wait_is_obeyed(hub, waits):
    hub.failures = [("", 429, {"Retry-After": "30"})] * 2
    fetch("me/mine", None)
    assert waits == [31]


@pytest.mark.parametrize(
    ("status", "words"), [(503, "the hub answers 503"), (429, "the hub answers 429, too many requests")]
)
def test_a_hub_that_stays_busy_is_given_up(hub, waits, status, words):
    hub.failures = [("", status, {})] * 99
    refused(
        rf"model 'me/mine' is not in .*cache, and {words}: run `hpcgeom prepare` where there is internet,"
    )
    assert (waits, len(hub.asked)) == (PATIENCE, 7)


def test_a_hub_that_becomes_busy_midway_is_waited_for_and_then_given_up(hub, waits):
    hub.failures = [("resolve", 503, {})] * 3
    fetch("me/mine", None)
    assert waits == PATIENCE[:2]  # and once without a pause, to see whether the cache must answer
    hub.add("me/other", {**MODEL, "vocab.txt": b"x"})
    hub.failures = [("resolve", 503, {})] * 99
    refused(
        r"'me/other' could not be fetched: the hub answers 503: wait, then run the same command", "me/other"
    )
    assert waits == PATIENCE[:2] + PATIENCE


def test_a_busy_hub_is_replaced_by_the_cache(hub, waits):
    commit = fetch("me/mine", None)[1]
    hub.failures = BUSY * 99
    assert fetch("me/mine", None)[1] == commit


def test_a_download_that_breaks_off_goes_on_and_is_then_given_up(hub, waits):
    hub.failures = [("cdn", HALF, {})] * 2
    assert (fetch("me/mine", None)[0] / "model.safetensors").read_bytes() == WEIGHTS
    assert waits == [1, 1]
    hub.add("me/other", {**MODEL, "model.safetensors": WEIGHTS + b" "})
    hub.failures = [("cdn", HALF, {})] * 99
    refused(
        r"'me/other' could not be fetched: the hub cannot be reached \(http://127.*: run the same command "
        r"again \(what is fetched whole is kept\)",
        "me/other",
    )


def test_bytes_of_another_number_than_the_hub_says_are_not_taken(hub):
    hub.pages = [("cdn", WEIGHTS[:-1])]
    refused(
        r"could not be fetched: Consistency check failed: file should be of size .*: run the same command"
    )


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (b"<html>log in</html>", "Expecting value"),
        (b"[]", "must be a mapping"),
        (b'{"id": "me/mine"}', "it names the commit None"),
        (b'{"id": "me/mine", "sha": "main"}', "it names the commit 'main'"),
    ],
)
def test_what_is_no_hub_is_said_so(hub, page, found):
    hub.pages = [("/api/", page)]
    refused(
        rf"what answers at http://127.0.0.1:\d+ is not a Hugging Face hub \(.*{found}.*\): check HF_ENDPOINT"
    )


def test_files_without_their_commit_are_told_as_huggingface_hub_tells_it(hub):
    hub.pages = [("resolve", b"<html>")]
    refused(r"model 'me/mine' could not be fetched: .*X-Repo-Commit.*: run the same command again")


WITHOUT_NETWORK = r"and the hub cannot be reached \(http://127.0.0.1:9: .*\): "
OFFLINE = r"and HF_HUB_OFFLINE is set: "
THERE = r"run `hpcgeom prepare` where there is internet"
AND_ONLINE = r" and HF_HUB_OFFLINE is not set"
INSTEAD = r", copy the model into a folder that HPCGEOM_MIRROR names, or give a local folder as source$"


def test_without_network_the_cache_answers_and_else_it_is_said_what_to_do(hub, monkeypatch, waits):
    commit = fetch("me/mine", None)[1]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert {fetch("me/mine", revision)[1] for revision in (None, "main", commit)} == {commit}
    refused(rf"model 'me/other' is not in .*cache, {WITHOUT_NETWORK}{THERE}{INSTEAD}", "me/other")
    refused(r"model 'me/mine' at revision 'v2' is not in ", revision="v2")
    assert waits == []


def test_offline_the_cache_answers_and_nothing_is_asked(hub, go_offline):
    commit = fetch("me/mine", None)[1]
    n_asked = len(hub.asked)
    go_offline()
    assert {fetch("me/mine", revision)[1] for revision in (None, "main", commit)} == {commit}
    refused(rf"model 'me/other' is not in .*cache, {OFFLINE}{THERE}{AND_ONLINE}{INSTEAD}", "me/other")
    refused(rf"at revision '{'1' * 40}' is not in ", revision="1" * 40)
    assert len(hub.asked) == n_asked


@pytest.mark.parametrize(
    ("lost", "lack"),
    [
        ("vocab.txt", "is only partly in"),
        ("config.json", "is only partly in"),
        (
            "model.safetensors",
            r"has no whole weights \(.*has no weights: expected model.safetensors or .*\) in",
        ),
    ],
)
def test_offline_a_cache_that_is_not_whole_is_said_so(hub, go_offline, lost, lack):
    folder, commit = fetch("me/mine", None)
    (folder / lost).unlink()
    go_offline()
    refused(rf"{lack} .*cache, {OFFLINE}{THERE}{AND_ONLINE}{INSTEAD}", revision=commit)


def test_offline_a_cache_of_another_tool_without_a_listing_is_looked_at_itself(hub, go_offline, tmp_path):
    folder = tmp_path / "cache" / "models--you--yours" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    go_offline()
    refused(r"lacks its config.json in .*cache, ", "you/yours", "a" * 40)
    assert fetch("you/yours", "a" * 40, needs_config=False) == (folder, "a" * 40)
    (folder / "config.json").write_text('{"auto_map": {}, "model_type": "unheard"}')
    refused(r"architecture 'unheard', which is code inside", "you/yours", "a" * 40)


def test_offline_weights_that_were_not_wanted_before_are_missed(hub, go_offline):
    commit = fetch("me/mine", None, with_weights=False)[1]
    go_offline()
    assert fetch("me/mine", None, with_weights=False)[1] == commit
    refused(r"has no whole weights ")


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            ResourceError,
            r"no space is left in .*cache to fetch model 'me/mine' \(No space .*\): free some, or set HF_H",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ResourceError, r"no space is left in .*quota"),
        (RuntimeError("IO error: No space left on device"), ResourceError, r"no space is left in .*IO error"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/models"),
            InputError,
            r"could not be fetched: /models cannot be written \(Permission denied\): set HF_HOME to",
        ),
        (
            RuntimeError("Data processing error: no route"),
            InputError,
            r"could not be fetched: Data processing error: no route: .*set HF_HUB_DISABLE_XET=1$",
        ),
        (PermissionError("token expired"), InputError, r"could not be fetched: token expired: run the same"),
        (OSError(errno.EIO, "Input/output error"), OSError, "Input/output error"),
        (AssertionError("a fault of ours"), AssertionError, "a fault of ours"),
    ],
)
def test_what_is_wrong_with_the_machine_has_its_own_words(hub, monkeypatch, raised, kind, message):
    def download(*_, **__):
        raise raised

    monkeypatch.setattr("hpcgeom.models.hub.snapshot_download", download)
    with pytest.raises(kind, match=message):
        fetch("me/mine", None)
