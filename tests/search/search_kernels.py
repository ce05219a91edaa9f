"""All kernels of the search, by name; those of a device on the CPU."""

from __future__ import annotations

from hpcgeom.search.kernels.base import has_bfloat16
from hpcgeom.search.kernels.device import DeviceKernel
from hpcgeom.search.kernels.faiss_tiles import FaissKernel
from hpcgeom.search.kernels.multipliers import Bfloat16, Bfloat16Avx512, Blas, OneDnn
from hpcgeom.search.kernels.panels import PanelKernel

ALL = {
    "float32": lambda: PanelKernel(Blas()),
    "float32-onednn": lambda: PanelKernel(OneDnn()),
    "bfloat16": lambda: PanelKernel(Bfloat16()),
    "faiss": FaissKernel,
    "float16-cpu": lambda: DeviceKernel("float16", "cpu"),
    "bfloat16-cpu": lambda: DeviceKernel("bfloat16", "cpu"),
    "float32-cpu": lambda: DeviceKernel("float32", "cpu", panel_scores=2000),
}

if has_bfloat16():
    ALL["bfloat16-avx512"] = lambda: PanelKernel(Bfloat16Avx512())
