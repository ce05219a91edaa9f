"""Counting tokens: what every sample is cut into by a model's encoder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from hpcgeom.catalog.sites import TOKENS_POOLING
from hpcgeom.data.samples import Samples
from hpcgeom.errors import ProblemsError
from hpcgeom.plan.sequences import Sequences
from hpcgeom.stages.contents import Contents

if TYPE_CHECKING:
    from hpcgeom.models import Encoder, Encoding

_ROWS = 1024
"""Samples that are encoded at a time, to be counted."""
_SHOWN = 5


def count_tokens(
    encoder: Encoder, contents: Contents, samples: Samples, *, tokens_are_points: bool
) -> Sequences:
    """Encode all samples and keep their lengths; images are all alike, and only one is looked at.

    Parameters
    ----------
    tokens_are_points
        Whether the places of tokens must be known.

    Raises
    ------
    ProblemsError
        All of: samples that do not suit the model, and those with special tokens between ordinary ones where
        tokens are points.
    """
    if encoder.n_tokens is not None:
        probe = encoder.encode(samples.ids[:1], contents.of(range(1)))[0][0]
        return Sequences.alike(len(samples), len(probe.ids), probe.n_ordinary, n_before(probe))
    counts: list[tuple[int, int, int, int, int]] = []
    problems: list[str] = []
    scattered: list[str] = []
    digest = hashlib.sha256()
    for start in range(0, len(samples), _ROWS):
        rows = range(start, min(start + _ROWS, len(samples)))
        ids = samples.ids[rows.start : rows.stop]
        try:
            encoded = encoder.encode(ids, contents.of(rows))
        except ProblemsError as error:
            problems += error.problems
            continue
        for row, sample, windows in zip(rows, ids, encoded, strict=True):
            tokens = np.concatenate([each.ids[~each.special] for each in windows])
            if row < samples.n_base:  # whether models have the same points is asked of these alone
                digest.update(np.array([len(tokens), *tokens], dtype="<i8").tobytes())
            counts += [
                (row, number, len(each.ids), each.n_ordinary, n_before(each))
                for number, each in enumerate(windows)
            ]
            if any(map(is_scattered, windows)):
                scattered.append(f"'{sample}'")
    if scattered and tokens_are_points:
        problems.append(
            f"{len(scattered)} samples have special tokens between ordinary ones, so that pooling "
            f"'{TOKENS_POOLING}' cannot place their tokens: {', '.join(scattered[:_SHOWN])}"
            f"{', ...' if len(scattered) > _SHOWN else ''}: choose another pooling"
        )
    if problems:
        raise ProblemsError(problems)
    of_sample, window, n_tokens, n_ordinary, before = np.array(counts, dtype=np.int64).T
    return Sequences(
        of_sample, window.astype(np.int32), n_tokens, n_ordinary, before, digest=digest.hexdigest()
    )


def n_before(encoding: Encoding) -> int:
    """Special tokens before the first ordinary one."""
    return int(np.argmin(encoding.special))


def is_scattered(encoding: Encoding) -> bool:
    """Whether special tokens stand between ordinary ones."""
    first = n_before(encoding)
    return bool(encoding.special[first : first + encoding.n_ordinary].any())
