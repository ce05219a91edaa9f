"""Which of the GPUs of a job a process takes."""

from __future__ import annotations

import os

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible() -> list[str]:
    """The GPUs that this process was given, as CUDA calls them; none where it computes without."""
    return [device for device in os.environ.get(VISIBLE, "").split(",") if device]


def take_one(number: int) -> None:
    """Let this process see one of the GPUs of its job, before it loads CUDA; one or none stays as it is.

    Parameters
    ----------
    number
        Of the process among those of its node.
    """
    take_share(number, len(visible()))


def take_share(number: int, n: int) -> None:
    """Let this process see its part of the GPUs that `n` processes of a node see, before it loads CUDA.

    Where there are more processes than GPUs, each sees one that it shares.

    Parameters
    ----------
    number
        Of the process among those of its node.
    """
    devices = visible()
    if len(devices) > 1:
        mine = devices[number % n :: n] or [devices[number % len(devices)]]
        os.environ[VISIBLE] = ",".join(mine)


def number_on_node(name: object = None) -> int:
    """The number of this process among those that a launcher started on its node.

    Parameters
    ----------
    name
        What the launcher calls it, where that is its number.
    """
    text = str(name) if str(name).isdecimal() else os.environ.get("SLURM_LOCALID", "0")
    return int(text) if text.isdecimal() else 0
