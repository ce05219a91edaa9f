"""Tiny models with tokenizers that cut differently, and texts of different lengths; nothing is downloaded."""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import xarray as xr
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as algorithms
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

import hpcgeom as hg

N = 270
"""Texts; with units of 256 rows the second unit is not full."""
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "cat", "dog", "sees", "the", "is", "on"]
LETTERS = ["<pad>", *sorted(set("".join(WORDS[4:]) + " "))]
RUN = {
    "name": "tokens",
    "dataset": "{kind: text, path: texts.jsonl, max_length: 16, too_long: truncate, "
    "labels: {kind: {column: kind}}}",
    "representations": "{sites: [resid], pooling: [mean, tokens]}",
    "extract": "{tokens_per_batch: 64, unit_rows: 256}",
    "neighbors": "{k: 8}",
    "geometry": "{estimators: [twonn_mle], overlap_k: [1, 8], data_fractions: [1.0, 0.5], cka: true, "
    "token_clouds: 4, local_dimension_k: 5}",
}


def texts(n: int = N) -> list[str]:
    rng = np.random.default_rng(3)
    return [" ".join(rng.choice(WORDS[4:], rng.integers(2, 7))) for _ in range(n)]


def kinds(n: int = N) -> list[str]:
    return ["xyz"[row % 3] for row in range(n)]


def ids(n: int = N) -> list[str]:
    return [f"t{row}" for row in range(n)]


def save_words(folder: Path) -> None:
    """A tokenizer of whole words between [CLS] and [SEP]."""
    raw = Tokenizer(algorithms.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(folder)


def save_letters(folder: Path) -> None:
    """A tokenizer of letters, without special tokens at the ends."""
    vocabulary = {letter: i for i, letter in enumerate(LETTERS)}
    raw = Tokenizer(algorithms.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    raw.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>").save_pretrained(folder)


def save_bert(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, initializer_range=0.5, **sizes)
    BertModel(config).save_pretrained(folder)
    save_words(folder)
    return folder


def save_gpt2(folder: Path) -> Path:
    torch.manual_seed(5)
    config = GPT2Config(
        vocab_size=len(LETTERS), n_embd=12, n_layer=1, n_head=2, n_positions=24, initializer_range=0.5
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    save_letters(folder)
    return folder


def write_run(folder: Path, models: str, n: int = N, **changes: str) -> Path:
    """Write texts and a manifest of `RUN` with some sections exchanged."""
    folder.mkdir(exist_ok=True)
    with (folder / "texts.jsonl").open("w") as file:
        for sample, text, kind in zip(ids(n), texts(n), kinds(n), strict=True):
            file.write(json.dumps({"id": sample, "text": text, "kind": kind}) + "\n")
    path = folder / "tokens.yaml"
    sections = {**RUN, "models": models, **changes}
    path.write_text("".join(f"{key}: {value}\n" for key, value in sections.items()))
    return path


def points(root: Path, model: str) -> xr.Dataset:
    """All tokens of a model, the parts put together as the docstring says."""
    parts = hg.open_activations(root, model)["resid/tokens"].children
    datasets = [parts[name].dataset for name in sorted(parts)]
    options = {"data_vars": "minimal", "coords": "minimal", "compat": "override", "join": "override"}
    return xr.concat(datasets, "point", **options).load()


def hidden_states(folder: Path, text: str, max_length: int = 16) -> np.ndarray:
    """What transformers gives for one text alone: (layers, tokens, features), special tokens included."""
    encoded = AutoTokenizer.from_pretrained(folder)(
        text, truncation=True, max_length=max_length, return_tensors="pt", return_token_type_ids=False
    )
    with torch.inference_mode():
        found = AutoModel.from_pretrained(folder).eval()(**encoded, output_hidden_states=True)
    return torch.cat(found.hidden_states).numpy()
