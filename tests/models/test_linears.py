"""Linear layers by oneDNN: against float64, and the same bits however they are asked."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.pytorch_utils import Conv1D

from hpcgeom import freed_memory
from hpcgeom.models import linears
from hpcgeom.models.linears import OneDnnConv1D, OneDnnLinear, ask_onednn, linear_gelu


def rows_of(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@torch.inference_mode()
@settings(deadline=None, max_examples=30)
@given(st.integers(1, 70), st.integers(1, 90), st.integers(1, 90), st.booleans(), st.integers(0, 2**32 - 1))
def test_products_are_those_of_float64(n_rows: int, n_in: int, n_out: int, has_bias: bool, seed: int) -> None:
    layer = OneDnnLinear(n_in, n_out, bias=has_bias)
    rows = rows_of(seed, 2, n_rows, n_in)
    exact = torch.nn.functional.linear(
        rows.double(), layer.weight.double(), layer.bias.double() if has_bias else None
    )
    size = rows.double().abs() @ layer.weight.double().abs().T + 1
    assert ((layer(rows).double() - exact).abs() <= 1e-6 * size).all()


@torch.inference_mode()
def test_the_transposed_layer_of_gpt2_is_that_of_float64() -> None:
    layer = Conv1D(48, 32)
    ask_onednn(layer)
    assert type(layer) is OneDnnConv1D
    rows = rows_of(1, 3, 5, 32)
    exact = rows.double() @ layer.weight.double() + layer.bias.double()
    torch.testing.assert_close(layer(rows).double(), exact, rtol=1e-5, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_neither_threads_nor_rows_beside_change_a_bit(n_threads: int) -> None:
    layer, rows = OneDnnLinear(480, 320), rows_of(2, 300, 480)
    held = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = layer(rows[7:90])
    torch.set_num_threads(n_threads)
    try:
        together = layer(rows)
    finally:
        torch.set_num_threads(held)
    if linears._IS_FASTER:
        assert torch.equal(together[7:90], alone)
    torch.testing.assert_close(together[7:90], alone, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_gelu_at_once_has_the_bits_of_one_after_the_other_and_is_that_of_float64() -> None:
    layer, rows = OneDnnLinear(96, 200), 4 * rows_of(3, 2, 70, 96)
    at_once = linear_gelu(layer, rows)
    seen = []
    with layer.register_forward_hook(lambda _, __, output: seen.append(output.clone())):
        one_after_the_other = linear_gelu(layer, rows)
    assert torch.equal(at_once, one_after_the_other)
    assert torch.equal(seen[0], layer(rows))
    exact = seen[0].double() * 0.5 * (1 + torch.erf(seen[0].double() / 2**0.5))
    torch.testing.assert_close(at_once.double(), exact, rtol=0, atol=2e-6)


@torch.inference_mode()
def test_gelu_has_the_same_bits_where_the_weights_are_brought_for_the_call() -> None:
    layer, rows = OneDnnLinear(96, 200), 4 * rows_of(3, 2, 70, 96)
    at_once = linear_gelu(layer, rows)
    here, away = layer.weight, torch.nn.Parameter(layer.weight.to("meta"), requires_grad=False)

    def bring(hidden: torch.Tensor) -> torch.Tensor:  # as a hook of accelerate does
        layer.weight = here
        output = OneDnnLinear.forward(layer, hidden)
        layer.weight = away
        return output

    layer.weight, layer.forward = away, bring  # type: ignore[method-assign]
    assert torch.equal(linear_gelu(layer, rows), at_once)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_are_left_to_pytorch(dtype: torch.dtype) -> None:
    layer, plain = OneDnnLinear(24, 16, dtype=dtype), torch.nn.Linear(24, 16, dtype=dtype)
    plain.load_state_dict(layer.state_dict())
    rows = rows_of(4, 5, 24).to(dtype)
    assert torch.equal(layer(rows), plain(rows))
    assert torch.equal(linear_gelu(layer, rows), torch.nn.functional.gelu(plain(rows)))


@torch.inference_mode()
def test_other_processors_keep_pytorchs_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linears, "_IS_FASTER", False)
    plain = torch.nn.Linear(480, 480)
    rows = rows_of(5, 300, 480)
    expected = plain(rows)
    ask_onednn(plain)
    assert torch.equal(plain(rows), expected)


@torch.inference_mode()
def test_onednn_is_asked_on_processors_with_avx512() -> None:
    layer = torch.nn.Linear(480, 480)
    ask_onednn(layer)
    with torch.profiler.profile() as profile:
        layer(rows_of(6, 30, 480))
    asked = {event.key for event in profile.key_averages()}
    assert ("mkldnn::_linear_pointwise" in asked) == (torch.backends.cpu.get_cpu_capability() == "AVX512")


def test_layers_of_a_class_of_their_own_are_left_alone() -> None:
    class Own(torch.nn.Linear):
        pass

    model = torch.nn.Sequential(Own(4, 4), torch.nn.Linear(4, 4))
    ask_onednn(model)
    assert [type(module) for module in model] == [Own, OneDnnLinear]


def test_memory_that_is_freed_is_used_again() -> None:
    freed_memory.keep_it()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        torch.ones(4 * 2**20)
    n_pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert n_pages * resource.getpagesize() < 40 * 4 * 2**22 / 3
