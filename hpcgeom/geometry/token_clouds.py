"""The tokens of one prompt as a cloud of points: its singular values, and the volume that they span.

Prompts are measured one by one: few tokens in many dimensions, where the Gram matrix is small and neighbors
are too few for an intrinsic dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.rows import Floats, float64_rows
from hpcgeom.types import Points, Status


@dataclass(frozen=True, slots=True)
class CloudSpectrum:
    """One cloud of T tokens in D dimensions.

    Attributes
    ----------
    singular_values
        Float64, descending: of the tokens minus their mean, min(T - 1, D) of them; of the tokens themselves,
        min(T, D). Those below the rounding of the stored numbers are kept as they came out.
    rank
        Singular values above the rounding of the stored numbers, eps |X|_F with the eps of their type.
    log_volume
        sum of log s over the first `rank` singular values, half the logarithm of the product of the Gram
        matrix's eigenvalues that are not zero. For tokens that are not centered and independent, it is the
        logarithm of the volume of the box that they span; for centered ones, that of the simplex with the
        tokens as corners, times (T - 1)! / sqrt(T). Volumes of different `rank` have different units and are
        not comparable: look at `rank` first.
    status
        Why `log_volume` is NaN: ``CONSTANT`` if the rank is zero, ``TOO_FEW_POINTS`` if there is no token, or
        a single centered one.
    """

    singular_values: Floats
    rank: int
    log_volume: float
    status: Status


@dataclass(frozen=True, slots=True)
class CloudSpectra:
    """The clouds of several prompts; arrays of one length P, prompts in ascending order.

    Attributes
    ----------
    prompt, n_tokens, rank
        Shape (P,), int64: the number of the prompt, its tokens, and the rank of its cloud.
    log_volume
        Shape (P,), float64; NaN where undefined.
    singular_values
        Shape (P, S), float64, S that of the prompt with the most; NaN after the last.
    status
        Shape (P,), int8, values of `Status`.
    """

    prompt: npt.NDArray[np.int64]
    n_tokens: npt.NDArray[np.int64]
    rank: npt.NDArray[np.int64]
    log_volume: Floats
    singular_values: Floats
    status: npt.NDArray[np.int8]


def gram_log_volume(tokens: Points, centered: bool = True) -> CloudSpectrum:
    """Singular values and logarithm of the volume of one cloud.

    Parameters
    ----------
    tokens
        Shape (T, D), floating point: the hidden states of one prompt at one layer.
    centered
        Subtract the mean of the tokens: the volume is then the same wherever the cloud lies.

    Returns
    -------
    CloudSpectrum
        Singular values in float64 of the stored numbers; a factor c on all tokens adds rank * log c.

    Raises
    ------
    InputError
        Not floating point of two axes, or a number that is not finite.
    """
    values = float64_rows("tokens", tokens)
    n_tokens, width = values.shape
    n_values = min(n_tokens - 1 if centered else n_tokens, width)
    if n_values < 1:
        return CloudSpectrum(np.empty(0), 0, np.nan, Status.TOO_FEW_POINTS)
    exponent = int(np.frexp(np.abs(values).max())[1])
    values = np.ldexp(values, -exponent)  # squares neither overflow nor vanish
    rounding = float(np.finfo(tokens.dtype).eps) * float(np.sqrt(np.sum(values**2)))
    if centered:
        values = values - values[0]
        values -= values.mean(axis=0)
    singular = np.linalg.svd(values, compute_uv=False)[:n_values]
    rank = int(np.count_nonzero(singular > rounding))
    log_scale = exponent * np.log(2.0)
    return CloudSpectrum(
        singular_values=np.ldexp(singular, exponent),
        rank=rank,
        log_volume=float(np.sum(np.log(singular[:rank]) + log_scale)) if rank else np.nan,
        status=Status.OK if rank else Status.CONSTANT,
    )


def prompt_volumes(tokens: Points, prompts: npt.NDArray[np.integer], centered: bool = True) -> CloudSpectra:
    """`gram_log_volume` of each prompt's cloud at one layer.

    Parameters
    ----------
    tokens
        Shape (P_tokens, D), floating point: the tokens of all prompts.
    prompts
        Shape (P_tokens,), integers: the prompt that each token belongs to, in any order.
    centered
        As for `gram_log_volume`.

    Returns
    -------
    CloudSpectra

    Raises
    ------
    InputError
        As for `gram_log_volume`, or `prompts` that are not one integer for each token.
    """
    is_integer = isinstance(prompts, np.ndarray) and np.issubdtype(prompts.dtype, np.integer)
    if not is_integer or prompts.shape != (len(tokens),):
        found = (
            f"{getattr(prompts, 'dtype', type(prompts).__name__)} of shape {getattr(prompts, 'shape', '?')}"
        )
        raise InputError(
            f"prompts: expected integers of shape ({len(tokens)},), found {found}; "
            f"pass the number of its prompt for each token"
        )
    numbers, n_tokens = np.unique(prompts, return_counts=True)
    order = np.argsort(prompts, kind="stable")
    rows = np.split(order, np.cumsum(n_tokens)[:-1]) if numbers.size else []
    clouds = [gram_log_volume(tokens[own], centered) for own in rows]
    longest = max((cloud.singular_values.size for cloud in clouds), default=0)
    singular_values = np.full((len(clouds), longest), np.nan)
    for row, cloud in zip(singular_values, clouds, strict=True):
        row[: cloud.singular_values.size] = cloud.singular_values
    return CloudSpectra(
        prompt=numbers.astype(np.int64),
        n_tokens=n_tokens.astype(np.int64),
        rank=np.array([cloud.rank for cloud in clouds], dtype=np.int64),
        log_volume=np.array([cloud.log_volume for cloud in clouds], dtype=np.float64),
        singular_values=singular_values,
        status=np.array([cloud.status for cloud in clouds], dtype=np.int8),
    )
