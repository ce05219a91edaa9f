"""What a kernel is, and which one runs."""

from __future__ import annotations

import os
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
    """Gives the rows of two tiles to each other's lists of candidates."""

    @property
    def name(self) -> str:
        """As recorded."""

    def bound(self, n_features: int) -> ErrorBound:
        """How far its scores can be from the true ones."""

    def load(
        self, source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
    ) -> Tile:
        """Read rows, and round them to what it multiplies."""

    def meet(
        self, first: Tile, second: Tile, first_lists: Candidates, second_lists: Candidates, threads: int
    ) -> None:
        """Give base rows of each tile to the lists of the other; of one tile where both are the same."""


def choose_kernel(asked: str = "auto", n_features: int = 1) -> Kernel:
    """The kernel that is asked for, on a GPU where this process was given one; else on the CPU.

    Parameters
    ----------
    asked
        One of `KERNELS`. ``auto`` is float16 on a GPU where half precision is proven for so many features,
        else float32, which is multiplied by oneDNN on CPUs with AVX-512, by NumPy elsewhere and without
        torch.
    n_features
        Of the points.

    Raises
    ------
    InputError
        There is no such kernel, it needs a GPU, or it is not proven for so many features.
    HpcgeomError
        ``faiss`` is asked for and cannot be imported, or ``bfloat16`` without torch.
    """
    if asked not in KERNELS:
        raise InputError(
            f"the kernel of the search is '{asked}', expected one of {', '.join(KERNELS)}: choose one of them"
        )
    if asked == "faiss":
        from hpcgeom.search.kernels.faiss_tiles import FaissKernel

        return FaissKernel()
    has_gpu = _has_gpu()
    dtype = _fastest(n_features, has_gpu=has_gpu) if asked == "auto" else asked
    if dtype == "float16" and not has_gpu:
        raise InputError(
            "the kernel 'float16' runs on a GPU, and this process was given none (CUDA_VISIBLE_DEVICES is "
            "not set, or torch sees no GPU): ask for a GPU, or choose the kernel auto"
        )
    kernel = _kernel(dtype, has_gpu=has_gpu)
    kernel.bound(n_features)
    return kernel


def _kernel(dtype: str, *, has_gpu: bool) -> Kernel:
    if has_gpu:
        from hpcgeom.search.kernels.device import DeviceKernel

        return DeviceKernel(dtype)
    from hpcgeom.search.kernels.panels import PanelKernel

    return PanelKernel(cpu_multiplier(dtype))


def cpu_multiplier(dtype: str = "float32") -> Multiplier:
    """The fastest that this CPU has."""
    from hpcgeom.search.kernels.multipliers import Bfloat16, Blas, OneDnn

    if dtype == "bfloat16":
        if not _has_torch():
            raise HpcgeomError(
                "the kernel 'bfloat16' multiplies by torch, and it is not installed here: install torch, or "
                "choose the kernel auto"
            )
        return Bfloat16()
    return OneDnn() if host_features().get("avx512f") and _has_onednn() else Blas()


def _fastest(n_features: int, *, has_gpu: bool) -> str:
    return "float16" if has_gpu and n_features <= LARGEST_N_FEATURES_OF_HALF else "float32"


def _has_gpu() -> bool:
    """Whether this process was given a GPU (``CUDA_VISIBLE_DEVICES``, which SLURM sets) and can use it."""
    if not os.environ.get("CUDA_VISIBLE_DEVICES") or not _has_torch():
        return False
    import torch

    return bool(torch.cuda.is_available())


def _has_torch() -> bool:
    return find_spec("torch") is not None


def _has_onednn() -> bool:
    """Whether torch is here, and brings oneDNN's linear layers."""
    if not _has_torch():
        return False
    import torch

    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


def host_features() -> dict[str, bool]:
    """Instructions that this processor and its operating system have, as LLVM names them."""
    import llvmlite.binding  # type: ignore[import-untyped]

    try:
        return dict(llvmlite.binding.get_host_cpu_features())
    except RuntimeError:  # not known on this platform
        return {}
