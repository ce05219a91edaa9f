"""What kernels that keep the nearest rows of each tile do with them: pour them into the lists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpcgeom.search.candidates import Candidates, most_kept
from hpcgeom.search.threads import in_threads


def n_nearest(k: int, n_rows: int) -> int:
    """Rows that a tile of this many proposes: more than a crowded list keeps, so that no tile limits it."""
    return min(most_kept(k) + 1, n_rows)


def pour(
    lists: Candidates,
    key_F: npt.NDArray[np.int64],
    count_R: npt.NDArray[np.int32],
    threshold_R: npt.NDArray[np.float64],
    threads: int,
) -> None:
    """Add keys to the lists of all rows, count by count; what is left out scored at least the threshold."""
    offset_R = np.concatenate([[0], np.cumsum(count_R, dtype=np.int64)])

    def work(part: slice) -> None:
        row_P = np.arange(part.stop - part.start)
        lists.part(lists.start + part.start, lists.start + part.stop).pour(
            row_P, key_F[offset_R[part.start] : offset_R[part.stop]], count_R[part], threshold_R[part]
        )

    in_threads(work, len(count_R), threads)
