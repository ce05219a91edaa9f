"""The converter of Image GPT on checkpoints that TensorFlow itself has written."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from igpt_variables import TINY, make_variables
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "convert_igpt.py"
WRITER = """
import sys
import numpy as np
import tensorflow as tf

values = dict(np.load(sys.argv[1]))
v1 = tf.compat.v1
v1.disable_eager_execution()
with tf.Graph().as_default():
    variables = []
    for i, (name, value) in enumerate(values.items()):
        with tf.device(f"/cpu:{i % 3}"):  # one file for each device, as of the published checkpoints
            variables.append(v1.get_variable(name, initializer=value))
    v1.train.get_or_create_global_step()
    optimizer = v1.train.AdamOptimizer()
    optimizer.minimize(tf.add_n([tf.reduce_sum(variable**2) for variable in variables]))
    with v1.Session(config=v1.ConfigProto(device_count={"CPU": 3})) as session:
        session.run(v1.global_variables_initializer())
        v1.train.Saver(sharded=True).save(session, sys.argv[2], global_step=1000000)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python that has TensorFlow: this one, or one of its own with the versions that were tested."""
    if importlib.util.find_spec("tensorflow") is not None:
        yield sys.executable
        return
    folder = tmp_path_factory.mktemp("tensorflow")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = ["tensorflow-cpu>=2.18", f"numpy=={np.__version__}", "safetensors"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", *wanted], check=True)
    yield folder / "bin" / "python"
    shutil.rmtree(folder)


def call(python, *arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=False, env=environment)


def write_checkpoint(python, folder, variables):
    np.savez(folder / "variables.npz", **variables)
    done = call(python, "-c", WRITER, folder / "variables.npz", folder / "model.ckpt")
    assert done.returncode == 0, done.stderr
    np.save(
        folder / "kmeans_centers.npy", np.linspace(-1, 1, 3 * TINY.n_vocab).reshape(-1, 3).astype(np.float32)
    )
    return folder / "model.ckpt-1000000"


def convert(python, checkpoint, *more):
    folder = checkpoint.parent
    colors = folder / "kmeans_centers.npy"
    return call(python, TOOL, checkpoint, "--clusters", colors, "--out", folder / "out", *more)


@pytest.mark.parametrize("is_bert", [False, True])
def test_all_numbers_of_a_tensorflow_checkpoint_arrive_bit_for_bit(python, tmp_path, is_bert):
    variables = make_variables(has_sos=not is_bert)
    checkpoint = write_checkpoint(python, tmp_path, variables)
    assert len(list(tmp_path.glob("model.ckpt-1000000.data-*"))) > 2
    done = convert(python, checkpoint, "--n-head", "3", *(["--bert"] if is_bert else []))
    assert (done.returncode, done.stderr) == (0, "")
    n_optimizer = 2 * len(variables) + 3  # two moments of each, their two powers, and the step
    assert f"left out: {n_optimizer} variables of the optimizer, such as beta1_power\n" in done.stdout
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    sos = np.zeros(TINY.n_embd, np.float32) if is_bert else variables["model/sos"]
    expected = {
        "transformer.wte.weight": np.vstack([variables["model/wte"], sos]),
        "transformer.wpe.weight": variables["model/wpe"],
        "transformer.ln_f.weight": variables["model/ln_f/g"],
        "lm_head.weight": variables["model/wtet"],
    }
    width = TINY.n_embd
    for layer in range(TINY.n_layer):
        ours, theirs = f"transformer.h.{layer}", f"model/h{layer}"
        parts = [np.einsum("hef->fhe", variables[f"{theirs}/attn/{part}_proj"]) for part in "qkv"]
        matrices = {
            "attn.c_attn": np.hstack([part.reshape(width, width) for part in parts]),
            "attn.c_proj": np.vstack(list(variables[f"{theirs}/attn/c_proj"])),
            "mlp.c_fc": variables[f"{theirs}/mlp/c_fc/w"],
            "mlp.c_proj": variables[f"{theirs}/mlp/c_proj/w"],
        }
        for name, matrix in matrices.items():
            expected[f"{ours}.{name}.weight"] = matrix
            expected[f"{ours}.{name}.bias"] = np.zeros(matrix.shape[1], np.float32)
        for norm in ("ln_1", "ln_2"):
            expected[f"{ours}.{norm}.weight"] = variables[f"{theirs}/{norm}/g"]
    assert sorted(tensors) == sorted(expected)
    for name, values in expected.items():
        assert tensors[name].dtype == np.float32
        np.testing.assert_array_equal(tensors[name].view(np.uint32), values.view(np.uint32), err_msg=name)


def test_cut_changed_and_lost_files_are_named(python, tmp_path):
    variables = make_variables()
    checkpoint = write_checkpoint(python, tmp_path, variables)
    values = variables["model/h0/mlp/c_fc/w"].tobytes()
    data = next(file for file in sorted(tmp_path.glob("*.data-*")) if values in file.read_bytes())
    whole = data.read_bytes()
    place = whole.index(values) + len(values) // 2
    for spoiled in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
        data.write_bytes(spoiled)
        done = convert(python, checkpoint)
        assert done.returncode == 2
        assert re.search(r"model.ckpt-1000000: variable model/\S+ cannot be read \(", done.stderr)
        assert done.stderr.endswith("a file was probably cut off in a copy: fetch it again\n")
    data.unlink()
    assert f" files: {data.name}: fetch them" in convert(python, checkpoint).stderr
    data.write_bytes(whole)
    os.truncate(tmp_path / "model.ckpt-1000000.index", 50)
    assert "model.ckpt-1000000: its index cannot be read" in convert(python, checkpoint).stderr
    assert not (tmp_path / "out").exists()
