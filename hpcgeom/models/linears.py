"""Linear layers of a CPU by oneDNN.

For float32 PyTorch asks its BLAS, MKL, which takes kernels for AVX2 on many a processor that has AVX-512,
those of AMD among them. oneDNN, which PyTorch brings along and asks for bfloat16, asks the processor, and is
twice as fast there; elsewhere the two are equals. Its sums depend neither on the number of threads nor on the
rows beside.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn.functional import gelu
from transformers.pytorch_utils import Conv1D

_IS_FASTER = (
    hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.cpu.get_cpu_capability() == "AVX512"
)


class OneDnnLinear(torch.nn.Linear):
    """A linear layer that asks oneDNN where it can."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., D) to (..., E)."""
        if _is_for_onednn(hidden, self.weight):
            return _multiplied(hidden, self.weight, self.bias)
        return super().forward(hidden)


class OneDnnConv1D(Conv1D):  # type: ignore[misc]
    """The same for GPT-2's linear layer, whose weight is the transpose."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., D) to (..., E)."""
        if _is_for_onednn(x, self.weight):
            return _multiplied(x, self.weight.t(), self.bias)
        return super().forward(x)  # type: ignore[no-any-return]


_OURS = {torch.nn.Linear: OneDnnLinear, Conv1D: OneDnnConv1D}


def ask_onednn(model: torch.nn.Module) -> None:
    """Let the linear layers of `model` ask oneDNN for float32 where the processor has AVX-512.

    Names, weights and hooks stay. Layers of a class of their own are left alone.
    """
    for module in model.modules():
        if type(module) in _OURS:
            module.__class__ = _OURS[type(module)]


def linear_gelu(dense: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """GELU of a linear layer, in one pass where nobody reads the layer and its weights are here.

    The bits are those of one after the other: (..., D) to (..., E).
    """
    if not isinstance(dense, OneDnnLinear):
        return gelu(dense(hidden))
    is_read = dense._forward_hooks or dense._forward_pre_hooks
    if not is_read and _is_for_onednn(hidden, dense.weight):
        return _multiplied(hidden, dense.weight, dense.bias, "gelu")
    output: torch.Tensor = dense(hidden)
    return gelu(output.to_mkldnn()).to_dense() if _is_for_onednn(output, output) else gelu(output)


def _is_for_onednn(hidden: torch.Tensor, weight: torch.Tensor) -> bool:
    are_float32 = hidden.dtype == weight.dtype == torch.float32
    return _IS_FASTER and are_float32 and hidden.device.type == weight.device.type == "cpu"


def _multiplied(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    then: Literal["none", "gelu"] = "none",
) -> torch.Tensor:
    # what torch.compile makes of a linear layer on a CPU
    output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        hidden, weight, bias, then, [], "none" if then == "gelu" else ""
    )
    return output
