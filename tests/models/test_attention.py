"""Attention by compiled loops: against float64, PyTorch and transformers, and the same bits however asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.esm.modeling_esm import apply_rotary_pos_emb

from hpcgeom.models import attention, team
from hpcgeom.models.attention_loops import BLOCK_KEYS
from hpcgeom.models.rotary import rotated

N_BLOCKS_AND_A_BIT = 2 * BLOCK_KEYS + 7


def tokens(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(values) * scale


def by_loops(query, key, value, is_seen=None, is_causal=False, scale=None) -> torch.Tensor:
    is_seen = torch.ones(len(key), key.shape[2], dtype=torch.bool) if is_seen is None else is_seen
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return attention.attention(query, key, value, is_seen, is_causal, scale).transpose(1, 2)


def in_float64(query, key, value, is_seen=None, is_causal=False, scale=None) -> torch.Tensor:
    """The formula, with a softmax over the keys that are seen."""
    n_repeats = query.shape[1] // key.shape[1]
    key, value = (each.double().repeat_interleave(n_repeats, 1) for each in (key, value))
    score = query.double() @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    hidden = torch.zeros(score.shape[-2:], dtype=torch.bool)
    hidden |= torch.ones_like(hidden).triu(1) & is_causal
    hidden = hidden if is_seen is None else hidden | ~is_seen[:, None, None]
    return score.masked_fill(hidden, -torch.inf).softmax(-1) @ value


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 150), st.integers(1, 150),
    st.integers(1, 70), st.sampled_from([0.1, 1.0, 3.0]), st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_sums_are_those_of_float64(
    n_sequences, n_groups, n_repeats, n_queries, n_keys, width, scale, is_causal, seed
) -> None:
    n_keys = n_queries if is_causal else n_keys
    query = tokens(seed, n_sequences, n_groups * n_repeats, n_queries, width, scale=scale)
    key = tokens(seed + 1, n_sequences, n_groups, n_keys, width, scale=scale)
    value = tokens(seed + 2, n_sequences, n_groups, n_keys, width)
    is_seen = torch.from_numpy(np.random.default_rng(seed + 3).random((n_sequences, n_keys)) < 0.8)
    is_seen[:, 0] = True
    exact = in_float64(query, key, value, is_seen, is_causal)
    found = by_loops(query, key, value, is_seen, is_causal)
    # a rounding of a score moves its weight by as much, relatively
    largest_score = float((query.double() @ key.double().repeat_interleave(n_repeats, 1).mT).abs().max())
    allowed = 1e-6 * (1 + largest_score * width**-0.5) * float(value.abs().max())
    assert (found - exact).abs().max() <= allowed


@pytest.mark.parametrize("width", [20, 24, 64, 128])
def test_errors_are_no_larger_than_those_of_pytorch(width: int) -> None:
    query, key, value = (tokens(seed, 2, 4, 1000, width) for seed in range(3))
    exact = in_float64(query, key, value)

    def error(found: torch.Tensor) -> float:
        return float((found - exact).square().mean().sqrt())

    assert error(by_loops(query, key, value)) <= 1.2 * error(scaled_dot_product_attention(query, key, value))


def test_large_scores_and_far_ones_keep_the_largest() -> None:
    query = torch.tensor([100.0, -100.0]).reshape(1, 1, 2, 1)
    key = torch.linspace(-3000, 3000, N_BLOCKS_AND_A_BIT).reshape(1, 1, -1, 1)
    value = torch.arange(N_BLOCKS_AND_A_BIT, dtype=torch.float32).reshape(1, 1, -1, 1)
    assert by_loops(query, key, value).flatten().tolist() == [N_BLOCKS_AND_A_BIT - 1, 0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite_stays_so_and_reaches_no_other_sequence(bad: float, which: int) -> None:
    given_ = [tokens(seed, 2, 1, N_BLOCKS_AND_A_BIT, 5) for seed in range(3)]
    clean = by_loops(*given_)
    given_[which][0, 0, 70, 2] = bad
    found = by_loops(*given_)
    assert not found[0].isfinite().all()
    assert torch.equal(found.isfinite(), in_float64(*given_).isfinite())
    assert torch.equal(found[1], clean[1])


def test_a_query_that_sees_no_key_gets_zeros_and_hidden_keys_count_nowhere() -> None:
    query, key, value = (tokens(seed, 2, 2, N_BLOCKS_AND_A_BIT, 6) for seed in range(3))
    is_seen = torch.zeros(2, N_BLOCKS_AND_A_BIT, dtype=torch.bool)
    is_seen[1, BLOCK_KEYS + 3 :] = True  # none of the first block
    found = by_loops(query, key, value, is_seen)
    assert torch.equal(found[0], torch.zeros_like(found[0]))
    mask = is_seen[:, None, None].expand(2, 1, N_BLOCKS_AND_A_BIT, N_BLOCKS_AND_A_BIT)
    theirs = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(found, theirs, rtol=0, atol=2e-6)
    key[1, :, : BLOCK_KEYS + 3], value[1, :, : BLOCK_KEYS + 3] = 1e30, 1e30
    assert torch.equal(by_loops(query, key, value, is_seen)[1], found[1])


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 90), st.integers(1, 4), st.booleans(), st.integers(0, 2**32 - 1))
def test_bits_depend_on_no_thread_and_no_neighbor(n_tokens, threads, is_causal, seed) -> None:
    query, key, value = (tokens(seed + i, 3, 2, n_tokens, 12) for i in range(3))
    alone = [by_loops(query[i : i + 1], key[i : i + 1], value[i : i + 1], None, is_causal) for i in range(3)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = by_loops(query, key, value, None, is_causal)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(together, torch.cat(alone))


def test_any_layout_of_memory_gives_the_same_bits() -> None:
    query, key, value = (tokens(seed, 2, 40, 3, 8).transpose(1, 2) for seed in range(3))
    packed = torch.cat((query, key, value), -1)
    expected = by_loops(*(each.contiguous() for each in (query, key, value)))
    assert torch.equal(by_loops(query, key, value), expected)
    assert torch.equal(by_loops(*packed.split(8, -1)), expected)


class Layer(torch.nn.Module):
    is_causal = False


def asked_of(mask: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch, *, dtype=torch.float32, **more):
    """What `attention_forward` gives, PyTorch's, and whether compiled loops did it."""
    query, key, value = (tokens(seed, 2, 2, 33, 6).to(dtype) for seed in range(3))
    monkeypatch.setattr(attention, "_IS_FASTER", True)
    asked: list[bool] = []
    loops = attention.attention
    monkeypatch.setattr(attention, "attention", lambda *given_: (asked.append(True), loops(*given_))[1])
    found, maps = attention.attention_forward(Layer(), query, key, value, mask, **more)
    assert maps is None
    is_causal = bool(more.get("is_causal")) and mask is None
    theirs = scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=is_causal)
    return found, theirs.transpose(1, 2), bool(asked)


