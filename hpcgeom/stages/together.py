"""Units of extract that several processes do together: the first leads, the others follow.

The leader is a process like any other: it takes leases and writes records. What it runs the others run as
well, each with its part of the model. Each writes the layers of its own part, and what a record says of them
goes to the leader.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import HpcgeomError
from hpcgeom.stages.run import Run
from hpcgeom.store.jobs import FOLDER
from hpcgeom.store.records import FileEntry
from hpcgeom.this_group import OtherFailed, this_member
from hpcgeom.types import Unit

if TYPE_CHECKING:
    from hpcgeom.models import Peers

Sums = dict[str, npt.NDArray[np.float64]]
"""Column sums of a unit's layers, by representation."""
LEAVE = "leave"


@dataclass(frozen=True, slots=True, eq=False)
class MemberReceipt:
    """What a process wrote for one unit.

    Attributes
    ----------
    sums
        Of the layers that it has, in order.
    files
        What it wrote.
    made_by
        Who it is, for people.
    """

    sums: Sums
    files: tuple[FileEntry, ...]
    made_by: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """For the leader; no pickle."""
        about = {"files": [asdict(entry) for entry in self.files], "made_by": dict(self.made_by)}
        content = io.BytesIO()
        np.savez(content, about=np.array(json.dumps(about)), **self.sums)  # type: ignore[arg-type]
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> MemberReceipt:
        """The receipt that `to_bytes` was of."""
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            sums = {key: stored[key] for key in stored.files if key != "about"}
            about = json.loads(str(stored["about"]))
        return cls(sums, tuple(FileEntry(**entry) for entry in about["files"]), about["made_by"])


class Crew:
    """The processes that run one model together, seen from one of them."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers

    @property
    def leads(self) -> bool:
        """Whether this process takes leases and writes records."""
        return self.peers.is_first

    def order(self, what: str, **about: Any) -> None:
        """Tell the others what is done next; a follower tells nobody."""
        if self.leads:
            order = json.dumps({"what": what, **about}).encode()
            for index in range(1, self.peers.n_processes):
                self.peers.board.post(index, order)

    def orders(self) -> Iterator[dict[str, Any]]:
        """What the leader tells this process to do, until it is to leave."""
        while True:
            order = json.loads(self.peers.board.collect(0))
            if order["what"] == LEAVE:
                return
            yield order

    def agreed(self, value: Any) -> Any:
        """What the leader says, JSON; all processes ask at the same time."""
        return self.peers.board.exchange("agreed", value)[0]

    def send(self, unit: Unit, sums: Sums, files: Sequence[FileEntry]) -> None:
        """Tell the leader that this process has written its part of a unit."""
        receipt = MemberReceipt(sums, tuple(files), self.made_by())
        self.peers.board.put(f"receipt-{unit.index}/{self.peers.index}", receipt.to_bytes())

    def receipts(self, unit: Unit) -> list[MemberReceipt]:
        """What the followers wrote for a unit, in their order; waits for them."""
        return [
            MemberReceipt.from_bytes(self.peers.board.take(f"receipt-{unit.index}/{index}"))
            for index in range(1, self.peers.n_processes)
        ]

    def made_by(self) -> dict[str, Any]:
        """Who this process is, for people."""
        return {
            "process": self.peers.index,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def joined(parts: Sequence[Sums], keys: Sequence[str]) -> Sums:
    """Column sums of all layers, from those of processes that each have some that follow each other."""
    return {key: np.concatenate([part[key] for part in parts if key in part]) for key in keys}


def unwind(stack: contextlib.ExitStack, error: BaseException | None) -> None:
    """Close what is open, which learns of `error` where there is one."""
    if error is None:
        stack.close()
    else:
        stack.__exit__(type(error), error, error.__traceback__)


class _Joined:
    """The crew that this process is in, if any, from its first unit on."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._crew: Crew | None = None
        self._error: BaseException | None = None

    def crew(self, run: Run) -> Crew | None:
        if self._error is not None:
            raise OtherFailed(
                {
                    "sentence": str(self._error),
                    "exit_code": getattr(self._error, "exit_code", HpcgeomError.exit_code),
                }
            )
        member = this_member(run.root / FOLDER)
        if self._crew is None and member is not None:
            from hpcgeom.models import chosen_device, meet

            self._crew = Crew(self._stack.enter_context(meet(member, chosen_device())))
        return self._crew

    def leave(self, error: BaseException | None) -> None:
        if self._crew is None:
            return
        crew, self._crew, self._error = self._crew, None, error
        if error is None:
            crew.order(LEAVE)
        unwind(self._stack, error)


_joined = _Joined()


def crew_of(run: Run) -> Crew | None:
    """The processes that run models of `run` together with this one; None where it is alone.

    Raises
    ------
    OtherFailed
        One has failed: the others do not go on.
    ResourceError
        They did not find each other.
    """
    return _joined.crew(run)


def leave(error: BaseException | None = None) -> None:
    """End working together; because of `error`, where there is one, all end."""
    _joined.leave(error)
