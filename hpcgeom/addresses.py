"""At which address processes on other machines reach this one."""

from __future__ import annotations

import socket

import psutil

LOOPBACK = "127.0.0.1"


def address_of_interface(name: str) -> str:
    """The IPv4 address of a network interface of this machine.

    Raises
    ------
    LookupError
        There is no such interface, or it has no such address; says which there are.
    """
    known = _addresses()
    if name not in known:
        names = ", ".join(f"'{each}'" for each in sorted(known))
        raise LookupError(f"it has {names or 'none'}")
    return known[name]


def interface_of(address: str) -> str | None:
    """The network interface of this machine that has an IPv4 address; None where none has."""
    return next((name for name, each in _addresses().items() if each == address), None)


def own_address(*, is_alone: bool) -> str:
    """Where processes reach this one: what the machine's own name resolves to, or the default route has.

    Parameters
    ----------
    is_alone
        All of them are on this machine: the loopback interface.
    """
    if is_alone:
        return LOOPBACK
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        address = LOOPBACK
    return _of_default_route() if address.startswith("127.") else address


def _of_default_route() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(("192.0.2.1", 9))  # nothing is sent; the address is one that nobody has
        except OSError:
            return LOOPBACK
        return str(route.getsockname()[0])


def _addresses() -> dict[str, str]:
    return {
        name: address.address
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if address.family == socket.AF_INET
    }
