"""Texts that tests of models read: a tokenizer of few words, a model for it, and batches of random ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from hpcgeom.models import TokenBatch

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *"abcde[]<>/.", "##a", "##b", "##c", "cat", "dog", "sees", "the", "sep", "mask", "cls"]


def save_tokenizer(folder: Path) -> None:
    raw = RawTokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)


def tiny_config(**changes) -> BertConfig:
    sizes = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 24,
        "initializer_range": 0.5,  # far from linear, so that a wrong site or mask shows
    }
    return BertConfig(**{**sizes, **changes})


def make_batch(
    lengths: list[int], side: str = "right", n_words: int = len(WORDS), seed: int = 0
) -> TokenBatch:
    """Random ids between one special token at each end."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    ids, mask, special = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
    for row, length in enumerate(lengths):
        start = 0 if side == "right" else shape[1] - length
        ids[row, start : start + length] = rng.integers(5, n_words, length)
        mask[row, start : start + length] = 1
        special[row, [start, start + length - 1]] = True
    return TokenBatch(ids, mask, special)
