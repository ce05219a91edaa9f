"""Predictions of scaling: counts against real searches, schedules against those done by hand, the page."""

import dataclasses
import heapq
import json
import subprocess
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest

from hpcgeom.search import ArrayRows, Settings, merge_rows, pairs_of_blocks, propose_pair, scan_points
from hpcgeom.search.candidates import capacity

BENCH = Path(__file__).parents[2] / "tools" / "bench"
RATES = {
    "product_flops_per_s": 1e9, "element_s": 1e-9, "appended_s": 1e-9, "measured_s": 1e-9, "audited_s": 1e-9,
    "scanned_bytes_per_s": 1e9, "rounded_bytes_per_s": 1e9, "read_bytes_per_s": 1e9, "poured_s": 1e-9,
    "kept_of_k": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _bench_is_importable():
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def model(_bench_is_importable):
    import search_model

    return search_model


@pytest.fixture(scope="module")
def scaling(_bench_is_importable):
    import scaling

    return scaling


class CountedRows(ArrayRows):
    """Counts the bytes that are read."""

    n_bytes = 0

    def read(self, start, stop):
        rows = super().read(start, stop)
        self.n_bytes += rows.nbytes
        return rows


def read_by(source, work):
    """Bytes that some work reads, and what it gives."""
    before = source.n_bytes
    given = work()
    return source.n_bytes - before, given


def test_pairs_and_merges_read_and_leave_the_bytes_that_are_predicted(model):
    n, d, k, tile_rows, n_blocks, n_merged = 512, 16, 8, 32, 2, 128
    points = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    source = CountedRows(points)
    work = 2 * (n / n_blocks) ** 2 * d
    search = model.Search(n, d, k, work, tile_rows, 64)
    assert search.n_blocks == n_blocks
    scanned = scan_points(source, Settings(k, tile_rows=tile_rows))
    partials = {
        pair: read_by(source, lambda pair=pair: propose_pair(scanned, *pair, n_blocks))
        for pair in pairs_of_blocks(n_blocks)
    }
    kept = sum(len(arrays["first_keys"]) for _, arrays in partials.values())
    kept += sum(len(arrays.get("second_keys", ())) for _, arrays in partials.values())
    rates = RATES | {"kept_of_k": kept / (n * n_blocks * k)}
    machine = model.Machine(1, inf, 0.0, 1)
    left = {pair: sum(array.nbytes for array in arrays.values()) for pair, (_, arrays) in partials.items()}
    assert sum(left.values()) == pytest.approx(search.partial_bytes(rates), rel=0.01)
    predicted = [model._pair(search, machine, rates, 3, same=same).file_bytes for same in (True, False)]
    assert partials[0, 0][0] + left[0, 0] == pytest.approx(predicted[0], rel=0.01)
    assert partials[0, 1][0] + left[0, 1] == pytest.approx(predicted[1], rel=0.01)

    # A merge reads the sides of its block once, as the stage does; here its tiles are those of a pair.
    sides = {}

    class Sides(dict):
        def __init__(self, *pair):
            self.pair = pair

        def __missing__(self, name):
            sides[self.pair, name] = partials[self.pair][1][name].nbytes
            return partials[self.pair][1][name]

    merged, _ = read_by(source, lambda: list(merge_rows(scanned, 0, n_merged, n_blocks, Sides)[0]))
    as_built = dataclasses.replace(search, merge_tile_rows=None)
    expected = model._merge(as_built, machine, rates, inf, n_merged).file_bytes
    expected -= n_merged * d * 4  # of tiles that are those of all rows, the rows are at hand
    assert merged + sum(sides.values()) + n_merged * (12 * k + 4) == pytest.approx(expected, rel=0.01)


def test_lists_take_as_many_candidates_as_is_predicted(model):
    k, n_rows, taken = 16, 4000, []
    rng = np.random.default_rng(0)
    for _ in range(30):
        of_all = rng.random(n_rows)
        scores = heapq.nsmallest(k, of_all[:1024])  # the first panel gives a threshold before any enter
        n_taken, threshold = k, scores[-1]
        for score in of_all[1024:]:
            if score < threshold:
                scores.append(score)
                n_taken += 1
                if len(scores) == capacity(k):
                    scores = heapq.nsmallest(k, scores)
                    threshold = scores[-1]
        taken.append(n_taken)
    assert model.n_appended(n_rows, k) == pytest.approx(np.mean(taken), rel=0.15)
    assert model.n_appended(10, k) == 10


@pytest.mark.parametrize(
    ("n_rows", "n_blocks"), [(11_000, 1), (12_000, 2), (22_000, 3), (30_000, 4), (60_000, 8), (10**7, 8)]
)
def test_a_layer_has_the_fewest_blocks_whose_pairs_are_no_more_than_a_unit(model, n_rows, n_blocks):
    assert model.Search(n_rows, 8192, 128).n_blocks == n_blocks


def unit(model, seconds, file_bytes=0.0):
    return model.Unit({"products": seconds}, seconds, file_bytes)


@pytest.mark.parametrize(
    ("n_workers", "files", "units", "expected"),
    [
        (2, inf, [(3.0, 0.0, 5)], 9.0),  # three rounds of two workers
        (1, 10.0, [(1.0, 50.0, 2)], 10.0),  # each waits for its bytes
        (2, 10.0, [(1.0, 50.0, 2)], 10.0),  # together they come half as fast
        (2, 10.0, [(1.0, 50.0, 1), (1.0, 20.0, 1)], 7.0),  # 20 each in 4 s, then 30 alone
        (2, 10.0, [(9.0, 50.0, 1), (1.0, 20.0, 1)], 9.0),  # bytes come while the processor works
    ],
)
def test_units_share_workers_and_files(model, n_workers, files, units, expected):
    machine = model.Machine(n_workers, files, 0.0, 1)
    step = [(unit(model, seconds, size), number) for seconds, size, number in units]
    assert model._step(step, machine, 1) == pytest.approx(expected)


def test_layers_share_workers(model):
    step = [(unit(model, 4.0), 1), (unit(model, 1.0), 2)]
    assert model._step(step, model.Machine(1, inf, 0.0, 1), 3) == pytest.approx(18.0)
    assert model._step(step, model.Machine(2, inf, 0.0, 1), 2) == pytest.approx(6.0)


@pytest.mark.parametrize("n_workers", [1, 7, 100])
def test_no_schedule_ends_before_its_work_and_its_bytes_or_long_after(model, n_workers):
    search = model.Search(300_000, 512, 32, unit_work=1e11)
    machine = model.Machine(n_workers, 2e9, 0.0, 1)
    outcome = model.run(search, machine, RATES, 5)
    steps = model.layer_units(search, machine, RATES)
    work = 5 * sum(found.seconds * number for step in steps for found, number in step)
    least = max(work / n_workers, outcome.file_bytes / machine.file_bytes_per_s)
    assert least <= outcome.seconds * (1 + 1e-9)
    assert outcome.seconds <= work / n_workers + outcome.file_bytes / machine.file_bytes_per_s + 3 * max(
        found.seconds for step in steps for found, _ in step
    )


def test_a_node_reads_from_files_what_it_cannot_hold_and_a_layer_that_it_can_hold_once(model):
    search = model.Search(10**6, 8192, 128)
    layer = search.layer_bytes

    def from_files(cache, n_units=36.0):
        machine = model.Machine(16, inf, cache, 8)  # two nodes
        return model._from_files(search, machine, layer / 4, 9 * layer, n_units) / layer

    assert from_files(0.0) == from_files(0.99 * layer) == 9  # eight units need twice the layer
    assert from_files(layer) == pytest.approx(2 / 36)
    assert from_files(layer, n_units=2.0) == 0.25  # no more than the unit's own rows
    assert from_files(8 * layer, n_units=inf) == 0
    small = dataclasses.replace(search, n_rows=10)
    machine = model.Machine(8, inf, small.layer_bytes / 2, 8)
    assert model._from_files(small, machine, small.layer_bytes / 16, 9 * layer, 1.0) == small.layer_bytes / 16


def test_durations_and_sizes_are_read_in_the_unit_that_suits(scaling):
    seconds = (0.21, 80, 600, 7200, 3 * 86400, 4e8)
    assert [scaling.duration(value) for value in seconds] == [
        "0.21 s",
        "80 s",
        "10 min",
        "2 h",
        "3 d",
        "13 y",
    ]
    assert [scaling.n_bytes(value) for value in (12, 8.3e9, 4.24e14)] == ["12 B", "8.3 GB", "424 TB"]


def test_the_tables_of_the_page_are_what_the_script_prints_from_the_constants_on_it(scaling, tmp_path):
    page = scaling.PAGE.read_text(encoding="utf-8")
    (tmp_path / "constants.json").write_text(json.dumps(scaling.constants_of(page)))
    command = [sys.executable, str(BENCH / "scaling.py"), "--constants", str(tmp_path / "constants.json")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.strip() == scaling.between(page, "tables")


def test_other_constants_and_their_tables_take_the_place_of_those_on_the_page(scaling):
    page = scaling.PAGE.read_text(encoding="utf-8")
    constants = scaling.constants_of(page)
    slower = constants | {"product_flops_per_s": constants["product_flops_per_s"] / 7}
    changed = scaling.with_results(page, slower)
    assert scaling.constants_of(changed) == slower
    assert scaling.between(changed, "tables") != scaling.between(page, "tables")
    assert scaling.with_results(changed, constants) == page


@pytest.mark.slow
def test_the_constants_of_the_page_are_those_that_are_measured(scaling):
    command = [sys.executable, str(BENCH / "search_constants.py")]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    on_page = scaling.constants_of(scaling.PAGE.read_text(encoding="utf-8"))
    assert measured.keys() == on_page.keys()
    assert all(value > 0 for value in measured.values())
