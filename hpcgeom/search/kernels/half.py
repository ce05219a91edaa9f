"""Products of panels in bfloat16, for CPUs that multiply it several times as fast as float32."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search.bounds import ErrorBound, half_bound
from hpcgeom.search.kernels.panels import PanelKernel
from hpcgeom.search.kernels.products import bfloat16_on_one_thread
from hpcgeom.search.kernels.rounding import bfloat16_values, rounded_rows
from hpcgeom.search.rows import RowSource
from hpcgeom.search.scan import Centering
from hpcgeom.search.tiles import Tile


class HalfKernel(PanelKernel):
    """The product in bfloat16 by torch, with sums in float32.

    torch rounds products of bfloat16 tensors to bfloat16, which makes many rows too close to call. So the
    tensors are float32, with values that bfloat16 has, and torch may take them for bfloat16.
    """

    name = "bfloat16"

    def bound(self, n_features: int) -> ErrorBound:
        """Of the scores; raises as `bounds.half_bound`."""
        return half_bound(n_features, "bfloat16")

    def load(
        self, source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
    ) -> Tile:
        """Read and round rows."""
        rounded = rounded_rows(source, start, stop, centering, "bfloat16", threads)
        return Tile(start, stop, bfloat16_values(rounded.values), rounded.norms, is_base)

    def _one_thread(self) -> AbstractContextManager[None]:
        return bfloat16_on_one_thread()

    def _product(self, one_AD: Any, other_BD: Any) -> npt.NDArray[np.float32]:
        import torch

        product_AB: npt.NDArray[np.float32] = torch.mm(
            torch.from_numpy(one_AD), torch.from_numpy(other_BD).T
        ).numpy()
        return product_AB
