"""The converter of Image GPT: names, shapes, numbers and mistakes, without TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import igpt_variables
import numpy as np
import pytest
import torch
from igpt_variables import TINY, make_variables, with_optimizer
from safetensors.numpy import load_file
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling
from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil

from hpcgeom.data import read_clusters
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models import ModelRequest, Reading, Replicate, TokenBatch, igpt_names
from hpcgeom.models.shards import write_shards

TOOL = Path(__file__).parents[2] / "tools" / "convert_igpt.py"
PIXELS = np.random.default_rng(3).integers(0, TINY.n_vocab, TINY.n_ctx)
MILLIONS = {"S": 76, "M": 455, "L": 1362}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("convert_igpt", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clusters(tmp_path):
    values = np.random.default_rng(1).uniform(-1, 1, (TINY.n_vocab, 3)).astype(np.float32)
    np.save(tmp_path / "kmeans_centers.npy", values)
    return tmp_path / "kmeans_centers.npy"


@pytest.fixture
def convert(tool, clusters, tmp_path):
    """Convert a dictionary of variables; the folder, and what was said."""

    def convert(variables, **how):
        checkpoint = tool.Checkpoint(
            Path("model.ckpt-1000000"),
            {name: np.shape(value) for name, value in variables.items()},
            {name: np.asarray(value).dtype.name for name, value in variables.items()},
            variables.__getitem__,
        )
        out = tmp_path / "out"
        return out, tool.convert(checkpoint, clusters, out, **how)

    return convert


@pytest.mark.parametrize("size", ["S", "M", "L"])
@pytest.mark.parametrize("is_bert", [False, True])
def test_every_tensor_of_transformers_is_made_once_of_all_published_variables(size, is_bert):
    sizes = replace(igpt_names.PUBLISHED[size], is_bert=is_bert)
    config = ImageGPTConfig(**igpt_names.config_of(sizes, "float32"))
    with torch.device("meta"):
        state = ImageGPTForCausalImageModeling(config).state_dict()
    tensors, variables = igpt_names.tensors_of(sizes), igpt_names.variables_of(sizes)
    assert {name: made.shape for name, made in tensors.items()} == {
        k: tuple(v.shape) for k, v in state.items()
    }
    used = Counter(name for made in tensors.values() for name in made.sources)
    assert used == dict.fromkeys(variables, 1)
    for made in tensors.values():
        n_values = sum(int(np.prod(variables[name])) for name in made.sources)
        assert n_values in (0, int(np.prod(made.shape)) - (is_bert and made.how == "colors") * sizes.n_embd)
        assert (n_values == 0) == (made.how == "zeros")
    n_values = sum(int(np.prod(shape)) for shape in variables.values())
    assert n_values // 10**6 == MILLIONS[size]


def test_the_published_shapes_are_told_back_as_sizes():
    for sizes in igpt_names.PUBLISHED.values():
        shapes = igpt_names.variables_of(sizes)
        assert igpt_names.sizes_of(shapes, "x", is_bert=False, n_head=None) == sizes


def test_hidden_states_and_logits_are_those_of_the_variables(convert):
    variables = make_variables()
    folder, said = convert(with_optimizer(variables))
    model, info = ImageGPTForCausalImageModeling.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.from_numpy(np.concatenate([[TINY.n_vocab], PIXELS[:-1]]))[None]
    with torch.no_grad():
        out = model.eval()(input_ids=ids, output_hidden_states=True, use_cache=False)
    hidden, logits = igpt_variables.run(variables, PIXELS, TINY.n_layer)
    np.testing.assert_allclose(torch.cat(out.hidden_states), hidden, rtol=0, atol=2e-5)
    np.testing.assert_allclose(out.logits[0], logits, rtol=0, atol=2e-5)
    assert "autoregressive Image GPT: 2 layers, width 12, 3 heads, 7 colors, 16 pixels, float32\n" in said
    assert "21 variables became 24 tensors, of which 8 are biases of zeros\n" in said
    assert "left out: 45 variables of the optimizer, such as beta1_power\n" in said
    assert said.endswith(f"written: {folder}\n")


def test_bert_trained_models_see_all_pixels_and_have_no_start_token(convert):
    variables = make_variables(has_sos=False)
    folder, said = convert(variables, is_bert=True)
    config = json.loads((folder / "config.json").read_text())
    assert config["bert"] is True
    assert config["sos_row"] == "zeros: trained as BERT, without a start token or causal mask"
    assert ImageGPTConfig.from_pretrained(folder).bert is True
    embedding = load_file(folder / "model.safetensors")["transformer.wte.weight"]
    np.testing.assert_array_equal(embedding[:-1], variables["model/wte"])
    np.testing.assert_array_equal(embedding[-1], np.zeros(TINY.n_embd, np.float32))
    assert "BERT-trained" in said
    assert "the last row of the embedding is zeros\n" in said
    request = ModelRequest("tiny", "igpt", folder, "float32", (Reading("hidden_states", ("tokens",)),))
    batch = TokenBatch(PIXELS[None], np.ones((1, 16), np.int64), np.zeros((1, 16), bool))
    points = Replicate().open_model(request).extract(batch)["hidden_states", "tokens"]
    hidden, _ = igpt_variables.run(variables, PIXELS, TINY.n_layer)
    np.testing.assert_allclose(points, hidden, rtol=0, atol=2e-5)


def test_every_number_is_kept_bit_for_bit(convert):
    variables = make_variables()
    folder, _ = convert(variables)
    tensors = load_file(folder / "model.safetensors")
    width, width_of_head = TINY.n_embd, TINY.n_embd // TINY.n_head
    for layer in range(TINY.n_layer):
        qkv = tensors[f"transformer.h.{layer}.attn.c_attn.weight"]
        out = tensors[f"transformer.h.{layer}.attn.c_proj.weight"]
        for head in range(TINY.n_head):
            for e in range(width_of_head):
                column = head * width_of_head + e
                for i, part in enumerate("qkv"):
                    row = variables[f"model/h{layer}/attn/{part}_proj"][head, e]
                    np.testing.assert_array_equal(qkv[:, i * width + column], row)
                np.testing.assert_array_equal(out[column], variables[f"model/h{layer}/attn/c_proj"][head, e])
    np.testing.assert_array_equal(tensors["transformer.wte.weight"][-1], variables["model/sos"])
    np.testing.assert_array_equal(tensors["lm_head.weight"], variables["model/wtet"])
    np.testing.assert_array_equal(tensors["transformer.wpe.weight"], variables["model/wpe"])
    np.testing.assert_array_equal(tensors["transformer.ln_f.weight"], variables["model/ln_f/g"])
    assert not any(tensors[name].any() for name in tensors if name.endswith("bias"))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_are_kept(convert, dtype):
    folder, _ = convert({name: value.astype(dtype) for name, value in make_variables().items()})
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {np.dtype(dtype)}
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == np.dtype(dtype).name


def test_the_colors_and_the_size_of_images_are_written(convert, clusters):
    folder, _ = convert(make_variables())
    colors = read_clusters(folder / "preprocessor_config.json", TINY.n_vocab)
    np.testing.assert_array_equal(colors, np.load(clusters))
    processor = ImageGPTImageProcessorPil.from_pretrained(folder)
    assert (processor.size["height"], processor.size["width"]) == (4, 4)
    image = np.random.default_rng(2).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    scaled = image.reshape(-1, 1, 3) / 127.5 - 1
    nearest = ((scaled - np.load(clusters)[None]) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(
        processor(image, do_resize=False, input_data_format="channels_last")["input_ids"][0], nearest
    )


def test_a_large_model_comes_in_shards(convert, tool, monkeypatch):
    monkeypatch.setattr(tool, "write_shards", lambda *a: write_shards(*a, max_bytes=3000))
    folder, _ = convert(make_variables())
    assert len(list(folder.glob("*.safetensors"))) > 3
    info = ImageGPTForCausalImageModeling.from_pretrained(folder, output_loading_info=True)[1]
    assert not info["missing_keys"]


def test_a_classifier_on_top_is_left_out_by_name(convert):
    clf = {name: np.zeros((10, 12), np.float32) for name in ("model/clf/wclf", "model/clf/wclf/Adam")}
    folder, said = convert({**make_variables(), **clf})
    assert "left out: the classifier (model/clf/wclf)\n" in said
    record = json.loads((folder / "conversion.json").read_text())
    assert record["left_out"] == {"classifier": ["model/clf/wclf"], "optimizer": 1}


@pytest.mark.parametrize(
    ("name", "is_left_out"),
    [
        ("model/wpe/Adam", True),
        ("model/wpe/Adam_1", True),
        ("model/h0/attn/q_proj/adam_m", True),
        ("AdamWeightDecayOptimizer_1/model/wpe", True),
        ("beta2_power_1", True),
        ("global_step", True),
        ("model/Adams", False),
        ("model/h0/ln_1/g", False),
        ("model/global_steps", False),
    ],
)
def test_variables_of_the_optimizer_are_told_by_their_names(name, is_left_out):
    assert igpt_names.split_names([name]) == (([], [name], []) if is_left_out else ([name], [], []))


QUERY, WPE, WTE, WTET = "model/h0/attn/q_proj", "model/wpe", "model/wte", "model/wtet"


@pytest.mark.parametrize(
    ("change", "how", "said"),
    [
        (lambda v: v.pop("model/h1/ln_2/g"), {}, "lacks 1 variables .*: model/h1/ln_2/g: fetch it again$"),
        (lambda v: {"model/h1/ln_3/g": v["model/ln_f/g"]}, {}, "has not: model/h1/ln_3/g: name another"),
        (lambda v: {"model/h1/mlp/c_fc/w": v["model/h1/mlp/c_fc/w"].T}, {},
         r"do not fit .*: model/h1/mlp/c_fc/w has .*, expected \(12, 48\): name another checkpoint$"),
        (lambda v: {"model/h1/attn/v_proj": v["model/h1/attn/v_proj"].reshape(12, 12)}, {},
         r"model/h1/attn/v_proj has shape \(12, 12\), expected \(3, 4, 12\)"),
        (lambda v: {WTET: v[WTET][:5]}, {}, r"wtet has shape \(5, 12\), expected \(7, 12\)"),
        (lambda v: {WPE: v[WPE][:15]}, {}, "has 15 positions .* of a square image: name another"),
        (lambda v: v.pop("model/sos"), {}, "lacks model/sos, the start token: if it .* say so by --bert"),
        (lambda v: {}, {"is_bert": True}, "has model/sos, a start token, so .* leave --bert out"),
        (lambda v: v.pop(QUERY), {}, r"is no checkpoint of Image GPT: .*/q_proj \(missing\): name another"),
        (lambda v: {QUERY: v[QUERY].reshape(12, 12)}, {}, r"Image GPT: .*; found .*/q_proj \(\(12, 12\)\)"),
        (lambda v: {}, {"n_head": 4}, r"has 3 heads, as .*\(3, 4, 12\) says; expected 4: leave --n-head out"),
        (lambda v: {WPE: v[WPE].astype(np.float16)}, {},
         "(?s)type float16, such as model/wpe: .*type float32, such as model/h0/attn/c_proj: expected"),
        (lambda v: {name: value.astype(np.int32) for name, value in v.items()}, {},
         "of type int32, such as model/h0/attn/c_proj: expected one of float32, float16, float64"),
        (lambda v: {WTE: v[WTE][:6], WTET: v[WTET][:6]}, {}, r"of shape \(7, 3\); expected \(6, 3\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(convert, tmp_path, change, how, said):
    variables = make_variables()
    changed = change(variables)
    variables.update(changed if isinstance(changed, dict) else {})
    with pytest.raises(InputError, match=said):
        convert(variables, **how)
    assert not (tmp_path / "out").exists()


def test_heads_that_do_not_divide_the_width_are_refused():
    shapes = igpt_names.variables_of(igpt_names.IgptSizes(1, 32, 3, 16, 7))
    with pytest.raises(ProblemsError, match="has 3 heads, which do not divide its width 32: name another"):
        igpt_names.sizes_of(shapes, "x", is_bert=False, n_head=None)


def test_an_output_that_exists_is_kept(convert, tmp_path):
    (tmp_path / "out").mkdir()
    convert(make_variables())  # an empty folder may be there
    before = (tmp_path / "out" / "config.json").read_bytes()
    with pytest.raises(InputError, match="out exists and is not an empty folder: name another one as --out"):
        convert(make_variables(seed=1))
    assert (tmp_path / "out" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "model.ckpt-7.index does not exist: expected what the files of a checkpoint have in common"),
        (["model.ckpt-8.index"], ": found model.ckpt-8"),
        ([".index"], "model.ckpt-7.data-* are parts of 0 checkpoints"),
        ([".index", ".data-00000-of-00002", ".data-00000-of-00001"], "are parts of 2 checkpoints"),
        ([".index", ".data-00000-of-00003"], "lacks 2 of 3 files: model.ckpt-7.data-00001-of-00003, model"),
    ],
)
@pytest.mark.parametrize("named", ["model.ckpt-7", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00003"])
def test_missing_files_of_a_checkpoint_are_named(tool, tmp_path, capsys, files, said, named):
    for name in files:
        (tmp_path / (f"model.ckpt-7{name}" if name.startswith(".") else name)).touch()
    arguments = [str(tmp_path / named), "--clusters", "c.npy", "--out", str(tmp_path / "out")]
    assert tool.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_missing_tensorflow_is_named(tool, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for suffix in ("index", "data-00000-of-00001"):
        (tmp_path / f"model.ckpt-7.{suffix}").touch()
    assert (
        tool.main([str(tmp_path / "model.ckpt-7"), "--clusters", "c.npy", "--out", str(tmp_path / "out")])
        == 2
    )
    assert "pip install 'hpcgeom[igpt]'" in capsys.readouterr().err
