"""Hidden states of many batches between two blocks: in the host's memory, and what exceeds it in a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from hpcgeom import trace
from hpcgeom.errors import DamagedError, ResourceError
from hpcgeom.models.failures import of_batch
from hpcgeom.models.raw_files import bytes_of, crc32c_of, read_at, write_at
from hpcgeom.models.transfers import transfers_of

FILES = "hidden-*.bin"


@dataclass(slots=True, eq=False)
class _Place:
    """Where the hidden states of one batch are.

    Attributes
    ----------
    offset
        Of their bytes in a layer's file.
    kept
        They themselves, on the host; None where they are in the file alone.
    crc32c
        Of what was last written to the file.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    n_bytes: int
    offset: int
    kept: torch.Tensor | None = None
    crc32c: int = 0


class HiddenStates:
    """The hidden states (B, T, D) of all batches of a set at one layer.

    Parameters
    ----------
    folder
        Where files may be written; None for nowhere.
    memory_bytes
        How much is kept in the host's memory: the first batches.
    device
        Where blocks run; memory is pinned where that is a GPU.

    Attributes
    ----------
    layer
        The layer they are at.
    """

    def __init__(self, folder: Path | None, memory_bytes: int, device: torch.device) -> None:
        self.layer = 0
        self._folder, self._memory_bytes = folder, memory_bytes
        self._places: list[_Place] = []
        self._transfers = transfers_of(device)
        self._files: dict[int, int] = {}
        self._saved: int | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hidden states")
        self._writing: Future[None] | None = None

    def __len__(self) -> int:
        return len(self._places)

    @property
    def n_bytes(self) -> int:
        """Bytes of all of them."""
        return self._places[-1].offset + self._places[-1].n_bytes if self._places else 0

    def add(self, hidden: torch.Tensor) -> None:
        """Take h_0 (B, T, D) of one more batch.

        Raises
        ------
        ResourceError
            They exceed the memory that they may have, and there is no folder; or the disk is full.
        """
        n_bytes = hidden.numel() * hidden.element_size()
        place = _Place(tuple(hidden.shape), hidden.dtype, n_bytes, self.n_bytes)
        if place.offset + n_bytes > self._memory_bytes and self._folder is None:
            raise ResourceError(
                f"hidden states of {len(self) + 1} batches take {(place.offset + n_bytes) / 1e9:.2f} GB, and "
                f"{self._memory_bytes / 1e9:.2f} GB of memory are allowed: allow more, give a folder for the "
                "rest, or run fewer samples at once"
            )
        self._places.append(place)
        if place.offset + n_bytes <= self._memory_bytes:
            place.kept = self._transfers.to_host(hidden, None)
        else:
            self._write_behind(place, hidden, 0)

    def each(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Batch number and hidden states on the device, one after the other; the next is on its way then."""
        coming = self._fetch(0) if self._places else None
        for number in range(len(self._places)):
            here, coming = coming, self._fetch(number + 1) if number + 1 < len(self._places) else None
            assert here is not None
            with of_batch(number):
                hidden = here()
            yield number, hidden

    def replace(self, number: int, hidden: torch.Tensor) -> None:
        """Take what the block gave for a batch: its hidden states at the next layer."""
        place = self._places[number]
        if place.kept is None:
            self._write_behind(place, hidden, self.layer + 1)
        else:
            place.kept = self._transfers.to_host(hidden, place.kept)

    def advance(self) -> None:
        """All batches have been replaced: they are at the next layer now."""
        self._settle()
        self.layer += 1
        if self.layer - 1 != self._saved:
            self._drop(self.layer - 1)

    def save(self) -> list[int]:
        """Write all to the file of the layer, durably; the checksum of each batch is returned."""
        self._settle()
        descriptor = self._open(self.layer)
        for place in self._places:
            if place.kept is not None:
                self._store(place, place.kept, self.layer)
        os.fsync(descriptor)
        self._saved = self.layer
        return [place.crc32c for place in self._places]

    def drop_older(self) -> None:
        """Remove the files of all other layers, those of a killed process too."""
        for layer in [layer for layer in self._files if layer != self.layer]:
            self._drop(layer)
        assert self._folder is not None
        for path in self._folder.glob(FILES):
            if path != self._path(self.layer):
                path.unlink(missing_ok=True)

    def restore(self, layer: int, checksums: Sequence[int]) -> bool:
        """Go on from the file of `layer` that `save` wrote; False if it is not whole.

        The batches must have been added before, so that their shapes are known.
        """
        assert self._folder is not None
        self._settle()
        path = self._path(layer)
        if len(checksums) != len(self) or not path.is_file() or path.stat().st_size < self.n_bytes:
            return False
        for place, checksum in zip(self._places, checksums, strict=True):
            if crc32c_of(bytes_of(self._read(place, layer))) != checksum:
                return False
        for place, checksum in zip(self._places, checksums, strict=True):
            place.crc32c = checksum
            if place.kept is not None:
                place.kept = self._transfers.on_host(self._read(place, layer), place.kept)
        self.layer = self._saved = layer
        self.drop_older()
        return True

    def close(self) -> None:
        """End the thread and close the files; they are not removed."""
        self._thread.shutdown()
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()
        self._places.clear()

    def _fetch(self, number: int) -> Callable[[], torch.Tensor]:
        place, layer = self._places[number], self.layer
        if place.kept is not None:
            with of_batch(number):
                return self._transfers.to_device(place.kept)
        reading = self._thread.submit(self._checked, place, layer)
        return lambda: self._transfers.to_device(reading.result())()

    def _checked(self, place: _Place, layer: int) -> torch.Tensor:
        with trace.span("read", layer=layer, bytes=place.n_bytes):
            found = self._read(place, layer)
            is_whole = crc32c_of(bytes_of(found)) == place.crc32c
        if not is_whole:
            raise DamagedError(
                f"{self._path(layer)} does not hold the hidden states that were written to it (bytes "
                f"{place.offset} to {place.offset + place.n_bytes}): check the disk, then run the same "
                "command again"
            )
        return found

    def _read(self, place: _Place, layer: int) -> torch.Tensor:
        found = torch.empty(place.shape, dtype=place.dtype)
        read_at(self._open(layer), bytes_of(found), place.offset, self._path(layer))
        return found

    def _write_behind(self, place: _Place, hidden: torch.Tensor, layer: int) -> None:
        host = hidden.contiguous().cpu()
        self._settle()
        self._open(layer)
        self._writing = self._thread.submit(self._store, place, host, layer)

    def _store(self, place: _Place, host: torch.Tensor, layer: int) -> None:
        raw = bytes_of(host)
        with trace.span("write", layer=layer, bytes=place.n_bytes):
            place.crc32c = crc32c_of(raw)
            write_at(self._open(layer), raw, place.offset, self._path(layer))

    def _settle(self) -> None:
        """Wait until what is under way has arrived."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
        self._transfers.settle()

    def _path(self, layer: int) -> Path:
        assert self._folder is not None
        return self._folder / FILES.replace("*", f"{layer:03d}")

    def _open(self, layer: int) -> int:
        if layer not in self._files:
            self._files[layer] = os.open(self._path(layer), os.O_RDWR | os.O_CREAT, 0o666)
        return self._files[layer]

    def _drop(self, layer: int) -> None:
        descriptor = self._files.pop(layer, None)
        if descriptor is not None:
            os.close(descriptor)
            self._path(layer).unlink(missing_ok=True)
