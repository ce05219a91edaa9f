"""Interchangeable kernels: each gives the rows of two tiles to each other's lists of candidates.

Whichever runs, the neighbors are the same, bit by bit: a kernel proposes, and the certificate decides.
"""

from __future__ import annotations

from hpcgeom.search.kernels.base import KERNELS, Kernel, choose_kernel, may_be_bfloat16

__all__ = ["KERNELS", "Kernel", "choose_kernel", "may_be_bfloat16"]
