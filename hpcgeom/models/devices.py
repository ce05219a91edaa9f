"""Which device a model runs on."""

from __future__ import annotations

import os
import time

import torch

from hpcgeom.models.linears import OneDnnLinear


def chosen_device() -> str:
    """A GPU where this process was given one (``CUDA_VISIBLE_DEVICES``, which SLURM sets); else the CPU."""
    was_given_one = bool(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return "cuda" if was_given_one and torch.cuda.is_available() else "cpu"


def gemm_flops_per_s(device: str, dtype: str) -> float:
    """Operations per second of a square linear layer alone: what a model could at most reach here.

    The best of a few, with the threads that torch has now; they take a tenth of a second or less.

    Parameters
    ----------
    device
        ``cpu`` or a torch device such as ``cuda:0``.
    dtype
        ``float32``, ``bfloat16`` or ``float16``.
    """
    n = 512 if torch.device(device).type == "cpu" else 8192
    layer = OneDnnLinear(n, n, bias=False, dtype=getattr(torch, dtype), device=device)
    rows = torch.ones(n, n, dtype=layer.weight.dtype, device=device)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            product = layer(rows)
            if product.is_cuda:
                torch.cuda.synchronize(product.device)
            best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best
