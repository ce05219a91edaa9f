"""Tiny models with random weights, and the texts they read. Nothing is downloaded."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import numpy as np
import pytest
import torch
from texts_for_tests import make_batch, save_tokenizer, tiny_config
from transformers import BertForMaskedLM, BertModel
from transformers.models.esm import modeling_esm

from hpcgeom.models import TokenBatch


@pytest.fixture(autouse=True)
def keep_threads():
    """open_model sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_pass_gelu(monkeypatch):
    """ESM-2 of transformers with the GELU that hpcgeom gives it: all else is compared bit for bit."""
    monkeypatch.setattr(modeling_esm, "gelu", torch.nn.functional.gelu)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory) -> Path:
    """A BERT encoder with pooler, and its tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(1)
    BertModel(tiny_config()).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def masked_lm_folder(tmp_path_factory) -> Path:
    """A BERT with its language-model head: all keys start with `bert.` or `cls.`."""
    folder = tmp_path_factory.mktemp("bert-lm")
    torch.manual_seed(2)
    BertForMaskedLM(tiny_config()).save_pretrained(folder)
    return folder


@pytest.fixture(name="make_batch", scope="session")
def make_batch_fixture():
    return make_batch


@pytest.fixture(params=["right", "left"])
def padded_batch(request) -> TokenBatch:
    return make_batch([12, 3, 7, 9], request.param)


def pool_in_float64(hidden_BTD: np.ndarray, batch: TokenBatch, pooling: str) -> np.ndarray:
    """The poolings written out once more, row by row."""
    points = []
    for hidden, mask, special in zip(hidden_BTD, batch.attention_mask, batch.special_mask, strict=True):
        real = np.flatnonzero(mask)
        ordinary = [position for position in real if not special[position]]
        rows = hidden.astype(np.float64)
        points.append(
            {
                "mean": lambda rows=rows, o=ordinary: rows[o].mean(axis=0),
                "mean_all": lambda rows=rows, r=real: rows[r].mean(axis=0),
                "max": lambda rows=rows, o=ordinary: rows[o].max(axis=0),
                "first": lambda rows=rows, r=real: rows[r[0]],
                "last": lambda rows=rows, r=real: rows[r[-1]],
                "std": lambda rows=rows, o=ordinary: rows[o].std(axis=0),
                "token:1": lambda rows=rows, r=real: rows[r[1]],
                "token:-3": lambda rows=rows, r=real: rows[r[-3]],
                "tokens": lambda rows=rows, o=ordinary: rows[o],
            }[pooling]()
        )
    return np.concatenate(points) if pooling == "tokens" else np.stack(points)


@pytest.fixture(name="pool_in_float64")
def pool_in_float64_fixture():
    return pool_in_float64
