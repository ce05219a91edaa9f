r"""How far a proposed squared distance can be from the true one: the bound behind the certificate.

Notation: u is the unit roundoff of the proposals (2^-24 in float32), gamma_n = n u / (1 - n u), D the number
of features, w the smallest normal number, which bounds the absolute error of one underflow (even when
subnormals are flushed). Stored rows are centered by m and scaled by a power of two, so that no norm exceeds 1
by more than rounding. Call X_i the exact centered and scaled row, y_i the rounded one, a_i = \|y_i\|,
delta_ij = \|X_i - X_j\| and s_ij the proposed squared distance.

1. Rounding of rows. One subtraction and one scaling in float64 and one rounding to the precision of the
   proposals give \|y_i - X_i\| <= 1.01 u a_i + sqrt(D) w, so \|y_i - y_j\| and delta_ij differ by at most
   1.01 u (a_i + a_j) + 2 sqrt(D) w.
2. Proposals. A dot product of length D, in any order of summation and with or without fused operations, errs
   by at most gamma_D \|x\| \|y\| + D w (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
   Two norms, one product and the two operations that join them give \|s_ij - \|y_i - y_j\|^2\| <= gamma_{D+3}
   (a_i + a_j)^2 + 8 D w. Setting negative values to 0 only helps, since the truth is not negative. Where
   faiss sums squared differences directly (few queries), the error is at most gamma_{D+2} \|y_i - y_j\|^2 + D
   w, which is smaller.
3. Both: \|s_ij - delta_ij^2\| <= gamma_{D+8} (a_i + a_j)^2 + 64 D w.
4. Locality. If delta_ij <= d, then a_j <= a_i + d up to the same roundings, so a_i + a_j <= (2 a_i + d)(1 + 3
   u) + 4 sqrt(D) w. Hence

       delta_ij <= d   implies   s_ij <= d^2 + c (2 a_i + d)^2 + t,     c = (1 + 2^-10) gamma_{D+16},   t = 64
       D w.

The right side is the *limit* of row i at distance d (``kernels.score_limit``). It depends on row i and on d
alone: an outlier far away widens nobody's limit but its own. Read backwards, a row whose score is above the
limit is farther away than d: such a candidate need not be measured, and a row that was not proposed, whose
score is at least the largest proposed one, is no neighbor.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpcgeom.errors import InputError

LARGEST_N_FEATURES = 2**22
"""Up to here gamma_D of float32 is below 1/3 and the float64 distances are right to 2^-29."""


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """Of proposed squared distances of rows whose norm is at most 1.

    Attributes
    ----------
    relative
        c in ``c (2 a + d)^2 + t``.
    absolute
        t, for underflow.
    """

    relative: float
    absolute: float


def float32_bound(n_features: int) -> ErrorBound:
    """Bound for proposals computed in float32.

    Raises
    ------
    InputError
        If there are more features than the proof covers.
    """
    return _bound(n_features, unit_roundoff=2.0**-24, smallest_normal=2.0**-126)


def float64_bound(n_features: int) -> ErrorBound:
    """Bound for squared distances from a float64 matrix product; raises as `float32_bound`."""
    return _bound(n_features, unit_roundoff=2.0**-53, smallest_normal=2.0**-1022)


def _bound(n_features: int, *, unit_roundoff: float, smallest_normal: float) -> ErrorBound:
    if n_features > LARGEST_N_FEATURES:
        raise InputError(
            f"points have {n_features} features, and exactness is proven up to {LARGEST_N_FEATURES}: "
            "pool or project the features first"
        )
    n_roundings = (n_features + 16) * unit_roundoff
    gamma = n_roundings / (1.0 - n_roundings)
    return ErrorBound(relative=(1.0 + 2.0**-10) * gamma, absolute=64.0 * n_features * smallest_normal)
