"""Fetching from the hub, with the hub's answers made up: nothing goes over the network."""

from __future__ import annotations

from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors

from hpcgeom.errors import InputError
from hpcgeom.models import fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def answer(monkeypatch):
    """Let snapshot_download raise an error, or return a path and remember its arguments."""

    def set_answer(result):
        asked = {}

        def snapshot_download(source, **options):
            asked.update(options, source=source)
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return asked

    return set_answer


def response(status):
    return SimpleNamespace(status_code=status, headers={}, request=None)


def test_a_snapshot_gives_its_folder_and_commit(answer, tmp_path):
    asked = answer(str(tmp_path / "snapshots" / COMMIT))
    assert fetch("me/mine", "main") == (tmp_path / "snapshots" / COMMIT, COMMIT)
    assert (asked["source"], asked["revision"]) == ("me/mine", "main")


def test_only_safetensors_json_and_text_at_the_top_are_asked_for(answer, tmp_path):
    asked = answer(str(tmp_path / COMMIT))
    fetch("me/mine", None)
    wanted = [
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "vocab.txt",
    ]
    unwanted = ["pytorch_model.bin", "tokenizer.model", "onnx/config.json", "a.py", "x.h5"]
    taken = huggingface_hub.utils.filter_repo_objects(
        [*wanted, *unwanted], allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(taken) == wanted


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.GatedRepoError("403", response=response(403)),
            r"at revision 'v9' is gated: accept its license",
        ),
        (
            errors.RepositoryNotFoundError("401", response=response(401)),
            r"no such repository, or it is private",
        ),
        (
            errors.RevisionNotFoundError("404", response=response(404)),
            r"at revision 'v9': the hub has no such rev",
        ),
        (errors.HFValidationError("bad name"), r"neither a local folder nor a hub id: bad name"),
        (
            errors.LocalEntryNotFoundError("offline"),
            r"not \(wholly\) in the local cache and the hub cannot be reached",
        ),
        (errors.OfflineModeIsEnabled("offline"), r"the hub cannot be reached: run `hpcgeom prepare`"),
        (errors.HfHubHTTPError("no", response=response(403)), r"fetched: no: access is not granted: log in"),
        (errors.HfHubHTTPError("a\nb", response=response(500)), r"could not be fetched: a b$"),
        (OSError(), r"could not be fetched: OSError$"),
    ],
)
def test_each_refusal_of_the_hub_is_one_clear_sentence(answer, error, message):
    answer(error)
    with pytest.raises(InputError, match=message) as caught:
        fetch("me/mine", "v9")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_commit_is_refused(answer, tmp_path):
    answer(str(tmp_path / "main"))
    with pytest.raises(InputError, match="is not named by a commit"):
        fetch("me/mine", None)


def test_offline_without_a_cache_is_said_so_by_the_real_client(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="hub cannot be reached"):
        fetch("me/mine", None)
