"""Fetching from a hub on this machine: what is asked for, what arrives, and what is refused before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import huggingface_hub
import numpy as np
import pytest
from hub_server import MODEL, SILENT, WEIGHTS, hub_of_the_client
from huggingface_hub import constants
from safetensors.numpy import save

from hpcgeom.errors import InputError, ResourceError
from hpcgeom.models import fetch

CONFIG = MODEL["config.json"]
WHOLE = {
    **MODEL,
    "README.md": b"# read",
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"raise SystemExit\n",
    "tf_model.h5": b"h5",
    "flax_model.msgpack": b"flax",
    "onnx/config.json": b"{}",
    "onnx/model.safetensors": WEIGHTS,
}
TAKEN = sorted(MODEL)
INDEX = "model.safetensors.index.json"
SHARDS = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
SHARDED = {
    "config.json": CONFIG,
    SHARDS[0]: save({"a": np.ones(3, np.float32)}),
    SHARDS[1]: save({"b": np.ones(4, np.float32)}),
    INDEX: json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}).encode(),
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_of_the_client(tmp_path, monkeypatch) as server:
        yield server


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_safetensors_json_and_text_at_the_top_are_fetched_and_nothing_else(hub):
    commit = hub.add("me/mine", WHOLE)
    folder, found = fetch("me/mine", None)
    assert (found, folder.name) == (commit, commit)
    assert names_in(folder) == TAKEN
    assert hub.downloads() == TAKEN
    assert all((folder / name).read_bytes() == MODEL[name] for name in TAKEN)


def test_without_weights_only_configuration_and_tokenizer_are_fetched(hub):
    commit = hub.add("me/mine", {**WHOLE, "model.safetensors": b"not looked at"})
    folder, found = fetch("me/mine", None, with_weights=False)
    assert found == commit
    assert names_in(folder) == [name for name in TAKEN if name != "model.safetensors"]


def test_the_two_sentencepiece_vocabularies_are_fetched_and_no_other_model_file(hub):
    other = {"tokenizer.model": b"proto", "spiece.model": b"other proto", "word2vec.model": b"pickle"}
    hub.add("me/mine", {**WHOLE, **other})
    fetch("me/mine", None)
    assert hub.downloads() == sorted([*TAKEN, "tokenizer.model", "spiece.model"])


def test_of_a_sharded_model_the_shards_of_its_index_are_fetched_and_no_second_copy(hub):
    hub.add("me/mine", {**SHARDED, "consolidated.safetensors": WEIGHTS})
    folder, _ = fetch("me/mine", None)
    assert names_in(folder) == sorted(SHARDED)
    assert hub.downloads() == sorted(SHARDED)


def test_a_single_file_is_fetched_rather_than_shards_of_the_same_model(hub):
    hub.add("me/mine", {**SHARDED, "model.safetensors": WEIGHTS})
    fetch("me/mine", None)
    assert hub.downloads() == ["config.json", "model.safetensors", INDEX]


def test_one_safetensors_file_of_any_name_will_do(hub):
    hub.add("me/mine", {"config.json": CONFIG, "esm[1].safetensors": WEIGHTS})
    folder, _ = fetch("me/mine", None)
    assert names_in(folder) == ["config.json", "esm[1].safetensors"]


def test_branch_tag_pull_request_and_commit_are_resolved(hub):
    first = hub.add("me/mine", MODEL)
    second = hub.add("me/mine", {**MODEL, "vocab.txt": b"c\n"}, "refs/pr/3")
    hub.repositories["me/mine"].refs["v1"] = first
    revisions = {None: first, "main": first, "v1": first, "refs/pr/3": second, second: second}
    assert {revision: fetch("me/mine", revision)[1] for revision in revisions} == revisions


def test_a_module_of_ones_own_needs_no_configuration_and_a_tokenizer_needs_no_weights(hub):
    hub.add("me/weights", {"mine.safetensors": WEIGHTS})
    hub.add("me/tokenizer", {"tokenizer.json": b"{}", "word2vec.bin": b"pickle"})
    folder, _ = fetch("me/weights", None, needs_config=False)
    assert names_in(folder) == ["mine.safetensors"]
    folder, _ = fetch("me/tokenizer", None, with_weights=False, needs_config=False)
    assert names_in(folder) == ["tokenizer.json"]


def config_with(**changes):
    return {"config.json": json.dumps(changes).encode()}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"config.json": CONFIG, "pytorch_model.bin": b"p"},
            (
                r"'me/mine' has its weights only as pytorch_model.bin; only safetensors are read, because a "
                r"pickle .*me/mine/discussions has a pull request .*revision: refs/pr/.* with save_pretrained"
            ),
        ),
        ({"config.json": CONFIG}, r"has no weights; only safetensors are read"),
        (
            {"config.json": CONFIG, "a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS},
            r"holds 2 safetensors files \(a.safetensors, b.safetensors\) and no model.safetensors.index.json",
        ),
        (
            {name: SHARDED[name] for name in ("config.json", INDEX, SHARDS[0])},
            rf"its repository lacks 1 of 2 shards named in {INDEX}: {SHARDS[1]}: take another",
        ),
        ({**SHARDED, INDEX: b"[]"}, r"expected a JSON object, found list: fetch it again"),
        ({**SHARDED, INDEX: b"{}"}, r"is no.* of shards: expected JSON with `weight_map`: .*: fetch it"),
        (
            {"model.safetensors": WEIGHTS, "sub/config.json": CONFIG},
            r"has no config.json at the top of its repository: name the repository of the model itself",
        ),
        (
            {"adapter_model.safetensors": WEIGHTS, "adapter_config.json": b"{}"},
            r"has no config.json .*: it is an adapter: merge it into its base model",
        ),
        (
            {**MODEL, **config_with(model_type="unheard", auto_map={"AutoModel": "modeling.New"})},
            (
                r"has the architecture 'unheard', which is code inside its repository \(auto_map .* never "
                r"run, and there is no trust_remote_code.*family: module"
            ),
        ),
        ({**MODEL, **config_with(auto_map={})}, r"has the architecture 'None', which is code inside"),
        ({**MODEL, "config.json": b"<html>"}, r"config.json is not JSON"),
    ],
)
def test_what_is_unfit_is_refused_before_weights_are_downloaded(hub, files, message):
    hub.add("me/mine", files)
    with pytest.raises(InputError, match=message):
        fetch("me/mine", None)
    assert set(hub.downloads()) <= {"config.json", INDEX}


def test_code_in_the_repository_is_no_hindrance_where_the_architecture_is_known(hub):
    hub.add("me/mine", {**MODEL, **config_with(model_type="bert", auto_map={"AutoModel": "modeling.New"})})
    assert names_in(fetch("me/mine", None)[0]) == TAKEN


def test_a_repository_without_any_file_of_use_is_refused(hub):
    hub.add("me/mine", {"model.onnx": b"x"})
    with pytest.raises(InputError, match=r"no configuration and no tokenizer .*: expected some of \*\.json"):
        fetch("me/mine", None, with_weights=False, needs_config=False)


@pytest.mark.parametrize("n_free", [len(WEIGHTS), 10**9])
def test_a_disk_that_is_too_small_is_said_before_the_download(hub, monkeypatch, n_free):
    hub.add("me/mine", MODEL)
    monkeypatch.setattr("hpcgeom.models.hub_files.shutil.disk_usage", lambda _: os_usage(n_free))
    if n_free > len(WEIGHTS):
        fetch("me/mine", None)
        return
    with pytest.raises(ResourceError, match=r"needs 0.00 GB in .*cache, which has 0.00 GB left: free some"):
        fetch("me/mine", None)
    assert hub.downloads() == ["config.json"]


def os_usage(n_free):
    return type("Usage", (), {"free": n_free})


def test_bytes_that_the_cache_has_need_no_room_again(hub, monkeypatch):
    hub.add("me/mine", MODEL)
    fetch("me/mine", None)
    hub.add("me/mine", {**MODEL, "vocab.txt": b"c\n"})
    monkeypatch.setattr("hpcgeom.models.hub_files.shutil.disk_usage", lambda _: os_usage(2))
    fetch("me/mine", None)
    assert hub.downloads().count("model.safetensors") == 1


def test_a_mirror_that_tells_no_sizes_will_do(hub):
    hub.without_sizes = True
    hub.add("me/mine", MODEL)
    assert names_in(fetch("me/mine", None)[0]) == TAKEN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WEIGHTS[:-1], r"model.safetensors \(\d+ bytes\) is not a whole safetensors file"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            r"model.safetensors is a git-lfs pointer, not weights",
        ),
    ],
)
def test_what_is_damaged_is_named_with_what_to_delete_and_then_fetched_anew(hub, content, message):
    hub.add("me/mine", MODEL)
    folder, commit = fetch("me/mine", None)
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"damaged in the cache: .*{message}.* delete {blob} and run"
    ) as caught:
        fetch("me/mine", commit)
    assert "\n" not in str(caught.value)
    blob.unlink()
    assert (fetch("me/mine", commit)[0] / "model.safetensors").read_bytes() == WEIGHTS


def test_a_tensor_that_the_index_names_and_no_shard_has_is_an_error(hub):
    index = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}}
    hub.add("me/mine", {**SHARDED, INDEX: json.dumps(index).encode()})
    with pytest.raises(InputError, match=rf"{SHARDS[1]} lacks tensor 'c' that {INDEX} puts there"):
        fetch("me/mine", None)


def test_a_cache_that_is_not_whole_is_made_whole(hub):
    hub.add("me/mine", SHARDED)
    folder, _ = fetch("me/mine", None)
    (folder / SHARDS[1]).resolve().unlink()
    (folder / SHARDS[1]).unlink()
    assert names_in(fetch("me/mine", None)[0]) == sorted(SHARDED)
    assert hub.downloads() == sorted([*SHARDED, SHARDS[1]])


def test_a_branch_that_moves_while_it_is_fetched_is_an_error(hub, monkeypatch):
    first = hub.add("me/mine", MODEL)
    download = huggingface_hub.hf_hub_download

    def moving(*args, **options):
        moved.append(hub.add("me/mine", {**MODEL, "vocab.txt": b"c\n"}))
        return download(*args, **options)

    moved: list[str] = []
    monkeypatch.setattr("hpcgeom.models.hub.hf_hub_download", moving)
    with pytest.raises(
        InputError, match=rf"was commit {first} .* just been changed, .*: run the same"
    ) as caught:
        fetch("me/mine", None)
    assert moved[0] in str(caught.value)


def fetch_elsewhere(tmp_path, options, **settings):
    """Fetch in a process of its own, which knows the hub from its environment."""
    script = f"from hpcgeom.models import fetch; print(*fetch('me/mine', None{options}))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1,localhost", **settings}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_the_hub_is_where_HF_ENDPOINT_says_and_a_log_has_no_progress_bars(hub, tmp_path):  # noqa: N802
    commit = hub.add("me/mine", WHOLE)
    run = fetch_elsewhere(tmp_path, "", HF_ENDPOINT=hub.address)
    folder = tmp_path / "home" / "hub" / "models--me--mine" / "snapshots" / commit
    assert (run.stdout, run.stderr) == (f"{folder} {commit}\n", "")
    assert names_in(folder) == TAKEN
    again = fetch_elsewhere(tmp_path, ", with_weights=False, needs_config=False", HF_HUB_OFFLINE="1")
    assert (again.stdout, again.stderr) == (run.stdout, "")


def test_progress_bars_are_as_before_when_all_is_fetched_and_a_setting_of_the_user_stands(
    hub, monkeypatch, capfd
):
    hub.add("me/mine", MODEL)
    fetch("me/mine", None)
    assert not huggingface_hub.utils.are_progress_bars_disabled()
    assert "Fetching" not in capfd.readouterr().err
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", False)
    fetch("me/mine", None)
    assert "Fetching" in capfd.readouterr().err


def test_a_silent_hub_is_not_waited_for(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    hub.add("me/mine", MODEL)
    hub.failures = [("/api/models", SILENT, {})]
    began = time.monotonic()
    with pytest.raises(InputError, match=r"is not in .*cache, and the hub cannot be reached \(.*timed out"):
        fetch("me/mine", None)
    assert time.monotonic() - began < 3
