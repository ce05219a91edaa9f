"""How the processes that run one model together find each other: by a store that the first of them keeps."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import timedelta

import torch.distributed as dist

from hpcgeom.addresses import address_of_interface, own_address
from hpcgeom.errors import InputError, ResourceError
from hpcgeom.this_group import MEET_S, MEETING, Member, clear, comes, did_not_come, read_note, write_note

INTERFACE = "GLOO_SOCKET_IFNAME"


def address_of(member: Member) -> str:
    """At which address the others reach this process.

    Raises
    ------
    InputError
        The interface that is named has none.
    """
    if name := os.environ.get(INTERFACE):
        try:
            return address_of_interface(name)
        except LookupError as error:
            raise InputError(
                f"{INTERFACE}: '{name}' is no network interface of {socket.gethostname()} that has an IPv4 "
                f"address: name one that all nodes have ({error.args[0]})"
            ) from error
    return own_address(is_alone=member.is_on_one_node)


def keep_store(member: Member, address: str) -> dist.Store:
    """The first process keeps the store, on a port that is free, and leaves a note where it is."""
    job, _, attempt = member.group.rpartition("-")[0].rpartition("-")
    for left in member.folder.parent.glob(f"{job}-*-*") if job else ():
        if not left.name.startswith(f"{job}-{attempt}-"):
            clear(left)  # of an attempt of this job that was killed
    listener = socket.create_server((address, 0), backlog=1024)
    port, token = listener.getsockname()[1], secrets.token_hex(16)
    store = dist.TCPStore(
        address,
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=MEET_S),
        master_listen_fd=listener.detach(),
    )
    write_note(member.folder, MEETING, {"host": address, "port": port, "token": token})
    return dist.PrefixStore(token, store)


def find_store(member: Member) -> dist.Store:
    """The store of the first process, from its note.

    Raises
    ------
    ResourceError
        There is no note, or the store cannot be reached.
    """
    if not comes(lambda: read_note(member.folder, MEETING) is not None):
        raise ResourceError(did_not_come(member, MEETING))
    note = read_note(member.folder, MEETING)
    assert note is not None
    try:
        store = dist.TCPStore(
            note["host"],
            note["port"],
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=MEET_S),
        )
    except RuntimeError as error:
        raise ResourceError(
            f"process 0 of {member.n_processes} cannot be reached at {note['host']}:{note['port']}: set "
            f"{INTERFACE} to a network interface that all nodes have"
        ) from error
    return dist.PrefixStore(note["token"], store)
