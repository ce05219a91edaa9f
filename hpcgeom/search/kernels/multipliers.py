"""Who multiplies two panels of rows on a CPU, in which precision; each product by the thread that asks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hpcgeom.search.bounds import ErrorBound, float32_bound, half_bound
from hpcgeom.search.kernels import bfloat16_loops as loops
from hpcgeom.search.kernels.products import one_torch_thread
from hpcgeom.search.kernels.rounding import bfloat16_bits, bfloat16_values
from hpcgeom.search.row_loops import center_and_round
from hpcgeom.search.scan import Centering
from hpcgeom.search.threads import one_blas_thread
from hpcgeom.search.tiles import norms

Norms = npt.NDArray[np.float64]
Rounded = tuple[npt.NDArray[np.float32], Norms]
"""Rows and their norms."""


class Multiplier(Protocol):
    """Rounds rows, and multiplies them."""

    @property
    def name(self) -> str:
        """As recorded."""

    def bound(self, n_features: int) -> ErrorBound:
        """How far scores from its products can be from the true ones."""

    def rounded(self, stored_BD: npt.NDArray[Any], centering: Centering) -> tuple[Any, Norms]:
        """Rows as `product` takes them, and their norms."""

    def product(self, one: Any, other: Any) -> npt.NDArray[np.float32]:
        """(A, B) dot products of two panels, with sums in float32."""

    def one_thread(self) -> AbstractContextManager[None]:
        """Within this, products are computed by the thread that asks for them."""


class Blas:
    """float32 by the BLAS of NumPy."""

    name = "float32"

    def bound(self, n_features: int) -> ErrorBound:
        """Of the scores."""
        return float32_bound(n_features)

    def rounded(self, stored_BD: npt.NDArray[Any], centering: Centering) -> Rounded:
        """Rounded to the nearest float32."""
        rounded_BD, norm_B = np.empty(stored_BD.shape, np.float32), np.empty(len(stored_BD))
        center_and_round(stored_BD, centering.center, centering.scale, rounded_BD, norm_B)
        return rounded_BD, norm_B

    def product(
        self, one_AD: npt.NDArray[np.float32], other_BD: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """By sgemm."""
        product_AB: npt.NDArray[np.float32] = one_AD @ other_BD.T
        return product_AB

    def one_thread(self) -> AbstractContextManager[None]:
        """All BLAS libraries of the process."""
        return one_blas_thread()


class OneDnn(Blas):
    """float32 by oneDNN, through torch.

    NumPy's OpenBLAS and torch's MKL take kernels for AVX2 on many a processor that has AVX-512, those of AMD
    among them; oneDNN asks the processor, and takes half the time on a Zen 5.
    """

    name = "float32-onednn"

    def product(
        self, one_AD: npt.NDArray[np.float32], other_BD: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """As a linear layer whose weights are the other rows."""
        import torch

        torch.set_num_threads(1)  # OpenMP counts them for each thread that asks
        one, other = torch.from_numpy(one_AD), torch.from_numpy(other_BD)
        product_AB: npt.NDArray[np.float32] = torch.ops.mkldnn._linear_pointwise(
            one, other, None, "none", [], ""
        ).numpy()
        return product_AB

    def one_thread(self) -> AbstractContextManager[None]:
        """And in full precision, whatever the process allows elsewhere."""
        return one_torch_thread("ieee")


class _RoundedToBfloat16:
    """Rows in bfloat16, and sums in float32.

    Parameters
    ----------
    row_roundoff
        As for `bounds.half_bound`.
    """

    def __init__(self, row_roundoff: float | None = None) -> None:
        self._row_roundoff = row_roundoff

    def bound(self, n_features: int) -> ErrorBound:
        """Of the scores; raises as `bounds.half_bound`."""
        return half_bound(n_features, "bfloat16", row_roundoff=self._row_roundoff)


class Bfloat16(_RoundedToBfloat16):
    """bfloat16 with sums in float32, by torch.

    torch rounds products of bfloat16 tensors to bfloat16, which makes many rows too close to call. So the
    tensors are float32, with values that bfloat16 has, and torch may take them for bfloat16.
    """

    name = "bfloat16"

    def rounded(self, stored_BD: npt.NDArray[Any], centering: Centering) -> Rounded:
        """Rounded to the nearest bfloat16."""
        rounded_BD = bfloat16_values(bfloat16_bits(centering.apply(stored_BD).astype(np.float32)))
        return rounded_BD, norms(rounded_BD.astype(np.float64))

    def product(
        self, one_AD: npt.NDArray[np.float32], other_BD: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """In bfloat16 where that is faster; the values are the same in float32."""
        import torch

        torch.set_num_threads(1)
        product_AB: npt.NDArray[np.float32] = torch.mm(
            torch.from_numpy(one_AD), torch.from_numpy(other_BD).T
        ).numpy()
        return product_AB

    def one_thread(self) -> AbstractContextManager[None]:
        """And as bfloat16."""
        return one_torch_thread("bf16")


@dataclass(frozen=True, slots=True)
class Bfloat16Rows:
    """Rows as pairs and as strips (`bfloat16_loops`), and how many there are."""

    pairs: npt.NDArray[np.int32]
    strips: npt.NDArray[np.int32]
    n: int


class Bfloat16Avx512(_RoundedToBfloat16):
    """bfloat16 with sums in float32, by AVX-512: twice the rate of float32."""

    name = "bfloat16-avx512"

    def rounded(self, stored_BD: npt.NDArray[Any], centering: Centering) -> tuple[Bfloat16Rows, Norms]:
        """Rounded to the nearest bfloat16."""
        n, n_pairs, norm_B = len(stored_BD), -(-stored_BD.shape[1] // 2), np.empty(len(stored_BD))
        pair_BP = np.zeros((_up_to(n, loops.ROWS_AT_ONCE), n_pairs), np.int32)
        strip_SPL = np.empty((-(-n // loops.STRIP), n_pairs, loops.STRIP), np.int32)
        loops.round_rows(stored_BD, centering.center, centering.scale, pair_BP[:n].view(np.uint16), norm_B)
        loops.turn(pair_BP[:n], strip_SPL)
        return Bfloat16Rows(pair_BP, strip_SPL, n), norm_B

    def product(self, one: Bfloat16Rows, other: Bfloat16Rows) -> npt.NDArray[np.float32]:
        """By compiled loops."""
        product_AB = np.empty((one.n, other.n), np.float32)
        loops.multiply(one.pairs, other.strips, one is other, product_AB)
        return product_AB

    def one_thread(self) -> AbstractContextManager[None]:
        """They have no threads of their own."""
        return nullcontext()


def _up_to(n: int, step: int) -> int:
    """The next multiple."""
    return -(-n // step) * step
