"""Keys for Dask processes on several nodes.

Whoever can talk to a scheduler or a worker can have code executed, so all connections are encrypted and need
the certificate of this one cluster. Processes on other nodes read it from files that only this user can read:
neither a command line nor an environment, which others see in a list of processes, holds a secret.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed import Security


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate and its key, made for one cluster.

    Attributes
    ----------
    security
        For the scheduler and the client, which are in this process.
    folder
        Mode 0700; holds the same as files of mode 0600, for the workers. Its name, ``tls-`` and random
        letters, is unique among the clusters that share the folder above.
    """

    security: Security
    folder: Path

    @property
    def token(self) -> str:
        """Random letters that no other cluster of this folder has."""
        return self.folder.name.removeprefix("tls-")

    def options(self) -> list[str]:
        """The options of a worker's command line that name the files."""
        certificate, key = str(self.folder / "certificate.pem"), str(self.folder / "key.pem")
        return ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]


@contextmanager
def credentials(shared: Path) -> Iterator[Credentials]:
    """A certificate for as long as the body runs.

    Parameters
    ----------
    shared
        A folder that all nodes see; the files are in a new folder below it, which is removed at the end.
    """
    shared.mkdir(parents=True, exist_ok=True)
    # On network file systems the name of a file that is still open elsewhere stays for a moment.
    with tempfile.TemporaryDirectory(prefix="tls-", dir=shared, ignore_cleanup_errors=True) as name:
        folder = Path(name).absolute()
        security = Security.temporary()
        _write_privately(folder / "certificate.pem", security.tls_worker_cert)
        _write_privately(folder / "key.pem", security.tls_worker_key)
        yield Credentials(security, folder)


def _write_privately(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
