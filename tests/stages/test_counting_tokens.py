"""Counting what samples are cut into: lengths, places and identity of their tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpcgeom.data.samples import make_samples
from hpcgeom.errors import ProblemsError
from hpcgeom.models import Encoding
from hpcgeom.stages.counting import count_tokens


class Spelled:
    """An encoder of letters: capitals are special tokens, and a space ends a window."""

    n_tokens = None
    pad_id = 0

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def encode(self, ids, contents):
        del ids
        return [[self._window(window) for window in content.split()] for content in contents]

    def _window(self, window: str) -> Encoding:
        codes = np.array([ord(letter) + self.shift * letter.islower() for letter in window], np.int64)
        return Encoding(codes, np.array([letter.isupper() for letter in window]))


class Texts:
    def __init__(self, texts) -> None:
        self.texts = texts

    def of(self, rows):
        return [self.texts[row] for row in rows]


def counted(*texts: str, tokens_are_points: bool = True, shift: int = 0, n_queries: int = 0):
    samples = make_samples([f"s{row}" for row in range(len(texts))], texts)
    samples = replace(samples, n_queries=n_queries)
    return count_tokens(Spelled(shift), Texts(texts), samples, tokens_are_points=tokens_are_points)


def test_every_window_is_counted_with_the_special_tokens_before_its_own():
    found = counted("AaabB Aab", "cdC", "ABef AgB")
    assert found.row.tolist() == [0, 0, 1, 2, 2]
    assert found.window.tolist() == [0, 1, 0, 0, 1]
    assert found.n_tokens.tolist() == [5, 3, 3, 4, 3]
    assert found.n_ordinary.tolist() == [3, 2, 2, 2, 1]
    assert found.n_before.tolist() == [1, 1, 0, 2, 1]
    assert (found.row.dtype, found.window.dtype) == (np.int64, np.int32)


def test_the_digest_is_of_the_ordinary_tokens_of_every_sample_whatever_stands_around_them():
    digest = counted("AabB", "cd").digest
    assert counted("XXab", "Ccd").digest == digest
    assert counted("Aa Ab", "c d").digest == digest  # windows are cut by the model
    assert counted("Aab", "ce").digest != digest
    assert counted("Aabc", "d").digest != digest  # the same tokens, of other samples
    assert counted("AabB", "cd", shift=1).digest != digest  # as many tokens, of another vocabulary


def test_queries_are_counted_but_are_not_in_the_digest_of_the_points():
    found = counted("ab", "cd", "efg", n_queries=1)
    assert found.digest == counted("ab", "cd").digest
    assert found.n_ordinary.tolist() == [2, 2, 3]


def test_special_tokens_between_ordinary_ones_are_refused_where_tokens_are_points():
    texts = ["aBc", "Aab", "dE Fe", "dEEe"]
    assert counted(*texts, tokens_are_points=False).n_ordinary.tolist() == [2, 2, 1, 1, 2]
    with pytest.raises(
        ProblemsError, match=r"2 samples have special tokens between .*'tokens'.*: 's0', 's3': choose another"
    ):
        counted(*texts)


def test_of_samples_that_are_all_alike_one_is_looked_at():
    class Grid(Spelled):
        n_tokens = 5

        def encode(self, ids, contents):
            assert len(ids) == 1
            return super().encode(ids, contents)

    samples = make_samples(["s0", "s1", "s2"], ["Aabcd"] * 3)
    found = count_tokens(Grid(), Texts(samples.texts), samples, tokens_are_points=True)
    assert found.n_tokens.tolist() == [5, 5, 5]
    assert found.n_ordinary.tolist() == [4, 4, 4]
    assert found.position_of_points().tolist() == [1, 2, 3, 4] * 3
    assert found.digest


def test_samples_are_counted_the_same_in_any_number_of_pieces(monkeypatch):
    texts = ["A" + "abcdefg"[: row % 7 + 1] for row in range(50)]
    whole = counted(*texts)
    monkeypatch.setattr("hpcgeom.stages.counting._ROWS", 7)
    pieces = counted(*texts)
    assert pieces.digest == whole.digest
    np.testing.assert_array_equal(pieces.row, whole.row)
    np.testing.assert_array_equal(pieces.n_ordinary, whole.n_ordinary)
