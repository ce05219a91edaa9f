"""Tiles that are multiplied and selected from on a GPU, in float16 on its tensor cores.

The product of a panel of one tile with another tile becomes scores on the device. Once the lists have
thresholds, the scores below these are picked out, which are few; until then the nearest rows of each row are.
Only candidates leave the device, as keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search.bounds import TENSOR_CORE_ROUNDOFF, ErrorBound, float32_bound, half_bound
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.kernels.pouring import n_nearest, pour
from hpcgeom.search.kernels.products import full_precision, multiply
from hpcgeom.search.kernels.rounding import RoundedRows, rounded_rows
from hpcgeom.search.rows import RowSource, row_ranges
from hpcgeom.search.scan import Centering
from hpcgeom.search.selection import NOT_A_SCORE
from hpcgeom.search.tiles import Tile

PANEL_SCORES = 2**26
"""Scores on the device at a time: 256 MiB, and about four times as much while they are selected from."""
RESERVED_BYTES = 8 * 4 * PANEL_SCORES
"""Device memory that tiles leave free."""


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """Rounded rows on the device.

    Attributes
    ----------
    values
        (B, D) tensor.
    squares
        (B,) float32 tensor, squared norms.
    factors
        (B,) float32 tensor by which rows of `values` are to be multiplied, or None.
    """

    values: Any
    squares: Any
    factors: Any


class DeviceKernel:
    """The whole tile on one device by torch; tiles stay there while there is room.

    Parameters
    ----------
    dtype
        ``float16``, ``bfloat16`` or ``float32``: what is multiplied. Sums and scores are in float32.
    device
        As torch names it. Its memory holds three tiles, `RESERVED_BYTES` or less for the panel, and as many
        more tiles as fit.
    panel_scores
        Most scores at a time, if a tile has not more rows.
    """

    def __init__(
        self, dtype: str = "float16", device: str = "cuda", panel_scores: int = PANEL_SCORES
    ) -> None:
        self._dtype, self._device, self._panel_scores = dtype, device, panel_scores
        self.name = f"{dtype}-{'gpu' if device.startswith('cuda') else device}"
        self._kept: dict[tuple[int, int], Tile] = {}
        self._kept_of: tuple[RowSource, Centering] | None = None

    def bound(self, n_features: int) -> ErrorBound:
        """Of the scores; raises as `bounds.half_bound`."""
        if self._dtype == "float32":
            return float32_bound(n_features)
        return half_bound(n_features, self._dtype, sum_roundoff=TENSOR_CORE_ROUNDOFF)

    def load(
        self, source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
    ) -> Tile:
        """Read rows and round them onto the device, or find them there."""
        if self._kept_of is None or self._kept_of[0] is not source or self._kept_of[1] is not centering:
            self._kept, self._kept_of = {}, (source, centering)
        tile = self._kept.get((start, stop))
        if tile is None or tile.is_base != is_base:
            rounded = rounded_rows(source, start, stop, centering, self._dtype, threads)
            tile = Tile(start, stop, self._send(rounded), rounded.norms, is_base)
            # Tiles come round in the same order again and again: the first that fit are the best to keep.
            if self._has_room():
                self._kept[start, stop] = tile
        return tile

    def meet(self, pairs: Sequence[tuple[Tile, Tile]], lists: Mapping[int, Candidates], threads: int) -> None:
        """Give the rows of both tiles of each pair to each other's lists, those of queries to none."""
        with full_precision(self._device):
            for first, second in pairs:
                self._meet(first, second, lists[first.start], lists[second.start], threads)

    def _meet(
        self, first: Tile, second: Tile, first_lists: Candidates, second_lists: Candidates, threads: int
    ) -> None:
        is_same = first is second
        panel_rows = max(1, self._panel_scores // len(second))
        for start, stop in row_ranges(len(first), panel_rows):
            score_AB = self._scores(first.rounded, slice(start, stop), second.rounded)
            if is_same:
                score_AB.diagonal(start).fill_(np.inf)  # no row is its own neighbor
            panel_lists = first_lists.part(first.start + start, first.start + stop)
            if second.is_base:
                self._give(score_AB, second.start, panel_lists, threads)
            if first.is_base and not is_same:
                self._give(score_AB.T, panel_lists.start, second_lists, threads)

    def _scores(self, rows: DeviceRows, panel: slice, columns: DeviceRows) -> Any:
        """(A, B) float32: a^2 + b^2 - 2 p, not below zero but by rounding, or NaN."""
        import torch

        score_AB = multiply(rows.values[panel], columns.values)
        if rows.factors is None:
            torch.add(columns.squares, score_AB, alpha=-2.0, out=score_AB)
        else:
            score_AB.mul_(rows.factors[panel, None])
            torch.addcmul(columns.squares, score_AB, columns.factors, value=-2.0, out=score_AB)
        return score_AB.add_(rows.squares[panel, None])

    def _give(self, score_RC: Any, column_start: int, lists: Candidates, threads: int) -> None:
        """Pour the columns that can be near into the lists of the rows."""
        n_columns = score_RC.shape[1]
        threshold_R = _rounded_up(lists.thresholds)
        is_near_RC = ~(score_RC > self._tensor(threshold_R)[:, None])  # written so that NaN is near
        count = n_nearest(lists.k, n_columns)
        lowered_R = np.full(len(threshold_R), np.inf)
        if int(is_near_RC.sum()) <= count * len(threshold_R):
            row_F, column_F = is_near_RC.nonzero(as_tuple=True)
            score_F = _clean(score_RC[row_F, column_F])
        else:
            row_F, column_F, score_F, largest_R = _nearest(score_RC, count)
            if count < n_columns:
                lowered_R = largest_R.double().cpu().numpy()
        is_other_F = score_F < np.inf
        row_F, column_F, score_F = row_F[is_other_F], column_F[is_other_F], score_F[is_other_F]
        key_F = _keys(score_F, column_F + column_start).cpu().numpy()
        count_R = row_F.bincount(minlength=len(threshold_R)).cpu().numpy().astype(np.int32)
        pour(lists, key_F, count_R, lowered_R, threads)

    def _send(self, rounded: RoundedRows) -> DeviceRows:
        import torch

        value_BD = torch.from_numpy(rounded.values)
        if self._dtype == "bfloat16":
            value_BD = value_BD.view(torch.bfloat16)
        factor_B = None if rounded.factors is None else self._tensor(rounded.factors)
        square_B = self._tensor(np.square(rounded.norms).astype(np.float32))
        return DeviceRows(value_BD.to(self._device), square_B, factor_B)

    def _tensor(self, array: npt.NDArray[Any]) -> Any:
        import torch

        return torch.from_numpy(array).to(self._device)

    def _has_room(self) -> bool:
        import torch

        if not self._device.startswith("cuda"):
            return True
        number = torch.device(self._device).index  # None: the current one
        free, _ = torch.cuda.mem_get_info(number)
        idle = torch.cuda.memory_reserved(number) - torch.cuda.memory_allocated(number)
        return bool(free + idle > RESERVED_BYTES)


def _nearest(score_RC: Any, count: int) -> tuple[Any, Any, Any, Any]:
    """Rows, columns and scores of the `count` smallest of each row, and the largest of each row's."""
    import torch

    score_RP, column_RP = _clean(score_RC).contiguous().topk(count, largest=False)
    row_R = torch.arange(len(score_RP), device=score_RP.device)
    return row_R.repeat_interleave(count), column_RP.flatten(), score_RP.flatten(), score_RP.amax(dim=1)


def _clean(scores: Any) -> Any:
    """Scores that are not negative, but for `NOT_A_SCORE` in place of NaN."""
    return scores.clamp(min=0.0).nan_to_num(nan=NOT_A_SCORE, posinf=np.inf)


def _keys(score_F: Any, row_F: Any) -> Any:
    """Keys of candidates (`selection`) on the device."""
    import torch

    bits_F = (score_F + 0.0).view(torch.int32).long()  # the sum turns -0.0 into 0.0
    return (bits_F << 32) | row_F


def _rounded_up(threshold_R: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Float32 values that are not below the thresholds."""
    rounded_R = threshold_R.astype(np.float32)
    up_R: npt.NDArray[np.float32] = np.where(
        rounded_R < threshold_R, np.nextafter(rounded_R, np.float32(np.inf)), rounded_R
    )
    return up_R