HIDDEN = torch.ones(2, 33, dtype=torch.bool)
HIDDEN[1, 20:] = False
WHOLE_KEYS = HIDDEN[:, None, None].expand(2, 1, 33, 33).contiguous()
CAUSAL = WHOLE_KEYS & torch.ones(33, 33, dtype=torch.bool).tril()
WINDOW = CAUSAL & torch.ones(33, 33, dtype=torch.bool).triu(-5)


@pytest.mark.parametrize(
    ("mask", "more", "is_ours"),
    [
        (None, {}, True),
        (None, {"is_causal": True}, True),
        (WHOLE_KEYS, {}, True),
        (CAUSAL, {}, True),
        (WINDOW, {}, False),
        (torch.zeros(2, 1, 33, 33).masked_fill(~CAUSAL, -1e9), {}, False),
    ],
)
def test_masks_of_every_form_are_those_of_pytorch(mask, more, is_ours, monkeypatch) -> None:
    found, theirs, was_ours = asked_of(mask, monkeypatch, **more)
    assert was_ours == is_ours
    torch.testing.assert_close(found, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_stay_pytorchs(dtype, monkeypatch) -> None:
    found, theirs, was_ours = asked_of(WHOLE_KEYS, monkeypatch, dtype=dtype)
    assert not was_ours
    assert torch.equal(found, theirs)


def test_other_processors_and_gradients_stay_pytorchs(monkeypatch) -> None:
    weights = tokens(0, 2, 3).requires_grad_()
    assert attention.is_for_loops(tokens(0, 2, 3)) == (
        torch.backends.cpu.get_cpu_capability() == "AVX512" and team.is_there()
    )
    assert not attention.is_for_loops(weights)
    monkeypatch.setattr(attention, "_IS_FASTER", False)
    assert not attention.is_for_loops(tokens(0, 2, 3))


@pytest.mark.parametrize("width", [2, 20, 24, 64])
def test_rotated_tokens_have_the_bits_of_transformers(width: int) -> None:
    query, key = tokens(0, 3, 17, 2, width), tokens(1, 3, 17, 2, width)
    cos, sin = tokens(2, 1, 17, width).cos(), tokens(2, 1, 17, width).sin()
    theirs = apply_rotary_pos_emb(query.transpose(1, 2) * width**-0.5, key.transpose(1, 2), cos, sin)
    with torch.inference_mode():
        assert torch.equal(rotated(query, cos, sin, width**-0.5), theirs[0].transpose(1, 2))
        assert torch.equal(rotated(key, cos.expand(3, -1, -1), sin), theirs[1].transpose(1, 2))


SIZES = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
ESM2 = {"pad_token_id": 1, "mask_token_id": 32, "position_embedding_type": "rotary"}
GPT2 = {"n_embd": 48, "n_layer": 3, "n_head": 4, "bos_token_id": 1, "eos_token_id": 1}
MODELS = [
    (hf.EsmModel, hf.EsmConfig(vocab_size=33, **ESM2, **SIZES)),
    (hf.BertModel, hf.BertConfig(vocab_size=33, **SIZES)),
    (hf.LlamaModel, hf.LlamaConfig(vocab_size=33, num_key_value_heads=2, pad_token_id=1, **SIZES)),
    (hf.GPT2Model, hf.GPT2Config(vocab_size=33, **GPT2)),
]


@pytest.mark.parametrize(("kind", "config"), MODELS, ids=lambda each: getattr(each, "__name__", ""))
@pytest.mark.parametrize("side", ["left", "right"])
def test_models_with_it_are_those_of_transformers_without(kind, config, side) -> None:
    torch.manual_seed(0)
    model = kind(config).eval()
    ids = torch.from_numpy(np.random.default_rng(0).integers(4, 30, (3, 70)))
    mask = torch.ones_like(ids)
    for row, n_pads in enumerate((0, 3, 40)):
        mask[row, slice(70 - n_pads, 70) if side == "right" else slice(0, n_pads)] = 0
    with torch.inference_mode():
        found = {}
        for name in ("sdpa", attention.NAME):
            model.set_attn_implementation(name)
            found[name] = model(ids, attention_mask=mask).last_hidden_state[mask.bool()]
    torch.testing.assert_close(found[attention.NAME], found["sdpa"], rtol=0, atol=5e-6)


def test_a_team_does_every_item_once() -> None:
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        for n in (0, 1, 2, 7):
            ranges: list[tuple[int, int]] = []
            team.in_team(lambda first, last, ranges=ranges: ranges.append((first, last)), n)
            assert sorted(i for first, last in ranges for i in range(first, last)) == list(range(n))
    torch.set_num_threads(before)


def test_what_a_member_of_a_team_raises_is_raised() -> None:
    def fail(first: int, last: int) -> None:
        raise KeyError(f"{first} {last}")

    with pytest.raises(KeyError, match="0"):
        team.in_team(fail, 10)


def test_torchs_threads_are_found() -> None:
    assert team.is_there()
