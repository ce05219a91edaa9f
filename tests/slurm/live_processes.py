"""Processes of this machine, looked at without the lab's own code."""

from __future__ import annotations

from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process runs; its exit status alone does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def mentioning(folder: Path) -> list[int]:
    """Processes that have the folder in their command line or their variables."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            texts = [(process / name).read_bytes() for name in ("cmdline", "environ")]
        except OSError:
            continue
        if any(bytes(folder) in text for text in texts) and is_alive(int(process.name)):
            found.append(int(process.name))
    return found
