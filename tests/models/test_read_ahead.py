"""Items come in order and once, each made while the one before is in use."""

from __future__ import annotations

import threading

import pytest

from hpcgeom.models import read_ahead


def test_items_are_those_of_the_source():
    assert list(read_ahead(iter(range(100)))) == list(range(100))
    assert list(read_ahead([])) == []
    assert list(read_ahead([None, None])) == [None, None]


def test_the_next_item_is_made_while_one_is_in_use():
    is_made = [threading.Event() for _ in range(3)]

    def source():
        for number, event in enumerate(is_made):
            event.set()
            yield number

    for number in read_ahead(source()):
        if number < 2:
            assert is_made[number + 1].wait(10)
        assert not any(event.is_set() for event in is_made[number + 2 :])


def test_a_failure_comes_in_its_place():
    def source():
        yield 1
        yield 2
        raise KeyError("broken")

    items = read_ahead(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="broken"):
        next(items)


def test_whoever_stops_early_leaves_no_thread():
    before = threading.active_count()
    items = read_ahead(iter(range(10)))
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before
