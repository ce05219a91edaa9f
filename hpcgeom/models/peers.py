"""The processes that run one model together: how they meet, know of each other, and all end with one.

Each watches the others through a store that the first of them keeps: whoever fails says there why, and all
end with that sentence; whoever is gone without a word is named.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from hpcgeom.addresses import interface_of
from hpcgeom.errors import HpcgeomError, IncompleteError, ResourceError
from hpcgeom.interrupts import TERMINATED, Stopped
from hpcgeom.models.board import Board
from hpcgeom.models.meeting import INTERFACE, address_of, find_store, keep_store
from hpcgeom.models.transport import TAG_END, first_line, wait
from hpcgeom.this_group import (
    FAILURE,
    MEET_S,
    Member,
    OtherFailed,
    clear,
    comes,
    process_in_words,
    process_note,
    read_note,
    write_note,
)

LOOK_EVERY_S = 0.5
SILENT_S = 60.0
"""After which a process that says nothing is given up: its machine is gone, or it stands still."""
END_S = 8.0
"""For a process to end by itself when another has failed; then it is ended, whatever it does."""
LINGER_S = 15.0
"""For the first process to end, before the others do."""
LEFT = "left"

Failure = dict[str, Any]
"""``index`` of the process that failed, `sentence`, `exit_code`, `details`."""


class Peers:
    """The processes that run one model together; made by `meet`.

    Attributes
    ----------
    board
        Where they leave words for each other.
    """

    def __init__(self, member: Member, store: dist.Store) -> None:
        self.index, self.n_processes = member.index, member.n_processes
        self._member, self._store = member, store
        self._notes: list[dict[str, Any]] = []
        self.board = Board(self.index, self.n_processes, store, self.check, self._store_is_gone)
        self._failure: Failure | None = None
        self._words = [""] * member.n_processes
        self._is_leaving = threading.Event()
        self._watch = threading.Thread(target=self._watching, name="peers", daemon=True)

    @property
    def is_first(self) -> bool:
        """Whether this process has the first blocks."""
        return self.index == 0

    @property
    def is_last(self) -> bool:
        """Whether this process has the last blocks."""
        return self.index == self.n_processes - 1

    def name(self, index: int) -> str:
        """A process in words: its number, its blocks, its machine."""
        return process_in_words(index, self.n_processes, self._notes[index] if self._notes else None)

    def introduce(self, about: str) -> None:
        """Tell the others, and whoever started this process, what it does."""
        note = {**self._notes[self.index], "about": about}
        write_note(self._member.folder, process_note(self.index), note)
        self._notes = self.board.exchange("about", note)

    def check(self) -> None:
        """Do nothing as long as all processes are well.

        Raises
        ------
        OtherFailed
            One has failed, and why.
        """
        if self._failure is not None:
            raise OtherFailed(self._failure)

    def fail(self, error: BaseException) -> None:
        """Tell the others why this process ends; of several failures the first counts."""
        if isinstance(error, OtherFailed):
            return
        sentence, exit_code = _sentence(error)
        self._declare(_failure(self.index, sentence, exit_code, "".join(traceback.format_exception(error))))

    def lost(self, index: int, why: str) -> None:
        """Say that a process is gone, unless it has said why itself."""
        time.sleep(2 * LOOK_EVERY_S)  # it may be about to be known
        if self._failure is None:
            sentence = f"{self.name(index)} is gone ({why}): look at its log; the same command goes on"
            self._declare(_failure(index, sentence, IncompleteError.exit_code))

    def _declare(self, failure: Failure) -> None:
        with contextlib.suppress(RuntimeError):  # the process with the store may be the one that is gone
            failure = json.loads(self._store.compare_set("failure", "", json.dumps(failure)))
        write_note(self._member.folder, FAILURE, failure, replace=False)
        self._failure = self._failure or failure

    def _watching(self) -> None:
        """Say that this process is alive, and look whether the others are."""
        keys = [f"alive/{index}" for index in range(self.n_processes)]
        heard_at, looked_at = [0.0] * self.n_processes, 0.0
        for number in _counting(self._is_leaving):
            words = self._look(keys, str(number))
            now = time.monotonic()
            was_asleep = now - looked_at > SILENT_S / 2  # all processes may have been
            looked_at = now
            for index, word in enumerate(words):
                if word != self._words[index] or word == LEFT or was_asleep:
                    self._words[index], heard_at[index] = word, now
                elif now - heard_at[index] > SILENT_S and self._failure is None:
                    self.lost(index, f"nothing was heard of it for {SILENT_S:.0f} s")
            if self._member.is_orphan and self._failure is None:
                self._declare(_failure(self.index, "whoever started this process is gone", TERMINATED))
            if self._failure is not None:
                self._end_by_force(self._failure)
                return

    def _look(self, keys: list[str], word: str) -> list[str]:
        try:
            self._store.set(keys[self.index], word)
            if self._store.check(["failure"]):
                self._failure = self._failure or json.loads(self._store.get("failure"))
            return [each.decode() for each in self._store.multi_get(keys)]
        except RuntimeError:
            self._store_is_gone()
            return self._words

    def _store_is_gone(self) -> None:
        if self._is_leaving.is_set() or self._failure is not None:
            return
        self._failure = read_note(self._member.folder, FAILURE)
        if self._failure is None:
            self.lost(0, "its store does not answer")

    def _end_by_force(self, failure: Failure) -> None:
        """Nothing is lost by ending anywhere: only units with a record count."""
        if not self._is_leaving.wait(END_S):
            sys.stderr.write(f"hpcgeom: {failure['sentence']}\n")
            sys.stderr.flush()
            os._exit(failure["exit_code"])

    def _arrive(self, device: torch.device, address: str) -> None:
        """Find the others, and make the connections that hidden states go through."""
        here = {"host": socket.gethostname(), "pid": os.getpid(), "about": ""}
        write_note(self._member.folder, process_note(self.index), here)
        self._store.set(f"here/{self.index}", json.dumps(here))
        self._store.set(f"alive/{self.index}", "")
        keys = [f"{what}/{index}" for what in ("here", "alive") for index in range(self.n_processes)]
        missing = [key for key in keys if not comes(partial(self._store.check, [key]))]
        if missing:
            late = f"process {missing[0].partition('/')[2]} of {self.n_processes}"
            raise ResourceError(
                f"{late} did not come within {MEET_S:.0f} s: look at its log, and whether Python starts there"
            )
        self._notes = [json.loads(text) for text in self._store.multi_get(keys[: self.n_processes])]
        self._watch.start()
        if name := interface_of(address):
            os.environ.setdefault(INTERFACE, name)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend,
            store=self._store,
            rank=self.index,
            world_size=self.n_processes,
            timeout=timedelta(seconds=MEET_S),
        )
        for other in range(1, self.n_processes) if self.is_first else ():
            threading.Thread(target=self._hear_the_end, args=(other,), name="end", daemon=True).start()

    def _hear_the_end(self, index: int) -> None:
        """Wait for the last word of a process; one that is killed closes its connections without."""
        try:
            wait(dist.irecv(torch.empty(1, dtype=torch.uint8), index, tag=TAG_END))
        except RuntimeError as error:
            if not self._is_leaving.is_set():
                self.lost(index, first_line(error))

    def _leave(self) -> None:
        """End in good order: the process with the store is the last to go."""
        while self.is_first and not all(word == LEFT for word in self._words[1:]):
            self.check()
            time.sleep(0.01)
        if not self.is_first:
            wait(dist.isend(torch.zeros(1, dtype=torch.uint8), 0, tag=TAG_END))
        self._is_leaving.set()
        self._watch.join()  # first: it says that this process is alive
        self._store.set(f"alive/{self.index}", LEFT)
        dist.destroy_process_group()

    def _give_up(self) -> None:
        """End because of a failure: the others first read why, and the first process is the first to end.

        It says how a job ends, and must not be ended because another process has.
        """
        self._is_leaving.set()
        keys = [f"gone/{index}" for index in range(self.n_processes)]
        with contextlib.suppress(RuntimeError):  # which is how the end of the first process shows
            self._store.set(keys[self.index], "")
            if self.is_first:
                comes(lambda: self._store.check(keys), END_S / 2)
            else:
                comes(lambda: self._store.check(["never"]), LINGER_S)


@contextlib.contextmanager
def meet(member: Member, device: str = "cpu") -> Iterator[Peers]:
    """Find the other processes of a group; the body runs the model.

    Parameters
    ----------
    member
        Which process this is.
    device
        What the models run on: it decides what hidden states travel through.

    Raises
    ------
    ResourceError
        The others did not come in time.
    OtherFailed
        In the body, where another process failed.
    """
    address = address_of(member)
    store = keep_store(member, address) if member.index == 0 else find_store(member)
    peers = Peers(member, store)
    try:
        peers._arrive(torch.device(device), address)
        yield peers
        peers._leave()
    except BaseException as error:
        peers.fail(error)
        peers._give_up()
        raise
    finally:
        if member.index == 0 and not member.parent:  # else whoever started it looks at the notes
            clear(member.folder)


def _counting(end: threading.Event) -> Iterator[int]:
    number = 0
    while not end.wait(LOOK_EVERY_S):
        number += 1
        yield number


def _failure(index: int, sentence: str, exit_code: int, details: str = "") -> Failure:
    return {"index": index, "sentence": sentence, "exit_code": exit_code, "details": details}


def _sentence(error: BaseException) -> tuple[str, int]:
    if isinstance(error, HpcgeomError):
        return str(error), error.exit_code
    if isinstance(error, Stopped):
        return "told to end", TERMINATED
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    return f"{type(error).__name__}: {error}", IncompleteError.exit_code
