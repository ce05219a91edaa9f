"""Points of samples in windows, against pooling over all of their tokens at once."""

from __future__ import annotations

import numpy as np
import pytest

from hpcgeom.errors import InputError
from hpcgeom.models import Window, merge_windows

TOKENS = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)  # (layer, token, feature)
PARTS = [(0, 4), (4, 8), (8, 9)]


def windows(of_part) -> list[Window]:
    return [Window(of_part(TOKENS[:, a:b]), b - a, b - a) for a, b in PARTS]


@pytest.mark.parametrize(
    ("pooling", "of_part", "expected"),
    [
        ("mean", lambda x: x.mean(axis=1), TOKENS.astype(np.float64).mean(axis=1)),
        ("mean_all", lambda x: x.mean(axis=1), TOKENS.astype(np.float64).mean(axis=1)),
        ("max", lambda x: x.max(axis=1), TOKENS.max(axis=1)),
        ("first", lambda x: x[:, 0], TOKENS[:, 0]),
        ("token:1", lambda x: x[:, min(1, x.shape[1] - 1)], TOKENS[:, 1]),
        ("last", lambda x: x[:, -1], TOKENS[:, -1]),
        ("token:-1", lambda x: x[:, -1], TOKENS[:, -1]),
        ("tokens", lambda x: x, TOKENS),
    ],
)
def test_a_point_is_that_of_all_tokens_together(pooling, of_part, expected):
    found = merge_windows(windows(of_part), pooling)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_mean_of_all_counts_special_tokens_and_the_mean_does_not():
    parts = [Window(np.zeros((1, 1), np.float32), 3, 4), Window(np.ones((1, 1), np.float32), 1, 4)]
    assert merge_windows(parts, "mean").item() == 0.25
    assert merge_windows(parts, "mean_all").item() == 0.5


def test_a_spread_cannot_be_put_together():
    with pytest.raises(InputError, match="pooling 'std' of samples in windows: read 'mean'"):
        merge_windows(windows(lambda x: x.std(axis=1)), "std")
