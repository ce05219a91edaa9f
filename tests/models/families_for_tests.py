"""Tiny models of every family with weights far from any default, and what their tests share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from hpcgeom.models import ModelRequest, Reading, Replicate, TokenBatch
from hpcgeom.models.attention import NAME

N_LAYERS, WIDTH, N_HEADS, N_IDS = 3, 32, 4, 40
TEXT = {
    "vocab_size": N_IDS,
    "hidden_size": WIDTH,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
}
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": N_LAYERS, "num_attention_heads": N_HEADS,
         "intermediate_size": 48}  # fmt: skip
DECODER = {**TEXT, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 24}
GPT = {
    "vocab_size": N_IDS,
    "n_embd": WIDTH,
    "n_layer": N_LAYERS,
    "n_head": N_HEADS,
    "n_inner": 48,
    "n_positions": 24,
}
EPS = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-7}
EXACT = ("tokens", "first", "last", "token:1", "token:-3", "max")
ROUNDED = ("mean", "mean_all", "std")


@dataclass(frozen=True)
class Kind:
    """One architecture of transformers: which family reads it, its classes and a tiny configuration."""

    family: str
    base: Any
    with_head: Any
    config: Any
    settings: dict[str, Any]
    prefix: str
    is_causal: bool
    n_kv_heads: int = N_HEADS

    def make_config(self, **changes: Any) -> Any:
        return self.config(**{**self.settings, **changes})


KINDS = {
    "bert": Kind("bert", hf.BertModel, hf.BertForMaskedLM, hf.BertConfig,
                 {**TEXT, "intermediate_size": 48, "max_position_embeddings": 24}, "bert", False),
    "esm2": Kind("esm2", hf.EsmModel, hf.EsmForMaskedLM, hf.EsmConfig,
                 {**TEXT, "intermediate_size": 48, "position_embedding_type": "rotary", "token_dropout": True,
                  "mask_token_id": 4, "pad_token_id": 0, "emb_layer_norm_before": False,
                  "layer_norm_eps": 1e-5, "max_position_embeddings": 24}, "esm", False),
    "gpt2": Kind("gpt2", hf.GPT2Model, hf.GPT2LMHeadModel, hf.GPT2Config, GPT, "transformer", True),
    "igpt": Kind("igpt", hf.ImageGPTModel, hf.ImageGPTForCausalImageModeling, hf.ImageGPTConfig, GPT,
                 "transformer", True),
    "llama": Kind("llama", hf.LlamaModel, hf.LlamaForCausalLM, hf.LlamaConfig,
                  {**DECODER, "attention_bias": True, "mlp_bias": True}, "model", True, 2),
    "mistral": Kind("llama", hf.MistralModel, hf.MistralForCausalLM, hf.MistralConfig,
                    {**DECODER, "head_dim": 12, "sliding_window": 5}, "model", True, 2),
    "vit": Kind("vit", hf.ViTModel, hf.ViTForImageClassification, hf.ViTConfig,
                {**SIZES, "image_size": 12, "patch_size": 4, "num_labels": 7}, "vit", False),
}  # fmt: skip


def unusual(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Give every parameter values that show when another one stands in its place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_scale = parameter.dim() == 1 and name.endswith("weight")
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if is_scale else 0.35 * noise)
    return model.eval()


def save(kind: str, folder: Path, *, head: bool = True, seed: int = 3, **changes: Any) -> Path:
    """A checkpoint with its head or, with the same numbers, without."""
    entry = KINDS[kind]
    model = unusual(entry.with_head(entry.make_config(**changes)), seed)
    saved = model
    if not head:
        saved = unusual(entry.base(entry.make_config(**changes)), seed)
        saved.load_state_dict(getattr(model, entry.prefix).state_dict(), strict=False)
    saved.save_pretrained(folder)
    return folder


def request(kind: str, folder: Path | None, *readings: Reading, **more: Any) -> ModelRequest:
    readings = readings or (Reading("resid", ("tokens",)),)
    dtype = more.pop("dtype", "float32")
    return ModelRequest("tiny", KINDS[kind].family, folder, dtype, readings, **more)


def open_model(kind: str, folder: Path | None, *readings: Reading, **more: Any) -> Any:
    return Replicate().open_model(request(kind, folder, *readings, **more))


def load(kind: str, folder: Path, *, head: bool = False, attention: str = NAME, dtype=torch.float32) -> Any:
    """transformers' own model of a folder."""
    how = "eager" if kind == "igpt" else attention
    entry = KINDS[kind]
    model = (entry.with_head if head else entry.base).from_pretrained(
        folder, dtype=dtype, attn_implementation=how
    )
    for parameter in model.parameters():  # the file's mapping is not aligned, which changes last bits
        parameter.data = parameter.data.clone()
    return model.eval()


def rewritten(folder: Path, target: Path, change: Any = None, **config: Any) -> Path:
    """A copy of a checkpoint with `change` done to its tensors and settings of its config.json changed."""
    rewrite_config(folder, target, **config)
    tensors = load_file(folder / "model.safetensors")
    if change is not None:
        tensors = change(tensors) or tensors
    save_file(tensors, target / "model.safetensors")
    return target


def rewrite_config(folder: Path, target: Path, **config: Any) -> None:
    """A new folder with a config.json in which some settings differ."""
    target.mkdir()
    settings = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**settings, **config}))


def images(n_rows: int, seed: int = 0) -> TokenBatch:
    """Random images for the tiny ViT: a class token, which is special, and nine patches."""
    pixels = np.random.default_rng(seed).standard_normal((n_rows, 3, 12, 12)).astype(np.float32)
    special = np.zeros((n_rows, 10), bool)
    special[:, 0] = True
    return TokenBatch(np.zeros((n_rows, 10), np.int64), np.ones((n_rows, 10), np.int64), special, pixels)


