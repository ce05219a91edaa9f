"""Points that are easy, hard and degenerate, by name."""

from __future__ import annotations

import numpy as np


def gaussian(rng, n=397, d=32):
    return rng.standard_normal((n, d)).astype(np.float32)


def near_duplicates(rng, relative):
    rows = np.repeat(gaussian(rng, 60, 48), 6, axis=0).astype(np.float64)
    return (rows * (1 + relative * rng.standard_normal(rows.shape))).astype(np.float32)


def with_outlier(rng, size=1e6):
    points = gaussian(rng)
    points[7] = size
    return points


def offset_in_one_column(rng, offset):
    points = gaussian(rng)
    points[:, 3] += offset
    return points


def with_constant_column(rng):
    points = gaussian(rng)
    points[:, 5] = 1e4
    return points


def exact_duplicates(rng, n=499, share=0.3):
    points = gaussian(rng, n)
    copies = rng.permutation(n)[: int(share * n)]
    points[copies] = points[rng.integers(0, n, len(copies))]
    return points


def curve(rng):
    """One dimension in 24 features, a chain of ever smaller steps: all scales of distance at once."""
    position = np.cumsum(2.0 ** -rng.uniform(0, 40, 300))
    return (position[:, None] * rng.standard_normal(24)).astype(np.float32)


CASES = {
    **{f"gaussian, {d} features": lambda rng, d=d: gaussian(rng, d=d) for d in (1, 2, 3, 17, 33)},
    **{f"gaussian, {d} features": lambda rng, d=d: gaussian(rng, 113, d) for d in (384, 1280)},
    **{f"offset 1e{e}": lambda rng, e=e: gaussian(rng) + np.float32(10.0**e) for e in (2, 4, 6)},
    **{f"scale 1e{e}": lambda rng, e=e: gaussian(rng) * np.float32(10.0**e) for e in (-6, -3, 3, 6)},
    "scale 1e-40, subnormal": lambda rng: gaussian(rng) * np.float32(1e-40),
    "scale 1e38": lambda rng: gaussian(rng) * np.float32(3e37),
    "offset 1e4 in one column": lambda rng: offset_in_one_column(rng, 1e4),
    "offset 1e6 in one column": lambda rng: offset_in_one_column(rng, 1e6),
    "constant column of 1e4": with_constant_column,
    "near-duplicates at 1e-6": lambda rng: near_duplicates(rng, 1e-6),
    "near-duplicates at 1e-7": lambda rng: near_duplicates(rng, 1e-7),
    "30 % exact duplicates": exact_duplicates,
    "constant layer": lambda rng: np.full((80, 16), 0.3, np.float32),
    "two distinct points": lambda rng: np.repeat(gaussian(rng, 2, 5), [30, 40], axis=0),
    "one outlier at 1e6": with_outlier,
    "one outlier at 1e30": lambda rng: with_outlier(rng, 1e30),
    "heavy tails": lambda rng: (rng.standard_t(1, (401, 8)) ** 5).astype(np.float32),
    "integer lattice": lambda rng: rng.integers(0, 3, (400, 5)).astype(np.float32),
    "lattice without duplicates": lambda rng: np.stack(np.meshgrid(*[np.arange(4.0)] * 4), -1).reshape(-1, 4),
    "numbers in a row": lambda rng: np.arange(300, dtype=np.float32)[:, None],
    "all scales of distance": curve,
    "float16": lambda rng: gaussian(rng).astype(np.float16),
    "float64": lambda rng: rng.standard_normal((400, 24)),
    "float64, differences below float32": lambda rng: 1 + 1e-12 * rng.standard_normal((300, 6)),
    "float64, the last bits": lambda rng: 1 + np.ldexp(rng.integers(0, 40, (300, 3)).astype(float), -52),
    "float64, clusters below float64 scores": lambda rng: (
        rng.standard_normal((20, 4)).repeat(20, axis=0) * (1 + 1e-14 * rng.standard_normal((400, 4)))
    ),
    "negative zeros": lambda rng: np.where(rng.random((100, 3)) < 0.5, -0.0, rng.integers(0, 2, (100, 3))),
    "big-endian, not contiguous": lambda rng: gaussian(rng).astype(">f4")[::2, ::3],
}
