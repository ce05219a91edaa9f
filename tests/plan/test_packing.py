"""Units dealt out to jobs, and their numbers as text, held against lists of numbers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcgeom.errors import InputError
from hpcgeom.plan.packing import MAX_RANGE, pack, share, spread, unpack

UNITS = st.lists(st.integers(0, 10**6), unique=True, max_size=200).map(sorted)
COUNT = st.integers(1, 50)


@given(UNITS, COUNT)
def test_units_are_spread_once_each_in_order_and_evenly(units, jobs):
    parts = spread(units, jobs)
    assert [unit for part in parts for unit in part] == units
    assert len(parts) == min(jobs, len(units))
    sizes = [len(part) for part in parts]
    assert not sizes or (max(sizes) - min(sizes) <= 1 and min(sizes) >= 1)


@given(UNITS, COUNT, COUNT)
def test_jobs_of_a_fixed_size_are_full_but_the_last(units, jobs, size):
    parts = spread(units, jobs, size)
    assert [unit for part in parts for unit in part] == units
    assert all(len(part) == size for part in parts[:-1])
    assert not parts or 1 <= len(parts[-1]) <= size


def test_some_numbers_are_spread_as_one_would_by_hand():
    assert spread([3, 4, 5, 9, 10], 2) == [[3, 4], [5, 9, 10]]
    assert spread([3, 4, 5, 9, 10], 8, 2) == [[3, 4], [5, 9], [10]]
    assert spread([], 4) == spread([], 4, 2) == []


@given(UNITS.filter(bool))
def test_packed_numbers_are_unpacked(units):
    text = pack(units)
    assert unpack(text) == units
    assert re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text)
    assert text.count(",") + 1 == sum(unit - 1 not in set(units) for unit in units), "no two ranges touch"


@given(st.lists(st.integers(0, 10**6), max_size=50))
def test_the_order_and_repetitions_do_not_matter_to_the_text(units):
    assert pack(units) == pack(sorted(set(units)))


def test_ranges_are_written_with_their_ends():
    assert pack([7, 0, 1, 2, 3]) == "0-3,7"
    assert pack([5]) == "5"
    assert pack([4, 5]) == "4-5"
    assert pack([]) == ""


@given(UNITS, st.integers(1, 20))
def test_shares_are_a_partition(units, n):
    shares = [share(units, f"{i}/{n}") for i in range(n)]
    assert sorted(unit for part in shares for unit in part) == units
    sizes = [len(part) for part in shares]
    assert max(sizes) - min(sizes) <= 1
    assert shares == [[unit for at, unit in enumerate(units) if at % n == i] for i in range(n)]


@pytest.mark.parametrize(
    "text", ["", "1", "/", "1/", "/2", "2/2", "3/2", "0/0", "-1/2", "a/b", "0/2/3", " 0/2", "1.0/2",
             "0/1" + "0" * 20, "½/2", "slurm"]
)  # fmt: skip
def test_other_shares_are_refused(text):
    message = f"--share '{text}': expected I/N with I from 0 to N-1, such as 0/8: correct it"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        share([1, 2], text)


@pytest.mark.parametrize("text", ["3-2", f"0-{MAX_RANGE}", "0-999999999"])
def test_ranges_that_are_empty_or_without_end_are_refused(text):
    message = f"--indices '{text}': expected 1 to {MAX_RANGE} numbers in a range, found '{text}': correct it"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        unpack(text)
    assert len(unpack(f"1-{MAX_RANGE}")) == MAX_RANGE