def inputs_of(kind: str, batch: TokenBatch) -> dict[str, torch.Tensor]:
    """What transformers' forward is called with."""
    if kind == "vit":
        assert batch.pixel_values is not None
        return {"pixel_values": torch.from_numpy(batch.pixel_values)}
    found = {name: torch.from_numpy(getattr(batch, name)) for name in ("input_ids", "attention_mask")}
    return found if kind == "esm2" else {**found, "use_cache": False}


def visible(batch: TokenBatch, *, is_causal: bool, window: int | None = None) -> torch.Tensor:
    """bool (B, T, T): whether a query (second axis) sees a key (third)."""
    n_tokens = batch.input_ids.shape[1]
    query, key = np.arange(n_tokens)[:, None], np.arange(n_tokens)[None, :]
    seen = np.broadcast_to(batch.attention_mask[:, None, :] == 1, (len(batch.input_ids), n_tokens, n_tokens))
    if is_causal:
        seen = seen & (key <= query)
    if window is not None:
        seen = seen & (query - key < window)
    return torch.from_numpy(seen.copy())


def rotated(x_BHTd: torch.Tensor, theta: float = 10000.0) -> torch.Tensor:
    """Rotary positions (Su et al. 2021) with feature i paired with i + d/2, in float64."""
    n_tokens, size = x_BHTd.shape[-2:]
    frequency = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(n_tokens, dtype=torch.float64)[:, None] * frequency
    first, second = x_BHTd[..., : size // 2], x_BHTd[..., size // 2 :]
    return torch.cat(
        [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1
    )


def attended(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    seen: torch.Tensor,
    *,
    rotary: bool = False,
    n_kv: int = N_HEADS,
) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v of all heads side by side (Vaswani et al. 2017), in float64."""
    q, k, v = (
        x.double().unflatten(-1, (n, -1)).transpose(1, 2) for x, n in ((q, N_HEADS), (k, n_kv), (v, n_kv))
    )
    if rotary:
        q, k = rotated(q), rotated(k)
    k, v = (x.repeat_interleave(N_HEADS // n_kv, dim=1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
    return (weights @ v).transpose(1, 2).flatten(2)


def check_sites(
    model: Any, expected: dict[str, list[torch.Tensor]], batch: TokenBatch, pool: Any, dtype: Any
) -> None:
    """All sites, layers and poolings of `model` against tensors (B, T, D); `z` up to rounding."""
    assert set(expected) == set(model.skeleton.layout.site_names)
    found = model.extract(batch)
    assert len(found) == len(expected) * len((*EXACT, *ROUNDED))
    for (site, pooling), values in found.items():
        assert len(values) == len(expected[site])
        for layer, (value, hidden) in enumerate(zip(values, expected[site], strict=True)):
            by_hand = pool(hidden.float().numpy(), batch, pooling)
            scale = np.abs(by_hand).max()
            where = f"{site}, place {layer}, {pooling}"
            if site == "z":
                tolerance = (1e-5 if dtype == torch.float32 else 4 * EPS[dtype]) * scale
            else:
                tolerance = (
                    0 if pooling in EXACT else 8 * EPS[torch.float32] * np.abs(hidden.float().numpy()).max()
                )
            np.testing.assert_allclose(value, by_hand, rtol=0, atol=tolerance, err_msg=where)


def chain_by_hand(blocks: Any, h: torch.Tensor, step: Any, final_norm: Any) -> dict[str, list[torch.Tensor]]:
    """All sites of pre-norm blocks.

    `step` gives the sites of one block and what the block's own forward gives for `h`.
    """
    found: dict[str, list[torch.Tensor]] = {"resid": [h]}
    for block in blocks:
        sites, after = step(block, h)
        assert torch.equal(sites["resid_mid"], h + sites["attn_out"])
        assert torch.equal(sites["resid_mid"] + sites["mlp_out"], after)
        for site, value in sites.items():
            found.setdefault(site, []).append(value)
        h = after
        found["resid"].append(h)
    found["ln_1"].append(final_norm(h))
    return {**found, "hidden_states": [*found["resid"][:-1], final_norm(h)]}


def everything(names: Any) -> tuple[Reading, ...]:
    """All sites with all poolings at all layers."""
    return tuple(Reading(site, (*EXACT, *ROUNDED)) for site in names)


class _Mixer(torch.nn.Module):
    """A block of a user's whose attention weights are the output of a module."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.mix, self.unused = (
            torch.nn.Softmax(dim=-1),
            torch.nn.Linear(8, 8),
            torch.nn.Identity(),
        )

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        heads = h.unflatten(-1, (2, 4)).transpose(1, 2)
        weights = self.weights(heads @ heads.transpose(-1, -2))
        return h + self.mix((weights @ heads).transpose(1, 2).flatten(2))


class _WithMaps(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = torch.nn.Embedding(N_IDS, 8), torch.nn.ModuleList([_Mixer(), _Mixer()])
        self.norm, self.head = torch.nn.LayerNorm(8), torch.nn.Linear(8, N_IDS)

    def run(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        h, maps = self.embed(input_ids), []
        for block in self.blocks:
            heads = h.unflatten(-1, (2, 4)).transpose(1, 2)
            maps.append((heads @ heads.transpose(-1, -2)).softmax(-1))
            h = block(h)
        return self.head(self.norm(h)), maps

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.run(input_ids)[0]


def make_with_maps() -> torch.nn.Module:
    return _WithMaps()
