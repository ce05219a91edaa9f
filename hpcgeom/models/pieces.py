"""Batches in pieces: some of their rows at a time, padded as the whole batch is.

A piece is a batch like any other, so no strategy knows of this. On a CPU what a block makes of a small piece
stays in the cache, where a whole batch would go to memory and back; where memory runs out on a batch, it is
halved. Numbers do not depend on the cut but for the last bits, and a batch is always cut alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from hpcgeom.errors import ResourceError
from hpcgeom.models.failures import is_out_of_memory
from hpcgeom.models.request import TokenBatch
from hpcgeom.models.sinks import NonFiniteActivation, Pooled

CPU_TOKENS = 1024
"""Padded tokens of a piece on a CPU, where one row is not longer: measured by tools/bench/extract.py."""


@dataclass(slots=True)
class Splits:
    """Into how many pieces batches are cut because memory ran out on them.

    Attributes
    ----------
    n_pieces
        By the number of the batch.
    keep
        Called with the number of a batch and its pieces before it is run again.
    name_of
        A batch for people, by its number.
    """

    n_pieces: dict[int, int] = field(default_factory=dict)
    keep: Callable[[int, int], None] = lambda batch, n_pieces: None
    name_of: Callable[[int], str] = "batch {}".format

    def of(self, batch: int) -> int:
        """Pieces of a batch; 1 where it fits."""
        return self.n_pieces.get(batch, 1)

    def add(self, batch: int, n_pieces: int) -> None:
        """From now on a batch is cut into `n_pieces`."""
        self.keep(batch, n_pieces)
        self.n_pieces[batch] = n_pieces


@dataclass(slots=True, eq=False)
class _Cut:
    """A batch that is run."""

    number: int
    batch: TokenBatch
    n_pieces: int
    found: list[Pooled] = field(default_factory=list)

    def pieces(self) -> Iterator[tuple[int, TokenBatch]]:
        """Pieces whose sizes differ by one row at most, and where they begin."""
        n_rows, first = len(self.batch.input_ids), 0
        for number in range(self.n_pieces):
            last = n_rows * (number + 1) // self.n_pieces
            yield first, self.batch.between(first, last)
            first = last

    def joined(self) -> Pooled:
        """What was pooled of all pieces: rows, or tokens, stand on the second axis."""
        if len(self.found) == 1:
            return self.found[0]
        return {key: np.concatenate([each[key] for each in self.found], axis=1) for key in self.found[0]}


class Pieces:
    """Runs batches of a model in pieces.

    Parameters
    ----------
    run_all
        What runs them, such as the `run` of an open model.
    name
        Name of the model, in messages.
    device
        On a CPU, batches are cut into pieces of `CPU_TOKENS`; elsewhere only where memory runs out.
    """

    def __init__(
        self, run_all: Callable[[Iterable[TokenBatch]], Iterator[Pooled]], name: str, device: str
    ) -> None:
        self._run_all, self._name, self._device = run_all, name, device
        self._most_tokens = CPU_TOKENS if torch.device(device).type == "cpu" else None

    def run(self, batches: Iterable[TokenBatch], splits: Splits | None = None) -> Iterator[Pooled]:
        """Pooled activations of each batch, in order; see `OpenModel.run`.

        A batch on which memory runs out is run again in twice as many pieces: the one that the error's
        attribute `batch` names, and with it all that have not come yet.

        Raises
        ------
        ResourceError
            Memory runs out on a single row, or on what is of no batch.
        InputError, NonFiniteActivation
            As `OpenModel.run`.
        """
        known = Splits() if splits is None else splits
        source = _Source(batches, known, self._most_tokens)
        while True:
            try:
                yield from self._attempt(source)
                return
            except NonFiniteActivation as error:
                raise source.located(error) from error
            except Exception as error:
                if source.is_broken or not is_out_of_memory(error):
                    raise
                self._halve(source.blamed(error), known, error)
            # Only here nothing refers to the failed attempt any more.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _attempt(self, source: _Source) -> Iterator[Pooled]:
        for pooled in self._run_all(source.pieces()):
            first = source.waiting[0]
            first.found.append(pooled)
            if len(first.found) == first.n_pieces:
                source.waiting.popleft()
                yield first.joined()

    def _halve(self, cut: _Cut | None, splits: Splits, error: Exception) -> None:
        where = getattr(error, "where", f"on {self._device}")
        if cut is None:
            raise ResourceError(
                f"model '{self._name}': memory ran out {where}, whatever the size of a batch ({error}): end "
                "what else takes memory there, or use a device with more"
            ) from error
        n_rows, n_tokens = cut.batch.input_ids.shape
        if cut.n_pieces == n_rows:
            raise ResourceError(
                f"model '{self._name}': memory ran out {where} on a single sequence of {n_tokens} tokens "
                f"of {splits.name_of(cut.number)}, which has {n_rows} ({error}): shorten the samples with "
                "dataset.max_length, choose the dtype bfloat16, or use a device with more memory, or more "
                "devices with the strategy pipeline"
            ) from error
        cut.n_pieces = min(2 * cut.n_pieces, n_rows)
        splits.add(cut.number, cut.n_pieces)


class _Source:
    """The batches that are still to be run, and those that are under way."""

    def __init__(self, batches: Iterable[TokenBatch], splits: Splits, most_tokens: int | None) -> None:
        self._batches, self._splits, self._most_tokens = enumerate(batches), splits, most_tokens
        self._handed: list[tuple[_Cut, int]] = []
        self.waiting: deque[_Cut] = deque()
        self.is_broken = False

    def pieces(self) -> Iterator[TokenBatch]:
        """All pieces of what has not come yet, from the start."""
        self._handed.clear()
        for waiting in list(self.waiting):
            waiting.found.clear()
            yield from self._hand(waiting)
        while (cut := self._next()) is not None:
            self.waiting.append(cut)
            yield from self._hand(cut)

    def _hand(self, cut: _Cut) -> Iterator[TokenBatch]:
        for first, piece in cut.pieces():
            self._handed.append((cut, first))
            yield piece

    def _next(self) -> _Cut | None:
        try:
            number, batch = next(self._batches)
        except StopIteration:
            return None
        except BaseException:
            self.is_broken = True  # nothing comes after that: not to be taken for the end
            raise
        n_rows, n_tokens = batch.input_ids.shape
        n_pieces = self._splits.of(number)
        if self._most_tokens is not None:
            n_pieces = max(n_pieces, -(-n_rows // max(1, self._most_tokens // n_tokens)))
        return _Cut(number, batch, min(n_pieces, n_rows))

    def blamed(self, error: Exception) -> _Cut | None:
        """The batch on which memory ran out; None where it was on no batch."""
        piece: int | None = getattr(error, "batch", None)
        return None if piece is None else self._handed[piece][0]

    def located(self, error: NonFiniteActivation) -> NonFiniteActivation:
        """The error about a piece, as one about its batch."""
        cut, first = self._handed[error.batch]
        found = NonFiniteActivation(first + error.row, error.layer, error.site, error.pooling, error.dtype)
        found.batch = cut.number
        return found
