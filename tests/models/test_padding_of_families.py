"""What stands at padding never changes a point, whichever side it is on."""

from __future__ import annotations

import families_for_tests as tiny
import numpy as np
import pytest
import torch

from hpcgeom.models import Reading, TokenBatch

TEXT = tuple(kind for kind in tiny.KINDS if kind != "vit")
ROTARY = ("esm2", "llama", "mistral")
POOLINGS = ("last", "first", "token:1", "token:-2", "mean", "max")
SITES = ("resid", "hidden_states", "z", "attn_out", "mlp_act")


@pytest.fixture(scope="module", params=TEXT)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return tiny.save(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def model(kind, folder):
    return tiny.open_model(kind, folder, *(Reading(site, POOLINGS) for site in SITES))


def alone(batch: TokenBatch, row: int) -> TokenBatch:
    kept = batch.attention_mask[row] == 1
    return TokenBatch(
        *(part[row : row + 1, kept] for part in (batch.input_ids, batch.attention_mask, batch.special_mask))
    )


def test_ids_at_padding_do_not_count(model, padded_batch):
    ids = padded_batch.input_ids.copy()
    ids[padded_batch.attention_mask == 0] = 39
    other = TokenBatch(ids, padded_batch.attention_mask, padded_batch.special_mask)
    found, expected = model.extract(other), model.extract(padded_batch)
    for key in expected:
        np.testing.assert_array_equal(found[key], expected[key])


def test_a_padded_row_has_the_points_of_its_sample_alone(kind, model, padded_batch):
    found = model.extract(padded_batch)
    starts = padded_batch.attention_mask.argmax(1)
    for row in range(4):
        for (site, pooling), points in model.extract(alone(padded_batch, row)).items():
            error = np.abs(found[site, pooling][:, row] - points[:, 0]).max(-1)
            is_same = (error < 5e-5 * np.abs(points).max((1, 2))).all()
            # learned positions count from the start of the row, padding or not, as in transformers
            assert is_same == (kind in ROTARY or starts[row] == 0), f"{site}, {pooling}, row {row}"


def test_the_last_and_first_tokens_are_those_of_transformers_by_position(kind, folder, model, padded_batch):
    with torch.inference_mode():
        own = tiny.load(kind, folder)(
            **tiny.inputs_of(kind, padded_batch), output_hidden_states=True
        ).hidden_states
    real = [np.flatnonzero(mask) for mask in padded_batch.attention_mask]
    found = model.extract(padded_batch)
    for pooling, place in {"last": -1, "first": 0, "token:1": 1, "token:-2": -2}.items():
        rows = [
            np.stack([h[row, positions[place]].numpy() for h in own]) for row, positions in enumerate(real)
        ]
        np.testing.assert_array_equal(found["hidden_states", pooling], np.stack(rows, axis=1))
