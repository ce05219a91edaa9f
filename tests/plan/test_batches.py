"""Batches: who shares a forward pass, held against a slow and obvious way to form them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcgeom.plan.batches import form_batches, padding_share

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80).map(lambda found: np.array(found, np.int64))
UNIT_ROWS = st.sampled_from([1, 4, 16, 64])
TOKENS = st.integers(1, 400)


def batches_of(lengths, unit_rows, tokens):
    """Batches as lists of rows, in the order of (unit, batch)."""
    unit, batch = form_batches(lengths, unit_rows, tokens)
    found: dict[tuple[int, int], list[int]] = {}
    for row, place in enumerate(zip(unit.tolist(), batch.tolist(), strict=True)):
        found.setdefault(place, []).append(row)
    return dict(sorted(found.items()))


def taken_slowly(lengths, rows, fits):
    """Take the shortest row that is left; begin a batch where the last one would not fit with it."""
    found, left = [[]], list(rows)
    while left:
        row = min(left, key=lambda candidate: (lengths[candidate], candidate))
        left.remove(row)
        if found[-1] and not fits([lengths[r] for r in [*found[-1], row]]):
            found.append([])
        found[-1].append(row)
    return [sorted(part) for part in found]


def share_of_padding(parts, lengths):
    padded = sum(len(part) * max(lengths[row] for row in part) for part in parts)
    return 1 - sum(lengths[row] for part in parts for row in part) / padded


def formed_slowly(lengths, unit_rows, tokens):
    found = []
    for start in range(0, len(lengths), unit_rows):
        rows = range(start, min(start + unit_rows, len(lengths)))
        parts = taken_slowly(lengths, rows, lambda part: len(part) * max(part) <= tokens)
        if share_of_padding(parts, lengths) > 0.05:
            parts = taken_slowly(
                lengths,
                rows,
                lambda part: len(part) * max(part) <= tokens and sum(part) >= 0.95 * len(part) * max(part),
            )
        found += parts
    return found


@given(LENGTHS, UNIT_ROWS, TOKENS)
@example(np.array([5, 5, 5, 5]), 4, 10)
@example(np.array([9, 1]), 4, 3)
def test_batches_are_those_of_a_slow_and_obvious_way(lengths, unit_rows, tokens):
    found = batches_of(lengths, unit_rows, tokens)
    assert list(found.values()) == formed_slowly(lengths.tolist(), unit_rows, tokens)


@given(LENGTHS, UNIT_ROWS, TOKENS)
def test_every_row_is_in_one_batch_of_its_own_unit_within_the_budget(lengths, unit_rows, tokens):
    found = batches_of(lengths, unit_rows, tokens)
    assert sorted(row for rows in found.values() for row in rows) == list(range(len(lengths)))
    for (unit, _), rows in found.items():
        assert {row // unit_rows for row in rows} == {unit}
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= tokens
    for unit in {unit for unit, _ in found}:
        numbers = [batch for other, batch in found if other == unit]
        assert numbers == list(range(len(numbers)))


@given(LENGTHS, UNIT_ROWS, TOKENS)
def test_rows_are_sorted_by_length_and_then_by_row_over_the_batches_of_a_unit(lengths, unit_rows, tokens):
    found = batches_of(lengths, unit_rows, tokens)
    for unit in {unit for unit, _ in found}:
        rows = [row for (other, _), part in found.items() if other == unit for row in part]
        ordered = sorted(rows, key=lambda row: (lengths[row], row))
        sizes = [len(part) for (other, _), part in found.items() if other == unit]
        cuts = np.split(np.array(ordered), np.cumsum(sizes)[:-1])
        parts = [part for (other, _), part in found.items() if other == unit]
        assert [sorted(cut.tolist()) for cut in cuts] == parts


@given(LENGTHS, st.sampled_from([4, 16]), TOKENS, st.data())
def test_the_batches_of_a_unit_depend_on_its_own_rows_alone(lengths, unit_rows, tokens, data):
    unit, batch = form_batches(lengths, unit_rows, tokens)
    for start in range(0, len(lengths), unit_rows):
        rows = slice(start, start + unit_rows)
        alone_unit, alone_batch = form_batches(lengths[rows], unit_rows, tokens)
        assert set(alone_unit) == {0}
        np.testing.assert_array_equal(alone_batch, batch[rows])
        assert set(unit[rows]) == {start // unit_rows}


def test_no_rows_make_no_batches():
    unit, batch = form_batches(np.array([], np.int64), 256, 100)
    assert unit.shape == batch.shape == (0,)
    assert unit.dtype == batch.dtype == np.int32
    assert padding_share(np.array([], np.int64), unit, batch) == 0.0


@given(LENGTHS, UNIT_ROWS, TOKENS)
def test_the_share_of_padding_is_that_of_positions_counted_one_by_one(lengths, unit_rows, tokens):
    unit, batch = form_batches(lengths, unit_rows, tokens)
    computed = real = 0
    for rows in batches_of(lengths, unit_rows, tokens).values():
        longest = max(lengths[row] for row in rows)
        for row in rows:
            computed += longest
            real += lengths[row]
    assert padding_share(lengths, unit, batch) == pytest.approx(1 - real / computed)


@given(
    seed=st.integers(0, 2**32 - 1),
    median=st.floats(5, 400),
    spread=st.floats(0.1, 1.0),
    unit_rows=st.sampled_from([256, 512]),
    tokens_per_row=st.sampled_from([1, 8, 64]),
)
@example(seed=0, median=15.0, spread=0.5, unit_rows=256, tokens_per_row=8)
def test_padding_stays_under_5_percent_for_lengths_as_texts_and_proteins_have(
    seed, median, spread, unit_rows, tokens_per_row
):
    draws = np.random.default_rng(seed).lognormal(np.log(median), spread, 2 * unit_rows + 77)
    lengths = np.clip(np.rint(draws), 3, 1024).astype(np.int64)
    unit, batch = form_batches(lengths, unit_rows, tokens_per_row * unit_rows)
    assert padding_share(lengths, unit, batch) <= 0.05


@given(LENGTHS, UNIT_ROWS, TOKENS)
def test_models_that_cannot_tell_padding_from_tokens_get_batches_of_one_length(lengths, unit_rows, tokens):
    unit, batch = form_batches(lengths, unit_rows, tokens, equal_lengths=True)
    sizes: dict[tuple[int, int, int], int] = {}
    for key in zip(unit.tolist(), batch.tolist(), lengths.tolist(), strict=True):
        sizes[key] = sizes.get(key, 0) + 1
    assert len({key[:2] for key in sizes}) == len(sizes)
    for length in set(lengths.tolist()):
        most = max(tokens // length, 1)
        for one in set(unit.tolist()):
            n_rows = int(((lengths == length) & (unit == one)).sum())
            assert len([key for key in sizes if key[0] == one and key[2] == length]) == -(-n_rows // most)


def test_batches_are_as_large_as_allowed_where_that_pads_little():
    lengths = np.full(256, 100)
    _, batch = form_batches(lengths, 256, 1000)
    assert np.bincount(batch).tolist() == [10] * 25 + [6]
