"""The logit lens as numbers: how the prediction of a causal language model takes shape over its layers.

The head is applied to the hidden states after every layer (nostalgebraist, "interpreting GPT: the logit
lens", 2020); p_l is its distribution after layer l, and L is the last layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError

Floats = npt.NDArray[np.float64]


class Layers(Protocol):
    """One array (positions, features) for each layer: an array of three axes, a list, or an array on disk."""

    def __len__(self) -> int:
        """Number of layers."""
        ...

    def __getitem__(self, layer: int, /) -> npt.NDArray[np.floating[Any]]:
        """Shape (n, V): one layer, whatever the type on disk; it is read when it is its turn."""
        ...


@dataclass(frozen=True, slots=True)
class LensEvolution:
    """What the head would say after each layer; arrays of shape (L, n), float64, in nats.

    Attributes
    ----------
    kl_to_last
        KL(p_L || p_l) = sum p_L log(p_L / p_l): what is lost if p_l is taken for the model's prediction; 0 at
        the last layer, infinite where p_l rules out a token that p_L does not.
    kl_from_last
        KL(p_l || p_L), the reverse: what is lost if p_L is taken for p_l. Both are 0 where rounding alone
        would make them negative.
    entropy
        -sum p_l log p_l.
    cosine_to_last
        Of the hidden states with those of the last layer (`cosine_to_last`); NaN if they were not given.
    top_token, top_probability
        Shape (L, n, n_top), int64 and float64: the most probable tokens in descending order; of equal logits
        the smaller number first.
    """

    kl_to_last: Floats
    kl_from_last: Floats
    entropy: Floats
    cosine_to_last: Floats
    top_token: npt.NDArray[np.int64]
    top_probability: Floats


def logit_lens_evolution(logits: Layers, states: Layers | None = None, n_top: int = 10) -> LensEvolution:
    """Divergences from the last layer, entropies and most probable tokens of every layer and position.

    Parameters
    ----------
    logits
        L arrays (n, V), floating point: what the head gives after each layer, up to a constant for each
        position (logits or logarithms of probabilities); -inf is a token that is ruled out. One layer and the
        last are held in float64 at a time.
    states
        L arrays (n, D), floating point: the hidden states themselves, as the head reads them.
    n_top
        Tokens kept, at least 1; all V if V is less.

    Returns
    -------
    LensEvolution

    Raises
    ------
    InputError
        No layer, layers of different shapes, NaN or inf, a position all of whose tokens are ruled out, or
        `n_top` below 1.
    """
    if n_top < 1:
        raise InputError(f"n_top: expected 1 or more, found {n_top}; 10 is usual")
    n_layers = _n_layers("logits", logits)
    last = _log_softmax(_layer("logits", logits, n_layers - 1, None))
    n_positions, n_tokens = last.shape
    cosine = np.full((n_layers, n_positions), np.nan)
    if states is not None:
        cosine = cosine_to_last(states)
        if cosine.shape != (n_layers, n_positions):
            raise InputError(
                f"states: expected {n_layers} layers of {n_positions} positions as the logits have, found "
                f"{cosine.shape[0]} of {cosine.shape[1]}; pass both of one forward pass"
            )
    kl_to_last, kl_from_last, entropy = np.empty((3, n_layers, n_positions))
    n_kept = min(n_top, n_tokens)
    top_token = np.empty((n_layers, n_positions, n_kept), dtype=np.int64)
    top_probability = np.empty((n_layers, n_positions, n_kept))
    for layer in range(n_layers):
        values = _layer("logits", logits, layer, last.shape)
        log_p = _log_softmax(values)
        kl_to_last[layer] = _divergence(last, log_p)
        kl_from_last[layer] = _divergence(log_p, last)
        entropy[layer] = -_mean_of(log_p, log_p)
        top_token[layer] = _top(values, n_kept)
        top_probability[layer] = np.exp(np.take_along_axis(log_p, top_token[layer], axis=1))
    return LensEvolution(kl_to_last, kl_from_last, entropy, cosine, top_token, top_probability)


def cosine_to_last(states: Layers) -> Floats:
    """Cosine of each position's hidden state with that of the last layer.

    Parameters
    ----------
    states
        L arrays (n, D), floating point.

    Returns
    -------
    ndarray
        Shape (L, n), float64; NaN where a state is the origin, which has no direction.

    Raises
    ------
    InputError
        No layer, layers of different shapes, or numbers that are not finite.
    """
    n_layers = _n_layers("states", states)
    last = _directions(_layer("states", states, n_layers - 1, None))
    cosines = [
        np.sum(_directions(_layer("states", states, layer, last.shape)) * last, axis=1)
        for layer in range(n_layers)
    ]
    return np.asarray(np.clip(np.stack(cosines), -1.0, 1.0))  # rounding alone leads outside


def _n_layers(name: str, layers: Layers) -> int:
    if len(layers) == 0:
        raise InputError(f"{name}: expected 1 layer or more, found none; pass an array for each layer")
    return len(layers)


def _layer(name: str, layers: Layers, layer: int, shape: tuple[int, ...] | None) -> Floats:
    """One layer in float64; -inf is allowed in logits alone."""
    values = np.asarray(layers[layer])
    expected = "(positions, features)" if shape is None else f"{shape}"
    is_float = np.issubdtype(values.dtype, np.floating)
    fits = values.shape == shape if shape is not None else values.ndim == 2 and values.shape[1] > 0
    if not is_float or not fits:
        raise InputError(
            f"{name}: layer {layer} is {values.dtype} of shape {values.shape}, expected floating point of "
            f"shape {expected} in all layers; pass one array (positions, features) for each"
        )
    wrong = np.isnan(values) | (np.isposinf(values) if name == "logits" else np.isinf(values))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"{name}: layer {layer}, position {row}, feature {column} is {values[row, column]}, expected a "
            f"finite number; run the model in a type of a larger range"
        )
    return np.asarray(values, dtype=np.float64)


def _log_softmax(logits: Floats) -> Floats:
    largest = logits.max(axis=1, keepdims=True)
    if np.isneginf(largest).any():
        row = int(np.argmax(np.isneginf(largest)))
        raise InputError(
            f"logits: position {row} rules out every token (-inf), expected a finite logit at least; "
            f"leave that position out"
        )
    shifted = logits - largest
    return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True)))


def _mean_of(log_p: Floats, values: Floats) -> Floats:
    """Shape (n,): the mean of `values` over p; what p rules out does not count, whatever its value."""
    return np.asarray(np.sum(np.exp(log_p) * np.where(np.isneginf(log_p), 0.0, values), axis=1))


def _divergence(log_p: Floats, log_q: Floats) -> Floats:
    """KL(p || q), at least 0: rounding alone leads below."""
    ruled_out = np.isneginf(log_p)
    difference = np.subtract(log_p, log_q, out=np.zeros_like(log_p), where=~ruled_out)
    return np.maximum(_mean_of(log_p, difference), 0.0)


def _top(logits: Floats, n_top: int) -> npt.NDArray[np.int64]:
    """Shape (n, n_top): the tokens of the largest logits; of equal ones the smaller number first."""
    return np.array(list(_top_rows(logits, n_top)), dtype=np.int64).reshape(len(logits), n_top)


def _top_rows(logits: Floats, n_top: int) -> Iterator[npt.NDArray[np.intp]]:
    for row in logits:
        least = np.partition(row, row.size - n_top)[row.size - n_top]
        candidates = np.flatnonzero(row >= least)
        yield candidates[np.argsort(-row[candidates], kind="stable")][:n_top]


def _directions(states: Floats) -> Floats:
    """Rows of length one; NaN for the origin."""
    peak = np.abs(states).max(axis=1, keepdims=True)
    relative = np.divide(states, peak, out=np.full_like(states, np.nan), where=peak > 0.0)
    return np.asarray(relative / np.sqrt(np.sum(relative**2, axis=1, keepdims=True)))
