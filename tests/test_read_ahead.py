"""Items come in order and once, each made while the one before is in use."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpcgeom.ahead import read_ahead


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


def test_what_was_used_is_let_go_before_the_next_item_is_waited_for():
    class Large:
        pass

    first, may_go_on = Large(), threading.Event()

    def source(item):
        yield item
        del item
        may_go_on.wait()
        yield None

    items = read_ahead(source(first))
    kept = weakref.ref(first)
    assert next(items) is first
    del first
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(next, items)
        deadline = time.monotonic() + 5
        while kept() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        is_gone = kept() is None
        may_go_on.set()
        assert waiting.result() is None
    assert is_gone


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
