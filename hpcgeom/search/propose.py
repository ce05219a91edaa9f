"""Candidates from faiss: the one place where it is imported and called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import HpcgeomError


def n_proposals(k: int) -> int:
    """Rows proposed from each tile for lists of `k`: a wide margin costs little and spares a second look."""
    return k + 1 + max(32, k)


def propose(
    query_QD: npt.NDArray[np.float32], base_BD: npt.NDArray[np.float32], count: int, threads: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Rows of the base with the smallest float32 squared distances to each query, ascending.

    Returns
    -------
    score_QP, proposed_QP
        (Q, P) squared distances, and positions in the base, P = min(count, B).
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(threads)  # every time: the setting belongs to the calling thread
    score_QP, proposed_QP = faiss.knn(query_QD, base_BD, min(count, len(base_BD)))
    return score_QP, proposed_QP


@cache
def _faiss() -> Any:
    with _fitting_openblas_kernels():
        try:
            import faiss
        except ImportError as error:
            raise HpcgeomError(
                "the search needs faiss, and it cannot be imported here "
                f"({error}): install hpcgeom[cpu], or hpcgeom[gpu] on machines with a GPU"
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
    import llvmlite.binding  # type: ignore[import-untyped]

    try:
        has = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # not known on this platform
        return None
    if all(
        has.get(feature) for feature in ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "fma")
    ):
        return "SkylakeX"
    return "Haswell" if has.get("avx2") and has.get("fma") else None
