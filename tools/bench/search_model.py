"""A model of the search of many layers: what its units do, how long each takes, and when the last one ends.

Used by `tools/bench/scaling.py`. Work is counted from the code (`propose`, `rerank`, `split`); rates come
from `search_constants.py` or are assumed (`Machine`).
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from search_constants import n_appended

from hpcgeom.plan.memory import choose_tile_rows
from hpcgeom.plan.units import MAX_BLOCKS, NEIGHBOR_SHARD_ROWS
from hpcgeom.search.candidates import most_kept
from hpcgeom.search.memory import GROUP_BYTES, HASH_BYTES, candidate_bytes
from hpcgeom.search.rerank import AUDITED_ROWS

ITEM_BYTES = 4
Constants = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Search:
    """One layer, and how its search is cut.

    Attributes
    ----------
    unit_work
        Most N x N x D of a unit.
    pair_tile_rows
        Rows of a tile of a pair; None takes what a plan takes.
    merge_tile_rows
        Rows that a merge holds while it reads all others; None takes the same.
    audits_units
        Whether a unit audits `AUDITED_ROWS` in all; else each tile does.
    """

    n_rows: int
    n_features: int
    k: int
    unit_work: float = 1e12
    pair_tile_rows: int | None = None
    merge_tile_rows: int | None = None
    audits_units: bool = False

    @property
    def tile_rows(self) -> int:
        """Rows of a tile of a pair."""
        return self.pair_tile_rows or choose_tile_rows(self.n_features, self.k)

    @property
    def n_blocks(self) -> int:
        """The fewest whose pairs stay within the work of a unit."""
        if self.n_rows**2 * self.n_features <= self.unit_work:
            return 1
        for n in range(2, MAX_BLOCKS):
            if 2 * (self.n_rows / n) ** 2 * self.n_features <= self.unit_work:
                return n
        return MAX_BLOCKS

    @property
    def layer_bytes(self) -> int:
        """Of the stored rows."""
        return self.n_rows * self.n_features * ITEM_BYTES

    def list_bytes(self) -> int:
        """Of the lists of a layer on disk."""
        return self.n_rows * (12 * self.k + 4)

    def partial_bytes(self, constants: Constants) -> float:
        """Of what all pairs of a layer leave: every row is in a pair with each block."""
        return 0.0 if self.n_blocks == 1 else self.n_rows * self.n_blocks * self.partial_row(constants)

    def partial_row(self, constants: Constants) -> float:
        """Bytes of one row in one pair: keys of 8, a count of 4, a threshold and a norm."""
        return 8 * constants["kept_of_k"] * self.k + 20

    def merge_memory(self, constants: Constants) -> float:
        """Of one merge: what all pairs say of one block, and as for a pair."""
        tiles = min(self.tile_rows, self.n_rows) * self.n_features * 4 * ITEM_BYTES
        return self.n_rows * max(HASH_BYTES, self.partial_row(constants) + GROUP_BYTES) + tiles

    def pair_memory(self) -> float:
        """Of one pair: lists of the rows of both blocks, hashes and groups of all rows, tiles."""
        rows = min(self.n_rows, 2 * self.n_rows / self.n_blocks)
        tiles = min(self.tile_rows, rows) * self.n_features * 4 * ITEM_BYTES
        return (
            max(self.n_rows * HASH_BYTES, rows * candidate_bytes(self.k) + self.n_rows * GROUP_BYTES) + tiles
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """Workers that run one unit at a time, and what they share.

    Attributes
    ----------
    threads
        Cores of a worker; as fast as the one that was measured, which is an assumption.
    readers
        Of these, how many decode what is read.
    file_bytes_per_s
        Of the file system, all workers together.
    cache_bytes, workers_per_node
        Memory of a node that holds files which are read again.
    device_flops_per_s, device_bytes_per_s, device_link_bytes_per_s
        What the products, the memory and the link of a GPU sustain; 0 without a GPU.
    """

    n_workers: int
    file_bytes_per_s: float
    cache_bytes: float
    workers_per_node: int
    threads: float = 1
    readers: int = 1
    device_flops_per_s: float = 0.0
    device_bytes_per_s: float = 0.0
    device_link_bytes_per_s: float = 0.0


SELECTION_BYTES = 64
"""Assumed: bytes of device memory that are moved for an element of a product (written, scored, selected)"""


@dataclass(frozen=True, slots=True)
class Unit:
    """Seconds of the processor by kind of work, and bytes of the file system."""

    parts: Mapping[str, float]
    seconds: float
    file_bytes: float


def _scan(search: Search, machine: Machine, constants: Constants) -> Unit:
    """Hashes, mean and extremes of all rows."""
    parts = {
        "reading": search.layer_bytes / constants["read_bytes_per_s"] / machine.readers,
        "scan": search.layer_bytes / constants["scanned_bytes_per_s"] / machine.threads,
    }
    return Unit(parts, sum(parts.values()), search.layer_bytes)


def _pair(search: Search, machine: Machine, constants: Constants, n_units: float, *, same: bool) -> Unit:
    """Candidates of two blocks among each other, or of one; loading is done while the device multiplies."""
    rows = search.n_rows / search.n_blocks
    n_tiles = max(1, -(-int(rows) // search.tile_rows))
    n_loads = n_tiles * (n_tiles + 1) // 2 - (n_tiles > 1) if same else n_tiles + n_tiles**2
    loaded = n_loads * rows / n_tiles * search.n_features * ITEM_BYTES
    n_elements = rows**2 / 2 if same else rows**2
    flops = 2 * n_elements * search.n_features
    parts = {
        "reading": loaded / constants["read_bytes_per_s"] / machine.readers,
        "rounding": loaded / constants["rounded_bytes_per_s"] / machine.threads,
    }
    n_lists = rows if same else 2 * rows
    if machine.device_flops_per_s:
        parts["products"] = flops / machine.device_flops_per_s
        parts["selection"] = n_elements * SELECTION_BYTES / machine.device_bytes_per_s
        n_poured = n_lists * n_tiles * min(most_kept(search.k) + 1, rows / n_tiles)
        parts["lists"] = n_poured * constants["poured_s"] / machine.threads
        transfer = loaded / 2 / machine.device_link_bytes_per_s
        loading = parts["reading"] + parts["rounding"] + transfer
        taken = max(loading, parts["products"] + parts["selection"] + parts["lists"])
    else:
        parts["products"] = flops / constants["product_flops_per_s"] / machine.threads
        parts["selection"] = n_elements * constants["element_s"] / machine.threads
        parts["lists"] = n_lists * n_appended(rows, search.k) * constants["appended_s"] / machine.threads
        taken = sum(parts.values())
    own = (1 if same else 2) * rows * search.n_features * ITEM_BYTES
    left = 0.0 if search.n_blocks == 1 else n_lists * search.partial_row(constants)
    return Unit(parts, taken, _from_files(search, machine, own, loaded, n_units) + left)


def _merge(search: Search, machine: Machine, constants: Constants, n_units: float, n_rows: int) -> Unit:
    """Exact lists of some rows: each tile of them reads all rows; partials are read once a block."""
    tile_rows = search.merge_tile_rows or search.tile_rows
    n_tiles = -(-n_rows // tile_rows)
    read = n_tiles * search.layer_bytes + n_rows * search.n_features * ITEM_BYTES
    kept = constants["kept_of_k"] * search.k
    partials = 0.0
    if search.n_blocks > 1:
        n_touched = -(-n_rows * search.n_blocks // search.n_rows)
        partials = n_touched * search.n_rows * search.partial_row(constants)
    n_audits, audit_threads = 1 if search.audits_units else n_tiles, min(machine.threads, AUDITED_ROWS)
    audited = n_audits * AUDITED_ROWS * search.n_rows * search.n_features
    measured = n_rows * kept * search.n_features
    n_poured = n_rows * kept * search.n_blocks if search.n_blocks > 1 else 0.0
    parts = {
        "reading": (read + partials) / constants["read_bytes_per_s"] / machine.readers,
        "distances": measured * constants["measured_s"] / machine.threads,
        "audit": audited * constants["audited_s"] / audit_threads,
        "lists": n_poured * constants["poured_s"],
    }
    used = sum(parts.values()) - parts["reading"]
    taken = max(used, parts["reading"]) if machine.threads > 1 else used + parts["reading"]
    written = n_rows * (12 * search.k + 4)
    file_bytes = _from_files(search, machine, search.layer_bytes, read, n_units) + partials + written
    return Unit(parts, taken, file_bytes)


def _from_files(search: Search, machine: Machine, own: float, read: float, n_units: float) -> float:
    """Bytes of the file system for one of the units that do the same with a layer, at about the same time.

    A node that can hold the layer reads it once for all of them; one that can hold what its units read
    does so once for each. Infinitely many units: the layer was read by the same unit before.
    """
    n_nodes = -(-machine.n_workers // machine.workers_per_node)
    n_layers_held = machine.workers_per_node if n_units == inf else 1
    if n_layers_held * search.layer_bytes <= machine.cache_bytes:
        return min(own, n_nodes * search.layer_bytes / n_units)
    return own if machine.workers_per_node * own <= machine.cache_bytes else read


def layer_units(search: Search, machine: Machine, constants: Constants) -> list[list[tuple[Unit, int]]]:
    """Units of one layer in order, as (unit, how many): scans, pairs and merges; or one that does all."""
    shards, rest = divmod(search.n_rows, NEIGHBOR_SHARD_ROWS)
    n, scan = search.n_blocks, _scan(search, machine, constants)
    if n == 1:
        pair = _pair(search, machine, constants, inf, same=True)
        return [[(_together([scan, pair, _merge(search, machine, constants, inf, search.n_rows)]), 1)]]
    n_pairs, n_merges = n * (n + 1) // 2, shards + (rest > 0)
    pairs = [
        (_pair(search, machine, constants, n_pairs, same=True), n),
        (_pair(search, machine, constants, n_pairs, same=False), n_pairs - n),
    ]
    merges = [
        (_merge(search, machine, constants, n_merges, rows), number)
        for rows, number in ((NEIGHBOR_SHARD_ROWS, shards), (rest, int(rest > 0)))
        if number
    ]
    return [[(scan, 1)], pairs, merges]


def _together(units: Sequence[Unit]) -> Unit:
    parts: Counter[str] = Counter()
    for unit in units:
        parts.update(unit.parts)
    return Unit(parts, sum(unit.seconds for unit in units), sum(unit.file_bytes for unit in units))


@dataclass(frozen=True, slots=True)
class Outcome:
    """When the last unit ends, and what took the processors' time.

    Attributes
    ----------
    limit
        ``files`` where the file system was busy nine tenths of the time, else the part that took most.
    """

    seconds: float
    file_bytes: float
    limit: str


def run(search: Search, machine: Machine, constants: Constants, n_layers: int) -> Outcome:
    """All layers: first every scan, then every pair, then every merge."""
    steps = layer_units(search, machine, constants)
    total: Counter[str] = Counter()
    file_bytes = 0.0
    for units in steps:
        for unit, number in units:
            file_bytes += n_layers * number * unit.file_bytes
            for name, value in unit.parts.items():
                total[name] += n_layers * number * value
    taken = sum(_step(units, machine, n_layers) for units in steps)
    busy = file_bytes / machine.file_bytes_per_s
    return Outcome(
        taken, file_bytes, "files" if busy > 0.9 * taken else max(total, key=lambda name: total[name])
    )


def _step(units: Sequence[tuple[Unit, int]], machine: Machine, n_layers: int) -> float:
    """Seconds until some units of all layers are done, when workers take the first that is ready.

    A unit ends when its processor is done and its bytes have come; units share the file system evenly.
    """
    ready = deque(unit for _ in range(n_layers) for unit, number in units for _ in range(number))
    now, shared, free, serial = 0.0, 0.0, machine.n_workers, 0
    flows: list[tuple[float, int]] = []  # (bytes each flow has had when this one is done, number)
    timers: list[tuple[float, int]] = []
    n_waits: dict[int, int] = {}
    while ready or n_waits:
        while ready and free:
            unit = ready.popleft()
            heapq.heappush(flows, (shared + unit.file_bytes, serial))
            heapq.heappush(timers, (now + unit.seconds, serial))
            n_waits[serial] = 2
            free, serial = free - 1, serial + 1
        rate = machine.file_bytes_per_s / len(flows) if flows else 0.0
        flow_end = now + max(flows[0][0] - shared, 0.0) / rate if flows else inf
        timer_end = timers[0][0] if timers else inf
        later = min(flow_end, timer_end)
        shared, now = (flows[0][0] if flow_end <= timer_end else shared + (later - now) * rate), later
        _, number = heapq.heappop(flows if flow_end <= timer_end else timers)
        n_waits[number] -= 1
        if n_waits[number] == 0:
            del n_waits[number]
            free += 1
    return now
