"""Real small sizes by two and four processes: the bits of one."""

from __future__ import annotations

import numpy as np
import pipeline_processes as processes
import pytest
from pipeline_processes import Case

from hpcgeom.models import ModelRequest, Reading, Replicate, TokenBatch

pytestmark = pytest.mark.slow

TEXT = {"vocab_size": 1000, "max_position_embeddings": 256}
SIZES = {
    "esm2-8m": ("esm2", {
        "model_type": "esm", "vocab_size": 33, "hidden_size": 320, "num_hidden_layers": 6,
        "num_attention_heads": 20, "intermediate_size": 1280, "position_embedding_type": "rotary",
        "token_dropout": True, "mask_token_id": 32, "pad_token_id": 1, "emb_layer_norm_before": False}),
    "igpt-s": ("igpt", {
        "model_type": "imagegpt", "vocab_size": 513, "n_embd": 512, "n_layer": 24, "n_head": 8,
        "n_positions": 256}),
    "llama-small": ("llama", {
        **TEXT, "model_type": "llama", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "num_key_value_heads": 4, "intermediate_size": 2048}),
    "gpt2-small": ("gpt2", {
        "model_type": "gpt2", "vocab_size": 1000, "n_embd": 768, "n_layer": 12, "n_head": 12,
        "n_positions": 256, "bos_token_id": 0, "eos_token_id": 0}),
}  # fmt: skip


def case_of(name: str, dtype: str) -> Case:
    """Untrained weights, which every process draws alike, and batches of several shapes with padding."""
    family, config = SIZES[name]
    readings = (
        Reading("ln_1", ("mean", "last")),
        Reading("mlp_out", ("max",)),
        Reading("resid", ("tokens",)),
    )
    request = ModelRequest(name, family, None, dtype, readings, weights="random", config=config)
    rng, batches = np.random.default_rng(7), []
    for lengths in ([48, 100, 31], [17], [256, 256], [5, 6, 7, 8]):
        shape = (len(lengths), max(lengths))
        mask = (np.arange(shape[1]) < np.array(lengths)[:, None]).astype(np.int64)
        ids = np.where(mask == 1, rng.integers(4, 24, shape), 1)
        batches.append(TokenBatch(ids, mask, np.zeros(shape, bool)))
    return Case(name, request, batches)


@pytest.mark.parametrize("n_processes", [2, 4])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SIZES)
def test_small_models_of_real_sizes(name, dtype, n_processes, tmp_path):
    case = case_of(name, dtype)
    model = Replicate().open_model(case.request)
    codes = processes.run_group(processes.save_all, n_processes, tmp_path, [case])
    assert codes == [0] * n_processes
    for number, batch in enumerate(case.batches):
        found = processes.together(tmp_path / "0", number, n_processes)
        for key, rows in model.extract(batch).items():
            np.testing.assert_array_equal(found[key].view(np.int32), rows.view(np.int32), err_msg=f"{key}")
