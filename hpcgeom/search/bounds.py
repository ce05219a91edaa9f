r"""How far a score can be from the true squared distance: the bound behind the certificate.

Notation: u is the unit roundoff of sums (2^-24 in float32), v that of the rounded rows (u, or 2^-11 and 2^-8
where tiles are multiplied in half precision), gamma_n = n u / (1 - n u), D the number of features, w the
smallest normal number, which bounds the absolute error of one underflow. Stored rows are centered by m and
scaled by a power of two, so that no norm exceeds 1 by more than rounding. Call X_i the exact centered and
scaled row, y_i the rounded one, a_i = \|y_i\|, delta_ij = \|X_i - X_j\| and s_ij the score.

1. Rounding of rows. \|y_i - X_i\| <= 1.01 v a_i + sqrt(D) w, so \|y_i - y_j\| and delta_ij differ by at most
   1.01 v (a_i + a_j) + 2 sqrt(D) w. Where what rounding took was measured, v is the largest
   (\|y_i - X_i\| - sqrt(D) w) / a_i, which for bfloat16 is about half of 2^-8. Rows in float16 are multiplied
   by powers of two of their own, which bring their largest magnitude above 2^13, before they are rounded:
   what underflows then is below 2^-37 sqrt(D) a_i, within the 1.01; the powers are taken out of the product,
   which is exact or underflows by w. Instructions for bfloat16 may take a denormal factor for zero, which
   takes less than w from a product.
2. Scores. A dot product of length D, in any order of summation and with or without fused operations, errs
   by at most gamma_D \|x\| \|y\| + D w (Higham, Accuracy and Stability of Numerical Algorithms, section
   3.1). Two norms, one product, the operations that join them and the rounding of the result give
   \|s_ij - \|y_i - y_j\|^2\| <= gamma_{D+3} (a_i + a_j)^2 + 8 D w, where the squares of the norms may have
   been rounded, and joined to the product by two additions, in float32: each of these four roundings is of
   something below (a_i + a_j)^2. A sum of D squared differences errs by no more.
   The product enters twice, and 2 a_i a_j <= (a_i + a_j)^2 / 2, so that gamma_D / 2 + gamma_8 is enough
   where a product is taken.
   Tensor cores have no roundings of u: products are exact, and b >= 4 of them and the sum so far are aligned
   to the largest, cut off at 2^-23 of it or finer, added, and cut off again (Fasi, Higham, Mikaitis and
   Pranesh, PeerJ Computer Science 7:e330, 2021). That is at most (b + 2) 2^-23 <= 3 b u of the sum of
   magnitudes for b products; partial sums that are added in the end stay within 4 u for each product.
3. Locality. If delta_ij <= d, then a_j <= a_i + d up to the roundings of 1, so a_i + a_j <= (2 a_i + d)(1 +
   3 v) + 4 sqrt(D) w.

With reach = 2 a_i + d, the constants p of rounding, g of products, q and t of underflow, all three give

    delta_ij <= d   implies   s_ij <= (d + p reach + q)^2 + g reach^2 + t.

The right side is the *limit* of row i at distance d (`compiled.score_limit`). It depends on row i and on d
alone: an outlier far away widens nobody's limit but its own. Read backwards, a row whose score is above the
limit is farther away than d. And (`compiled.farthest`) a row j whose score is s is at most as far as the
largest delta with

    (delta - p reach - q)^2 - g reach^2 - t <= s,   reach = 2 a_i + delta.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpcgeom.errors import InputError

LARGEST_N_FEATURES = 2**22
"""Up to here gamma_D of float32 is below 1/3 and the float64 distances are right to 2^-29."""
LARGEST_N_FEATURES_OF_HALF = 2**18
"""The same for tiles in half precision, whose bounds must stay small to be of use."""
ROUNDOFF = 2.0**-24
"""Of float32 sums, u of this module."""
TENSOR_CORE_ROUNDOFF = 2.0**-22
"""Stands for it where tensor cores sum."""


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """Of scores of rows whose norm is at most 1: p, q, g and t of this module.

    Attributes
    ----------
    rounding, underflow
        Of the rounded rows, relative to their norms and absolute.
    relative, absolute
        Of the squared distance between rounded rows, relative to the squared reach and absolute.
    """

    rounding: float
    underflow: float
    relative: float
    absolute: float

    @property
    def constants(self) -> tuple[float, float, float, float]:
        """p, q, g and t, for compiled loops."""
        return self.rounding, self.underflow, self.relative, self.absolute


def float32_bound(n_features: int) -> ErrorBound:
    """Bound for scores of rows rounded to float32, multiplied in float32, or subtracted.

    Raises
    ------
    InputError
        If there are more features than the proof covers.
    """
    return _bound(n_features, row_roundoff=ROUNDOFF, row_underflow=2.0**-126, sum_roundoff=ROUNDOFF)


def float64_bound(n_features: int) -> ErrorBound:
    """Bound for scores from a float64 matrix product; raises as `float32_bound`."""
    return _bound(
        n_features,
        row_roundoff=2.0**-53,
        row_underflow=2.0**-1022,
        sum_roundoff=2.0**-53,
        sum_underflow=2.0**-1022,
    )


def half_bound(
    n_features: int, dtype: str, sum_roundoff: float = ROUNDOFF, row_roundoff: float | None = None
) -> ErrorBound:
    """Bound for rows rounded to half precision, whose products are summed in float32.

    Parameters
    ----------
    dtype
        ``bfloat16``, or ``float16`` with a power of two for each row.
    sum_roundoff
        `ROUNDOFF`, or `TENSOR_CORE_ROUNDOFF`.
    row_roundoff
        Largest norm of what rounding took from a row, but for underflow, over the row's norm, where it was
        measured; None for the most that the dtype can take.

    Raises
    ------
    InputError
        If there are more features than the proof covers.
    """
    if n_features > LARGEST_N_FEATURES_OF_HALF:
        raise InputError(
            f"points have {n_features} features, and exactness in {dtype} is proven up to "
            f"{LARGEST_N_FEATURES_OF_HALF}: choose the kernel float32"
        )
    most = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
    return _bound(
        n_features,
        row_roundoff=most if row_roundoff is None else min(max(row_roundoff, ROUNDOFF), most),
        row_underflow=2.0**-126,
        sum_roundoff=sum_roundoff,
        product_share=0.5,
    )


def _bound(
    n_features: int,
    *,
    row_roundoff: float,
    row_underflow: float,
    sum_roundoff: float,
    sum_underflow: float = 2.0**-126,
    product_share: float = 1.0,
) -> ErrorBound:
    if n_features > LARGEST_N_FEATURES:
        raise InputError(
            f"points have {n_features} features, and exactness is proven up to {LARGEST_N_FEATURES}: "
            "pool or project the features first"
        )
    gamma = (product_share * n_features + 8) * sum_roundoff / (1.0 - (n_features + 8) * sum_roundoff)
    # Reach stands for a_i + a_j, which step 3 bounds by it up to a factor of 1 + 3 v.
    slack = (1.0 + 2.0**-10) * (1.0 + 4.0 * row_roundoff) ** 2
    underflow = 8.0 * n_features**0.5 * row_underflow
    relative = gamma * slack
    absolute = 64.0 * n_features * sum_underflow + 4.0 * underflow**2 + 16.0 * relative * underflow
    return ErrorBound(1.02 * row_roundoff * slack, underflow, relative, absolute)
