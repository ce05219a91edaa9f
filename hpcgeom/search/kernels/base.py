"""What a kernel is, and which one runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.search.bounds import LARGEST_N_FEATURES_OF_HALF, ErrorBound
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.rows import RowSource
from hpcgeom.search.scan import Centering
from hpcgeom.search.tiles import Tile

if TYPE_CHECKING:
    from hpcgeom.search.kernels.multipliers import Multiplier

KERNELS = ("auto", "float32", "bfloat16", "float16", "faiss")
"""What may be asked for: what is multiplied, or who does it."""


class Kernel(Protocol):
    """Gives the rows of tiles to each other's lists of candidates."""

    @property
    def name(self) -> str:
        """As recorded."""

    def bound(self, n_features: int) -> ErrorBound:
        """How far its scores can be from the true ones."""

    def load(
        self, source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
    ) -> Tile:
        """Read rows, and round them to what it multiplies."""

    def meet(self, pairs: Sequence[tuple[Tile, Tile]], lists: Mapping[int, Candidates], threads: int) -> None:
        """Give base rows of both tiles of each pair to the lists of the other, or of one tile to its own.

        Lists are found by the start of their tile. A tile that meets itself is one object, and no two tiles
        meet twice.
        """


def choose_kernel(asked: str = "auto", n_features: int = 1, row_roundoff: float | None = None) -> Kernel:
    """The kernel that is asked for, on a GPU where this process was given one; else on the CPU.

    Parameters
    ----------
    asked
        One of `KERNELS`. ``auto`` is float16 on a GPU where half precision is proven for so many features. On
        a CPU it is bfloat16 where the processor has instructions for it and `row_roundoff` is given; else
        float32, which is multiplied by oneDNN on CPUs with AVX-512, by NumPy elsewhere and without torch.
    n_features
        Of the points.
    row_roundoff
        What rounding to bfloat16 takes from the points, where a trial says that it leaves nearly all lists
        certified (`trial`).

    Raises
    ------
    InputError
        There is no such kernel, it needs a GPU, or it is not proven for so many features.
    HpcgeomError
        ``faiss`` is asked for and cannot be imported, or ``bfloat16`` without torch on a CPU without
        instructions for it.
    """
    if asked not in KERNELS:
        raise InputError(
            f"the kernel of the search is '{asked}', expected one of {', '.join(KERNELS)}: choose one of them"
        )
    if asked == "faiss":
        from hpcgeom.search.kernels.faiss_tiles import FaissKernel

        return FaissKernel()
    has_gpu = _has_gpu()
    dtype = _fastest(n_features, row_roundoff, has_gpu=has_gpu) if asked == "auto" else asked
    if dtype == "float16" and not has_gpu:
        raise InputError(
            "the kernel 'float16' runs on a GPU, and this process was given none (CUDA_VISIBLE_DEVICES is "
            "not set, or torch sees no GPU): ask for a GPU, or choose the kernel auto"
        )
    kernel = _kernel(dtype, row_roundoff, has_gpu=has_gpu)
    kernel.bound(n_features)
    return kernel


def may_be_bfloat16(asked: str, n_features: int) -> bool:
    """Whether `choose_kernel` will ask for the roundoff of rows in bfloat16."""
    if _has_gpu() or n_features > LARGEST_N_FEATURES_OF_HALF:
        return False
    return asked == "bfloat16" or (asked == "auto" and has_bfloat16())


def _kernel(dtype: str, row_roundoff: float | None, *, has_gpu: bool) -> Kernel:
    if has_gpu:
        from hpcgeom.search.kernels.device import DeviceKernel

        return DeviceKernel(dtype)
    from hpcgeom.search.kernels.panels import PanelKernel

    return PanelKernel(cpu_multiplier(dtype, row_roundoff))


def cpu_multiplier(dtype: str = "float32", row_roundoff: float | None = None) -> Multiplier:
    """The fastest that this CPU has."""
    from hpcgeom.search.kernels.multipliers import Bfloat16, Bfloat16Avx512, Blas, OneDnn

    if dtype == "bfloat16":
        if has_bfloat16():
            return Bfloat16Avx512(row_roundoff)
        if not _has_torch():
            raise HpcgeomError(
                "the kernel 'bfloat16' multiplies by torch, and it is not installed here: install torch, or "
                "choose the kernel auto"
            )
        return Bfloat16(row_roundoff)
    return OneDnn() if host_features().get("avx512f") and _has_onednn() else Blas()


def _fastest(n_features: int, row_roundoff: float | None, *, has_gpu: bool) -> str:
    if has_gpu:
        return "float16" if n_features <= LARGEST_N_FEATURES_OF_HALF else "float32"
    return "bfloat16" if row_roundoff is not None and has_bfloat16() else "float32"


def _has_gpu() -> bool:
    """Whether this process was given a GPU (``CUDA_VISIBLE_DEVICES``, which SLURM sets) and can use it."""
    if not os.environ.get("CUDA_VISIBLE_DEVICES") or not _has_torch():
        return False
    import torch

    return bool(torch.cuda.is_available())


def _has_torch() -> bool:
    return find_spec("torch") is not None


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in AVX-512, and LLVM names the instruction as we do."""
    return host_features().get("avx512bf16", False) and _llvm_version() >= 16


def _llvm_version() -> int:
    import llvmlite.binding  # type: ignore[import-untyped]

    return int(llvmlite.binding.llvm_version_info[0])


def _has_onednn() -> bool:
    """Whether torch is here, and brings oneDNN's linear layers."""
    if not _has_torch():
        return False
    import torch

    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


def host_features() -> dict[str, bool]:
    """Instructions that this processor and its operating system have, as LLVM names them."""
    import llvmlite.binding

    try:
        return dict(llvmlite.binding.get_host_cpu_features())
    except RuntimeError:  # not known on this platform
        return {}
