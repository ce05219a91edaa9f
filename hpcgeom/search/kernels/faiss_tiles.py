"""Candidates from faiss: the one place where it is imported and called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import HpcgeomError
from hpcgeom.search.bounds import ErrorBound, float32_bound
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.kernels.base import host_features
from hpcgeom.search.kernels.pouring import n_nearest, pour
from hpcgeom.search.keys import keys_of
from hpcgeom.search.rows import RowSource
from hpcgeom.search.scan import Centering
from hpcgeom.search.selection import NOT_A_SCORE
from hpcgeom.search.tiles import Tile, float32_tile

MOST_NEAREST_ON_GPU = 2048
"""Neighbors that faiss finds on a GPU; longer lists are found on the CPU."""


class FaissKernel:
    """The nearest rows of every tile by faiss, in float32, on a GPU where there is one for this process.

    Raises
    ------
    HpcgeomError
        If faiss cannot be imported.
    """

    def __init__(self) -> None:
        faiss = _faiss()
        self._resources: Any = None
        has_gpu = bool(os.environ.get("CUDA_VISIBLE_DEVICES")) and hasattr(faiss, "StandardGpuResources")
        if has_gpu and faiss.get_num_gpus() > 0:
            self._resources = faiss.StandardGpuResources()
        self.name = "faiss" if self._resources is None else "faiss-gpu"

    def bound(self, n_features: int) -> ErrorBound:
        """Of the scores."""
        return float32_bound(n_features)

    def load(
        self, source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
    ) -> Tile:
        """Read and round rows."""
        return float32_tile(source, start, stop, centering, is_base=is_base, threads=threads)

    def meet(self, pairs: Sequence[tuple[Tile, Tile]], lists: Mapping[int, Candidates], threads: int) -> None:
        """Give the rows of both tiles of each pair to each other's lists, those of queries to none."""
        for first, second in pairs:
            if second.is_base:
                self._give(second, first, lists[first.start], threads)
            if first.is_base and first is not second:
                self._give(first, second, lists[second.start], threads)

    def _give(self, base: Tile, queries: Tile, lists: Candidates, threads: int) -> None:
        count = n_nearest(lists.k + (base is queries), len(base))
        score_QP, place_QP = self._nearest(queries.rounded, base.rounded, count, threads)
        is_score_QP = (score_QP == score_QP) & (place_QP >= 0) & (place_QP < len(base))
        score_QP = np.where(is_score_QP, np.maximum(score_QP, 0) + np.float32(0), np.float32(NOT_A_SCORE))
        row_QP = base.start + np.where(is_score_QP, place_QP, 0)
        key_QP = keys_of(score_QP, row_QP)
        is_other_QP = ~is_score_QP | (row_QP != np.arange(queries.start, queries.stop)[:, None])
        threshold_Q = np.full(len(queries), np.inf)
        if count < len(base):
            threshold_Q = score_QP.max(axis=1).astype(np.float64)
        pour(lists, key_QP[is_other_QP], is_other_QP.sum(axis=1, dtype=np.int32), threshold_Q, threads)

    def _nearest(
        self, query_QD: npt.NDArray[np.float32], base_BD: npt.NDArray[np.float32], count: int, threads: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """(Q, P) smallest float32 squared distances, and places in the base."""
        faiss = _faiss()
        found: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
        if self._resources is not None and count <= MOST_NEAREST_ON_GPU:
            found = faiss.knn_gpu(self._resources, query_QD, base_BD, count)
        else:
            faiss.omp_set_num_threads(threads)  # every time: the setting belongs to the calling thread
            found = faiss.knn(query_QD, base_BD, count)
        return found


@cache
def _faiss() -> Any:
    with _fitting_openblas_kernels():
        try:
            import faiss
        except ImportError as error:
            raise HpcgeomError(
                f"the kernel 'faiss' needs faiss, and it cannot be imported here ({error}): install "
                "hpcgeom[cpu], or hpcgeom[gpu] on machines with a GPU, or choose the kernel auto"
            ) from error
    return faiss


@contextmanager
def _fitting_openblas_kernels() -> Iterator[None]:
    """Name the processor to an OpenBLAS that is loaded meanwhile.

    faiss wheels carry an OpenBLAS of 2021, which takes newer processors for a Prescott of 2004 and is four
    times slower for it. It reads the variable when it is loaded. Whatever it takes, the neighbors are the
    same.
    """
    name = "OPENBLAS_CORETYPE"
    core = None if name in os.environ else _openblas_core()
    if core:
        os.environ[name] = core
    try:
        yield
    finally:
        if core:
            os.environ.pop(name, None)


def _openblas_core() -> str | None:
    """The OpenBLAS kernels that this processor can run, None if OpenBLAS should judge."""
    has = host_features()
    if all(
        has.get(feature) for feature in ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "fma")
    ):
        return "SkylakeX"
    return "Haswell" if has.get("avx2") and has.get("fma") else None
