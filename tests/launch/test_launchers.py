"""Calling functions in this process and on Dask workers, some of which die."""

from __future__ import annotations

import time

import launched_functions as functions
import pytest
from distributed import Client

from hpcgeom.errors import InputError, ResourceError
from hpcgeom.launch import dask_common, dask_local, inline


def test_inline_calls_one_after_the_other_in_order():
    found = []
    inline.run(functions.square, range(4), found.append)
    assert found == [0, 1, 4, 9]


def test_inline_hands_over_each_result_before_the_next_call():
    def calls():
        for number in range(3):
            assert len(found) == number
            yield number

    found = []
    inline.run(functions.square, calls(), found.append)
    assert len(found) == 3


@pytest.fixture(scope="module")
def client():
    with dask_local.cluster(2) as found:
        yield found


def on_lost_never(argument, error):
    raise AssertionError((argument, error))


def test_workers_give_every_result_once_in_any_order(client):
    found = []
    dask_local.run(client, functions.square, range(40), found.append, on_lost_never)
    assert sorted(found) == [number * number for number in range(40)]


def test_equal_arguments_are_separate_calls(client):
    found = []
    dask_local.run(client, functions.square, [5, 5, 5], found.append, on_lost_never)
    assert found == [25, 25, 25]


def test_an_exception_is_handed_over_with_its_argument_and_the_others_go_on(client):
    found, lost = [], []
    dask_local.run(
        client, functions.refuse_three, range(6), found.append, lambda a, e: lost.append((a, str(e)))
    )
    assert sorted(found) == [0, 1, 2, 4, 5]
    assert lost == [(3, "3 is not wanted")]


def test_a_call_that_always_kills_its_worker_is_given_up_and_the_others_go_on(client):
    scheduler = client.cluster.scheduler
    before, scheduler.allowed_failures = scheduler.allowed_failures, 0
    found, lost = [], []
    dask_local.run(
        client,
        functions.die_on_seven,
        range(12),
        found.append,
        lambda a, e: lost.append((a, type(e).__name__)),
    )
    scheduler.allowed_failures = before
    assert sorted(found) == [number for number in range(12) if number != 7]
    assert lost == [(7, "KilledWorker")]


def test_once_told_to_stop_calls_that_have_begun_end_and_the_others_are_never_made(client, tmp_path):
    calls = [(str(tmp_path), 0.2, number) for number in range(40)]
    found = []
    dask_local.run(
        client, functions.touch_and_sleep, calls, found.append, on_lost_never, stop=lambda: len(found) >= 4
    )
    assert 4 <= len(found) <= 8
    time.sleep(0.5)
    begun = {int(path.name) for path in tmp_path.iterdir()}
    assert set(found) <= begun
    assert len(begun) <= len(found) + 2  # one on each worker may begin while it is told to stop


def test_a_call_that_is_on_its_way_when_it_is_told_to_stop_is_waited_for(client):
    begun, found = time.monotonic(), []
    dask_local.run(
        client,
        functions.sleep_and_say,
        [(1.5, number) for number in range(6)],
        found.append,
        on_lost_never,
        stop=lambda: time.monotonic() - begun > 0.5,
    )
    assert 1 <= len(found) < 6
    assert time.monotonic() - begun < 4.0


def test_where_it_is_told_to_stop_before_it_begins_nothing_is_called(client, tmp_path):
    calls = [(str(tmp_path), 0.0, number) for number in range(3)]
    dask_local.run(client, functions.touch_and_sleep, calls, on_lost_never, on_lost_never, stop=lambda: True)
    time.sleep(0.3)
    assert not list(tmp_path.iterdir())


def test_connections_need_a_certificate_and_nothing_is_served_over_http(client):
    import urllib.error
    import urllib.request

    assert client.scheduler.address.startswith("tls://127.0.0.1")
    server = client.cluster.scheduler.http_server
    assert server.address == "127.0.0.1"
    for page in ("", "status", "info/main/workers.html", "json/identity.json", "metrics"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/{page}")
    with (
        pytest.raises(OSError, match=r"TLS|Timed out|[Cc]onnect|closed"),
        Client(client.scheduler.address.replace("tls", "tcp"), timeout=1),
    ):
        pass


def test_two_clusters_can_be_on_one_machine(client):
    with dask_local.cluster(1) as other:
        found = []
        dask_local.run(other, functions.square, [3], found.append, on_lost_never)
    assert found == [9]


def test_workers_that_do_not_start_are_a_resource_error(monkeypatch):
    monkeypatch.setitem(dask_local._CONFIG, "distributed.worker.preload", ["no_such_module"])
    with (
        pytest.raises(ResourceError, match=r"1 worker processes did not start \(RuntimeError: .*fewer"),
        dask_local.cluster(1),
    ):
        pass


def test_workers_that_are_never_seen_are_a_resource_error(monkeypatch):
    def never(client, n_workers, timeout):
        raise TimeoutError(f"only 0/{n_workers} workers arrived after {timeout} s")

    monkeypatch.setattr(Client, "wait_for_workers", never)
    with (
        pytest.raises(
            ResourceError, match=r"did not start \(TimeoutError: only 0/1 workers arrived after 120 s"
        ),
        dask_local.cluster(1),
    ):
        pass


def test_the_address_for_other_nodes_is_that_of_the_name_of_this_one(monkeypatch):
    monkeypatch.setattr("socket.gethostbyname", lambda name: "10.7.7.7")
    assert dask_common.node_address(None, is_alone=False) == "10.7.7.7"
    assert dask_common.node_address(None, is_alone=True) == "127.0.0.1"


def test_where_the_name_is_that_of_the_loopback_interface_the_default_route_counts(monkeypatch):
    # As Debian writes it to /etc/hosts.
    monkeypatch.setattr("socket.gethostbyname", lambda name: "127.0.1.1")
    monkeypatch.setattr("hpcgeom.addresses._of_default_route", lambda: "10.8.8.8")
    assert dask_common.node_address(None, is_alone=False) == "10.8.8.8"


def test_an_interface_has_its_own_address():
    assert dask_common.node_address("lo", is_alone=False) == "127.0.0.1"
    with pytest.raises(InputError, match=r"dask: interface: 'ib7' is no network interface of .*IPv4.*'lo'"):
        dask_common.node_address("ib7", is_alone=False)
