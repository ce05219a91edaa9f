"""What was pooled of each batch of a set, step by step: in memory, or in one file a step."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hpcgeom.catalog.sites import TOKENS_POOLING
from hpcgeom.models.raw_files import crc32c_of, crc32c_of_file, read_at, write_at
from hpcgeom.models.readings import SiteReading
from hpcgeom.models.reused_memory import ReusedMemory
from hpcgeom.models.sinks import Pooled

FILES = "pooled-*.bin"
ReadingsByStep = Sequence[Mapping[str, SiteReading]]


class PooledParts(Protocol):
    """Takes what was pooled of each batch at each step, and gives it back by batch."""

    def add(self, n_rows: int, n_tokens: int) -> None:
        """Say how many sequences and ordinary tokens one more batch has."""

    def put(self, step: int, number: int, pooled: Pooled) -> None:
        """Take what was pooled of batch `number` at `step`; at each step, batches come in order."""

    def of(self, number: int) -> Pooled:
        """All that was pooled of a batch: float32 (n_layers, B, D) by site and pooling."""

    def close(self) -> None:
        """Free memory and close files; these are not removed."""


class PooledInMemory:
    """Keeps everything in memory."""

    def __init__(self, readings: ReadingsByStep) -> None:
        self._readings, self._parts = readings, dict[tuple[int, int], Pooled]()

    def add(self, n_rows: int, n_tokens: int) -> None:
        """Nothing has to be known of a batch."""

    def put(self, step: int, number: int, pooled: Pooled) -> None:
        """Take what was pooled of batch `number` at `step`."""
        self._parts[step, number] = pooled

    def of(self, number: int) -> Pooled:
        """All that was pooled of a batch; it is not kept."""
        steps = [self._parts.pop((step, number), {}) for step in range(len(self._readings))]
        return _joined([part for step in steps for part in step.items()])

    def close(self) -> None:
        """Free the memory."""
        self._parts.clear()


class PooledInFiles:
    """Keeps everything in one file a step: batch after batch, site after site, pooling after pooling.

    Parameters
    ----------
    readings
        What is read at each step.
    folder
        Where the files go.
    memory
        For what is read again.

    Attributes
    ----------
    widths
        Features of a point by site, as far as known.
    checksums
        CRC-32C of each file that was written, by step.
    """

    def __init__(self, readings: ReadingsByStep, folder: Path, memory: ReusedMemory) -> None:
        self._readings, self._folder, self._memory = readings, folder, memory
        self._sizes: list[tuple[int, int]] = []
        self._files: dict[int, int] = {}
        self._starts: dict[int, list[int]] = {}
        self._end = 0
        self.widths: dict[str, int] = {}
        self.checksums: dict[int, int] = {}

    def add(self, n_rows: int, n_tokens: int) -> None:
        """Say how many sequences and ordinary tokens one more batch has."""
        self._sizes.append((n_rows, n_tokens))

    def put(self, step: int, number: int, pooled: Pooled) -> None:
        """Append what was pooled of batch `number` at `step` to the file of the step."""
        if not self._readings[step]:
            return
        if number == 0:
            self._end, self.checksums[step] = 0, 0
            os.truncate(self._open(step), 0)
        for site, pooling in _keys(self._readings[step]):
            values = pooled[site, pooling]
            self.widths[site] = values.shape[-1]
            raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
            write_at(self._open(step), raw, self._end, self._path(step))
            self._end += len(raw)
            self.checksums[step] = crc32c_of(raw, self.checksums[step])

    def of(self, number: int) -> Pooled:
        """All that was pooled of a batch."""
        shapes = [list(self._shapes(step, number)) for step in range(len(self._readings))]
        n_layers, n_read = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for key, shape in chain.from_iterable(shapes):
            n_layers[key] += shape[0]
        found: Pooled = {}
        for step, of_step in enumerate(shapes):
            offset = self._start(step, number)
            for key, (n, *point) in of_step:
                if key not in found:
                    found[key] = self._memory.empty((n_layers[key], *point))
                values = found[key][n_read[key] : n_read[key] + n]
                read_at(self._open(step), values.reshape(-1).view(np.uint8), offset, self._path(step))
                n_read[key] += n
                offset += values.nbytes
        return found

    def save(self) -> None:
        """Make what was put so far durable."""
        for descriptor in self._files.values():
            os.fsync(descriptor)

    def are_whole(self, checksums: Mapping[int, int]) -> bool:
        """Whether the files of some steps are there and hold what was written to them."""
        return all(
            self._path(step).is_file() and crc32c_of_file(self._path(step)) == checksum
            for step, checksum in checksums.items()
        )

    def restore(self, widths: Mapping[str, int], checksums: Mapping[int, int]) -> None:
        """Go on from whole files that `save` left. Batches must have been added before."""
        self.widths, self.checksums = dict(widths), dict(checksums)

    def drop_others(self) -> None:
        """Remove files that another pass has left."""
        own = {self._path(step) for step in self.checksums}
        for path in self._folder.glob(FILES):
            if path not in own:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; they are not removed."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _shapes(self, step: int, number: int) -> Iterator[tuple[tuple[str, str], tuple[int, int, int]]]:
        n_rows, n_tokens = self._sizes[number]
        for site, pooling in _keys(self._readings[step]):
            n_points = n_tokens if pooling == TOKENS_POOLING else n_rows
            yield (site, pooling), (len(self._readings[step][site].layers), n_points, self.widths[site])

    def _start(self, step: int, number: int) -> int:
        if step not in self._starts:
            sizes = [
                sum(4 * math.prod(shape) for _, shape in self._shapes(step, each))
                for each in range(len(self._sizes))
            ]
            self._starts[step] = list(accumulate(sizes, initial=0))
        return self._starts[step][number]

    def _path(self, step: int) -> Path:
        return self._folder / FILES.replace("*", f"{step:03d}")

    def _open(self, step: int) -> int:
        if step not in self._files:
            self._files[step] = os.open(self._path(step), os.O_RDWR | os.O_CREAT, 0o666)
        return self._files[step]


def _keys(readings: Mapping[str, SiteReading]) -> Iterator[tuple[str, str]]:
    """Site and pooling of all that is read, in the order of a file."""
    return ((site, pooling) for site, reading in readings.items() for pooling in reading.poolings)


def _joined(parts: Sequence[tuple[tuple[str, str], npt.NDArray[np.float32]]]) -> Pooled:
    """Layers that were read at different steps, one after the other."""
    found: dict[tuple[str, str], list[npt.NDArray[np.float32]]] = {}
    for key, values in parts:
        found.setdefault(key, []).append(values)
    return {key: values[0] if len(values) == 1 else np.concatenate(values) for key, values in found.items()}
