"""Products by torch with float32 sums: its switches for more or less precision are set meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_FULL_SUMS = {
    "allow_fp16_accumulation": False,
    "allow_fp16_reduced_precision_reduction": False,
    "allow_bf16_reduced_precision_reduction": False,
}


def full_precision(device: str) -> AbstractContextManager[None]:
    """Sums in float32 and no float32 rounded to TF32, whatever the process allows elsewhere."""
    import torch

    if not device.startswith("cuda"):
        return nullcontext()
    matmul = torch.backends.cuda.matmul
    # torch 2.9 has a new name for TF32, and warns about the old one.
    tf32 = {"fp32_precision": "ieee"} if hasattr(matmul, "fp32_precision") else {"allow_tf32": False}
    return _switched(matmul, {**_FULL_SUMS, **tf32})


@contextmanager
def one_torch_thread(precision: str) -> Iterator[None]:
    """Products of float32 on the CPU are as precise as asked, and threads that set their number to 1 may.

    Parameters
    ----------
    precision
        ``ieee``, or ``bf16``: factors may be taken for bfloat16 where that is faster.
    """
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _float32_products(torch, precision):
            yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def _float32_products(torch: Any, precision: str) -> Iterator[None]:
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if hasattr(matmul, "fp32_precision"):
        with _switched(matmul, {"fp32_precision": precision}):
            yield
        return
    held = torch.get_float32_matmul_precision()  # before torch 2.9
    torch.set_float32_matmul_precision({"ieee": "highest", "bf16": "medium"}[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(held)


@contextmanager
def _switched(owner: Any, wanted: Mapping[str, Any]) -> Iterator[None]:
    """Set those of the attributes that there are, and put them back."""
    held = {name: getattr(owner, name) for name in wanted if hasattr(owner, name)}
    try:
        for name in held:
            setattr(owner, name, wanted[name])
        yield
    finally:
        for name, value in held.items():
            setattr(owner, name, value)


def multiply(one_AD: Any, other_BD: Any) -> Any:
    """(A, B) float32 dot products of rows in float16, bfloat16 or float32, exact but for the sums.

    Where torch cannot give float32 products of halves (before 2.8, or on a CPU), float32 copies are
    multiplied.
    """
    import torch

    if one_AD.dtype != torch.float32 and one_AD.is_cuda and "dtype" in torch.ops.aten.mm.overloads():
        return torch.mm(one_AD, other_BD.T, out_dtype=torch.float32)
    return torch.mm(one_AD.float(), other_BD.float().T)
