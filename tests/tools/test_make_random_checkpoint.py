"""The writer of random checkpoints: whole, sharded, the same for a seed, and loaded by the package."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from hpcgeom.errors import InputError
from hpcgeom.models import ModelRequest, Reading, Replicate, TokenBatch

TOOL = Path(__file__).parents[2] / "tools" / "make_random_checkpoint.py"
LLAMA = {
    "model_type": "llama", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3,
    "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32,
    "initializer_range": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_random_checkpoint", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tensors_of(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def test_a_checkpoint_is_sharded_and_can_be_run(tool, tmp_path):
    tool.write_checkpoint("llama", LLAMA, tmp_path, "bfloat16", max_bytes=4000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 2
    assert shards == {file.name for file in tmp_path.glob("*.safetensors")}
    tensors = tensors_of(tmp_path)
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.bfloat16"}
    matrix = tensors["layers.1.mlp.up_proj.weight"].float()
    assert 0.45 < float(matrix.std()) < 0.55
    assert set(tensors["layers.1.input_layernorm.weight"].tolist()) == {1.0}
    request = ModelRequest("l", "llama", tmp_path, "float32", (Reading("resid", ("mean",)),))
    ids = np.arange(8, dtype=np.int64).reshape(2, 4)
    batch = TokenBatch(ids, np.ones_like(ids), np.zeros(ids.shape, bool))
    found = Replicate().open_model(request).extract(batch)["resid", "mean"]
    assert found.shape == (4, 2, 16)
    assert np.isfinite(found).all()


def test_numbers_depend_on_the_seed_and_on_nothing_else(tool, tmp_path):
    tool.write_checkpoint("llama", LLAMA, tmp_path / "a", seed=1)
    tool.write_checkpoint("llama", LLAMA, tmp_path / "b", seed=1, max_bytes=4000)
    tool.write_checkpoint("llama", LLAMA, tmp_path / "c", seed=2)
    a, b, c = (tensors_of(tmp_path / name) for name in "abc")
    assert all(bool((a[name] == b[name]).all()) for name in a)
    name = "layers.0.self_attn.q_proj.weight"
    assert not bool((a[name] == c[name]).any())
    assert not bool((a[name] == a["layers.1.self_attn.q_proj.weight"]).any())


def test_a_finished_folder_is_left_and_an_unfinished_one_written_again(tool, tmp_path):
    tool.write_checkpoint("llama", LLAMA, tmp_path)
    file = tmp_path / "model.safetensors"
    before = file.stat().st_mtime_ns
    tool.write_checkpoint("llama", LLAMA, tmp_path)
    assert file.stat().st_mtime_ns == before
    (tmp_path / "config.json").unlink()
    file.write_bytes(b"half")
    tool.write_checkpoint("llama", LLAMA, tmp_path)
    assert len(tensors_of(tmp_path)) > 20


def test_a_model_of_the_catalog_with_other_settings(tool):
    family, config = tool.config_of("facebook/esm2_t6_8M_UR50D", {"num_hidden_layers": 1})
    assert (family, config["num_hidden_layers"], config["hidden_size"]) == ("esm2", 1, 320)
    with pytest.raises(InputError, match="published without n_head"):
        tool.config_of("igpt-xl", {})
    assert tool.config_of("igpt-xl", {"n_head": 24})[1]["n_head"] == 24


@pytest.mark.slow
def test_the_command_takes_a_config_json(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    command = [
        sys.executable, str(TOOL), str(tmp_path / "config.json"), str(tmp_path / "out"),
        "num_hidden_layers=1", "--dtype", "float16",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{tmp_path / 'out'}: 0.00 GB" in done.stdout
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 1
    assert {str(tensor.dtype) for tensor in tensors_of(tmp_path / "out").values()} == {"torch.float16"}
