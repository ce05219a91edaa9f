"""Can this machine run hpcgeom, and if not, why: one small check for each thing that is needed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hpcgeom.errors import HpcgeomError, InputError

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 5 * 2**30
MIN_MEMORY_BYTES = 4 * 2**30
MIN_TMP_BYTES = 2**28
_ELSEWHERE = "name a --run-dir on another file system"
MODULES = (
    ("torch", "pip install torch"),
    ("transformers", "pip install transformers"),
    ("zarr", "pip install zarr"),
    ("xarray", "pip install xarray"),
    ("distributed", "pip install distributed"),
    ("numba", "pip install numba"),
    ("faiss", "pip install 'hpcgeom[cpu]', or hpcgeom[gpu] on a machine with a GPU"),
)
MIN_ZARR = (3, 1, 3)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    is_fine: bool
    says: str


class Wrong(Exception):
    """A check failed; the text says why and what to do."""


def examine(folder: Path) -> list[Finding]:
    """Check Python, packages, memory, disk, the file system of `folder`, and the search itself."""
    return [carry_out(name, check) for name, check in checks_of(folder).items()]


def checks_of(folder: Path) -> dict[str, Callable[[], str]]:
    """What there is to check, by name; a check says what it found, or raises."""
    return {
        "python": _python,
        **{name: partial(_module, name, mend) for name, mend in MODULES},
        "dadapy": _dadapy,
        "zarr version": _zarr_version,
        "memory": _memory,
        "cores": _cores,
        "disk": partial(_disk, folder),
        "file system": partial(_file_system, folder),
        "checksums": partial(_checksums, folder),
        "numba cache": _numba_cache,
        "search": _search,
        "temporary folder": _temporary_folder,
    }


def examine_models(manifest: Path, run_dir: Path, profile: Path | None) -> list[Finding]:
    """Say which strategy fits each model of a manifest on this machine, or on the cluster of a profile.

    Parameters
    ----------
    run_dir
        Its plan is used where it was prepared; a module has none before.
    """
    from hpcgeom.api.pricing import price, price_of
    from hpcgeom.api.strategies import devices_of, resources_for
    from hpcgeom.manifest import load_manifest
    from hpcgeom.manifest.profile import load_profile
    from hpcgeom.plan import paths
    from hpcgeom.plan.strategies import wishes_of
    from hpcgeom.stages.run import Run

    try:
        loaded = load_manifest(manifest)
        here = resources_for(None, None, None)
        devices = here.devices() if profile is None else devices_of(load_profile(profile).profile)
        if (run_dir / paths.PLAN).exists():
            found = price_of(Run(run_dir).plan, wishes_of(loaded.manifest), devices)
        else:
            found = price(manifest, devices=devices)
    except HpcgeomError as error:
        return [Finding("models", False, str(error))]
    return [
        Finding(
            f"model {name}",
            not choice.refusal,
            choice.refusal or f"{choice.strategy} on {choice.devices.where} ({choice.why})",
        )
        for name, choice in found.choices.items()
    ]


def carry_out(name: str, check: Callable[[], str]) -> Finding:
    """Turn whatever a check does into a finding."""
    try:
        return Finding(name, True, check())
    except Wrong as error:
        return Finding(name, False, str(error))
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < MIN_PYTHON:
        raise Wrong(f"{version} is older than {MIN_PYTHON[0]}.{MIN_PYTHON[1]}: use a newer Python")
    return version


def _module(name: str, mend: str) -> str:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken installation raises anything
        raise Wrong(f"cannot be imported ({error}): {mend}") from error
    return str(getattr(module, "__version__", "found"))


def _zarr_version() -> str:
    version = importlib.metadata.version("zarr")
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if numbers < MIN_ZARR:
        raise Wrong(f"{version} does not write files atomically: pip install 'zarr>=3.1.3'")
    return f"{version} writes files atomically"


def _dadapy() -> str:
    """Nothing is wrong without it: few manifests ask for what it alone has."""
    from hpcgeom.geometry import dadapy_backend

    try:
        return f"{dadapy_backend.version()} finds clusters (geometry.clusters) and may measure"
    except InputError as error:
        if importlib.util.find_spec("dadapy") is not None:
            raise Wrong(str(error)) from error
        return "not here, and needed by geometry.clusters and measure --backend dadapy alone"


def _memory() -> str:
    import psutil

    available = psutil.virtual_memory().available
    if available < MIN_MEMORY_BYTES:
        raise Wrong(
            f"{available / 2**30:.1f} GiB are free, {MIN_MEMORY_BYTES / 2**30:.0f} GiB are needed: "
            "close other programs, or use a larger node"
        )
    return f"{available / 2**30:.1f} GiB are free"


def _cores() -> str:
    usable = len(os.sched_getaffinity(0))
    if usable < 1:
        raise Wrong("no core may be used: ask for one")
    return f"{usable} of {os.cpu_count()} may be used"


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(existing(folder)).free
    if free < MIN_FREE_BYTES:
        raise Wrong(
            f"{free / 2**30:.1f} GiB are free below {folder}, {MIN_FREE_BYTES / 2**30:.0f} GiB are needed: "
            "free some, or name another --run-dir"
        )
    return f"{free / 2**30:.1f} GiB are free below {folder.resolve()}"


def _file_system(folder: Path) -> str:
    """What records and leases stand on: exclusive creation, atomic replacement, hard links, fsync."""
    try:
        with tempfile.TemporaryDirectory(dir=existing(folder), prefix=".hpcgeom-doctor-") as name:
            root = Path(name)
            first, second = root / "first", root / "second"
            first.write_text("old")
            descriptor = os.open(first, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            second.write_text("new")
            second.replace(first)
            os.link(first, second)
            try:
                os.link(first, second)
            except FileExistsError:
                pass
            else:
                raise Wrong(
                    f"{folder}: a name can be created twice; leases need exclusive creation: {_ELSEWHERE}"
                )
            if first.read_text() != "new":
                raise Wrong(
                    f"{folder}: a replaced file keeps its old content; records need atomic replacement: "
                    f"{_ELSEWHERE}"
                )
    except OSError as error:
        raise Wrong(
            f"{folder} cannot be written as needed ({error.strerror}): name a --run-dir that you own, "
            "on a file system with hard links"
        ) from error
    return "exclusive creation, atomic replacement, hard links and fsync work"


def _checksums(folder: Path) -> str:
    """A flipped bit must be an error, not a number."""
    import numpy as np
    import zarr
    from zarr.codecs import Crc32cCodec

    with tempfile.TemporaryDirectory(dir=existing(folder), prefix=".hpcgeom-doctor-") as name:
        array = zarr.create_array(
            Path(name) / "a.zarr", shape=(64,), chunks=(64,), dtype="float32", compressors=[Crc32cCodec()]
        )
        array[:] = np.arange(64, dtype=np.float32)
        shard = Path(name) / "a.zarr" / "c" / "0"
        content = bytearray(shard.read_bytes())
        content[7] ^= 1
        shard.write_bytes(bytes(content))
        try:
            array[:]
        except ValueError:
            return "a flipped bit is found when it is read"
    raise Wrong("a flipped bit was read as data: reinstall zarr and google-crc32c")


def _numba_cache() -> str:
    package = Path(__file__).resolve().parents[1]
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else package / "geometry"
    if _can_be_written(existing(folder)):
        return f"compiled kernels are kept below {folder}"
    home = Path.home()
    if chosen is None and _can_be_written(home):
        return f"compiled kernels are kept below {home}"
    raise Wrong(
        f"{folder} cannot be written: set NUMBA_CACHE_DIR to a folder that can, "
        "or every process compiles anew"
    )


def _search() -> str:
    import numpy as np

    from hpcgeom.search import nearest_neighbors

    line = np.array([[0.0], [1.0], [3.0], [7.0], [15.0]])
    distances, indices = nearest_neighbors(line, 2)
    if indices[:, 0].tolist() != [1, 0, 1, 2, 3] or distances[0].tolist() != [1.0, 3.0]:
        raise Wrong(
            f"neighbors of five points on a line are wrong ({indices.tolist()}): reinstall faiss and numba"
        )
    return "neighbors of five points on a line are right"


def _temporary_folder() -> str:
    chosen = os.environ.get("TMPDIR")
    if chosen and not _can_be_written(Path(chosen)):
        raise Wrong(f"TMPDIR is {chosen}, which is not a folder that can be written: set it to one that is")
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    if free < MIN_TMP_BYTES:
        raise Wrong(f"{folder} has {free / 2**20:.0f} MiB free: set TMPDIR to a larger folder")
    return f"{folder} has {free / 2**30:.1f} GiB free"


def _can_be_written(folder: Path) -> bool:
    """Whether a file can be made in `folder`: permissions alone do not say it (quotas, read-only disks)."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
