"""Some batches on their way through all processes of a pipeline, which end it together: done, or called off.

A batch counts once the last process has it, and not before does any process give away what it found. Where
memory runs out in one, it calls the round off; the others see that where they wait for each other. All then
agree on what counts and on the batch that did not fit, so that all cut it alike and begin another round with
the same one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from hpcgeom import trace
from hpcgeom.errors import HpcgeomError
from hpcgeom.models.board import POLL_S
from hpcgeom.models.failures import MemoryRanOut, is_out_of_memory, of_batch
from hpcgeom.models.links import LOOK_EVERY_S
from hpcgeom.models.peers import Peers
from hpcgeom.models.request import TokenBatch
from hpcgeom.models.sinks import Pooled


class CalledOff(HpcgeomError):
    """A process has called the round off."""


class Round:
    """One round, seen from one process; all begin the same ones in the same order.

    Parameters
    ----------
    peers
        All processes, and which one this is.
    device
        That this process runs on, for messages.
    is_ready
        Whether the next batch can come and be handed on, within some seconds.
    """

    def __init__(self, peers: Peers, device: str, is_ready: Callable[[float], bool]) -> None:
        self._peers, self._device, self._is_ready = peers, device, is_ready
        name = peers.board.new_name("round")
        self._counted, self._calls = f"{name}/counted", f"{name}/calls"
        self._n_taken, self._n_given = 0, 0
        self._held: deque[Pooled] = deque()
        self._too_large: tuple[int, str, str] | None = None

    def run(self, batches: Iterable[TokenBatch], run_one: Callable[[TokenBatch], Pooled]) -> Iterator[Pooled]:
        """What this process finds in each of some batches, in order.

        Parameters
        ----------
        run_one
            Runs a batch here and hands it on; calls `look` while it waits for another process.

        Raises
        ------
        MemoryRanOut
            In all processes, about the same batch: the first on which memory ran out in any of them.
        OtherFailed
            Another process has failed.
        """
        source = iter(batches)
        for batch in source:
            self._n_taken += 1
            # While it waits it gives away what counts: who does not hand on may be waiting for just that.
            while not self._is_ready(LOOK_EVERY_S) and not self._is_called_off():
                yield from self._give(self._n_counted())
            if not self._is_done(batch, run_one):
                break
            yield from self._give(self._n_counted())
        else:
            while self._held and self._more_counts():
                yield from self._give(self._n_counted())
            if not self._held:
                return
        yield from self._end(source)

    def look(self) -> None:
        """Do nothing as long as the round goes on.

        Raises
        ------
        CalledOff
            A process has called it off.
        OtherFailed
            One has failed.
        """
        if self._is_called_off():
            raise CalledOff

    def _is_done(self, batch: TokenBatch, run_one: Callable[[TokenBatch], Pooled]) -> bool:
        """Run a batch; False where the round is called off: then nothing refers to the failure any more."""
        number = self._n_taken - 1
        try:
            with of_batch(number):
                self._held.append(run_one(batch))
        except CalledOff:
            return False
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._too_large = (number, self._device, str(error))
            self._peers.board.count(self._calls, 1)
            return False
        if self._peers.is_last:
            self._peers.board.count(self._counted, 1)
        return True

    def _is_called_off(self) -> bool:
        self._peers.check()
        return self._peers.board.count(self._calls) > 0

    def _n_counted(self) -> int:
        return self._peers.board.count(self._counted)

    def _more_counts(self) -> bool:
        """Wait until more batches count; False where the round is called off."""
        with trace.span("wait", for_="count"):
            while self._n_counted() == self._n_given:
                if self._is_called_off():
                    return False
                time.sleep(POLL_S)
        return True

    def _give(self, n_counted: int) -> Iterator[Pooled]:
        while self._n_given < n_counted:
            self._n_given += 1
            yield self._held.popleft()

    def _end(self, source: Iterator[TokenBatch]) -> Iterator[Pooled]:
        """Give away what counts, take the batch that was too large if this process has not, and say so."""
        said = self._peers.board.exchange("too large", self._too_large)
        number, index = min((each[0], index) for index, each in enumerate(said) if each is not None)
        yield from self._give(self._n_counted())
        for _ in islice(source, max(0, number + 1 - self._n_taken)):
            pass
        _, device, why = said[index]
        raise MemoryRanOut(number, f"in {self._peers.name(index)}, device {device},", why)
