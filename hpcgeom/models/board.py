"""What the processes that run one model together tell each other, through the store of the first of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch.distributed as dist

POLL_S = 0.01
PIECE_BYTES = 4 * 2**20
"""The store takes values of up to 8 MiB."""


class Board:
    """Words for one or for all, seen from one process.

    Parameters
    ----------
    index, n_processes
        Which of how many it is.
    check
        Raises where a process has failed; called while something is waited for.
    on_silence
        Called where the store does not answer.
    """

    def __init__(
        self,
        index: int,
        n_processes: int,
        store: dist.Store,
        check: Callable[[], None],
        on_silence: Callable[[], None],
    ) -> None:
        self._index, self._n_processes, self._store = index, n_processes, store
        self._check, self._on_silence = check, on_silence
        self._n_names = 0
        self._n_posted, self._n_collected = Counter[int](), Counter[int]()

    def new_name(self, name: str) -> str:
        """A name that was never used; all processes ask for the same ones in the same order."""
        self._n_names += 1
        return f"{self._n_names}-{name}"

    def exchange(self, name: str, value: Any) -> list[Any]:
        """What all processes say under one name, by their number.

        Parameters
        ----------
        name
            All processes use the same names in the same order.
        value
            What this process says; JSON.
        """
        unique = self.new_name(name)
        keys = [f"{unique}/{index}" for index in range(self._n_processes)]
        self._asked(lambda: self._store.set(keys[self._index], json.dumps(value)))
        self._wait_for(keys)
        return [json.loads(text) for text in self._asked(lambda: self._store.multi_get(keys))]

    def count(self, name: str, more: int = 0) -> int:
        """A number that all processes have in common, from 0 on, after `more` was added to it."""
        return int(self._asked(lambda: self._store.add(name, more)))

    def put(self, name: str, content: bytes) -> None:
        """Leave something for one other process; the name is used once."""
        pieces = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)]
        for number, piece in enumerate(pieces):
            self._asked(partial(self._store.set, f"{name}/{number}", piece))
        self._asked(lambda: self._store.set(name, str(len(pieces))))

    def take(self, name: str) -> bytes:
        """What another process has left, or will; nobody else takes it.

        Raises
        ------
        OtherFailed
            One has failed meanwhile.
        """
        self._wait_for([name])
        n_pieces = int(self._asked(lambda: self._store.get(name)))
        keys = [f"{name}/{number}" for number in range(n_pieces)]
        content = b"".join(self._asked(partial(self._store.get, key)) for key in keys)
        for key in (name, *keys):
            self._asked(partial(self._store.delete_key, key))
        return content

    def post(self, to: int, content: bytes) -> None:
        """Leave something for another process, behind all that was left for it before."""
        self._n_posted[to] += 1
        self.put(f"post-{self._index}-{to}/{self._n_posted[to]}", content)

    def collect(self, sender: int) -> bytes:
        """What another process has left for this one, or will, in its order."""
        self._n_collected[sender] += 1
        return self.take(f"post-{sender}-{self._index}/{self._n_collected[sender]}")

    def _wait_for(self, keys: list[str]) -> None:
        while not self._asked(lambda: self._store.check(keys)):
            self._check()
            time.sleep(POLL_S)

    def _asked(self, question: Callable[[], Any]) -> Any:
        """The answer of the store, which fails where the process that keeps it has."""
        try:
            return question()
        except RuntimeError:
            self._on_silence()
            self._check()
            raise
