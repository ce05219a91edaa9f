"""ESM-2 models of fair-esm with random weights, saved in the layouts of its checkpoints."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import torch
from esm.data import Alphabet
from esm.model.esm2 import ESM2

ALPHABET = Alphabet.from_architecture("ESM-1b")
TINY = (2, 32, 4)  # layers, width, heads
SMALLEST_RELEASED = (6, 320, 20)


def make_model(sizes=TINY, token_dropout=True) -> ESM2:
    """Every number is random: a tensor in a wrong place shows."""
    torch.manual_seed(7)
    model = ESM2(*sizes, alphabet=ALPHABET, token_dropout=token_dropout).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            noise = torch.randn_like(parameter) * (0.2 if parameter.ndim == 1 else 1.5 * sizes[1] ** -0.5)
            parameter.copy_(1 + noise if is_gain else noise)
        model.embed_tokens.weight[ALPHABET.padding_idx] = 0
    return model


def settings_of(model: ESM2) -> dict:
    return {
        "arch": "esm2",
        "encoder_layers": model.num_layers,
        "encoder_embed_dim": model.embed_dim,
        "encoder_attention_heads": model.attention_heads,
        "token_dropout": model.token_dropout,
        "dropout": 0.0,
        "data": ["/data"],
    }


def state_of(model: ESM2, prefixed=True) -> dict[str, torch.Tensor]:
    """The tensors, with the names of training or of the published model."""
    state = model.state_dict()
    if not prefixed:
        return dict(state)
    return {
        f"encoder.{key}" if key.startswith("lm_head.") else f"encoder.sentence_encoder.{key}": value
        for key, value in state.items()
    }


def save(file: Path, model: ESM2, *, prefixed=True, state=None, settings=None, **how) -> Path:
    """A checkpoint whose settings are a Namespace, unless others are given."""
    cfg = {"model": Namespace(**settings_of(model)) if settings is None else settings}
    torch.save({"cfg": cfg, "model": state_of(model, prefixed) if state is None else state}, file, **how)
    return file
