"""Files of ``torch.save`` that may come from anywhere: tensors and plain values are read, nothing is run."""

from __future__ import annotations

import re
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hpcgeom.errors import InputError

_ZIP = b"PK\x03\x04"
_BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of torch before 1.6 begin
_LFS_POINTER = b"version https://git-lfs"
_GLOBAL = re.compile(r"GLOBAL ['\"]?([\w.]+)")
_ONE_AT_A_TIME = threading.Lock()  # what may be loaded is a setting of the process
_AGAIN = "it was probably cut off or changed in a copy: fetch it again"


def read_torch_file(file: Path, allowed: Sequence[type]) -> Any:
    """What was saved; tensors are mapped from the file where its layout allows, and so cost no memory yet.

    Parameters
    ----------
    file
        A file of ``torch.save``.
    allowed
        Classes that may be in it beside tensors and plain values, whatever else the process allows.

    Raises
    ------
    InputError
        There is no such file; it is cut off, damaged, a TorchScript program, or not a file of torch; or it
        names code other than `allowed`, which is never run.
    """
    can_map = _check_container(file)
    with _ONE_AT_A_TIME:
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            with torch.serialization.safe_globals(list(allowed)):
                return torch.load(str(file), map_location="cpu", weights_only=True, mmap=can_map)
        except Exception as error:  # a pickle can fail in any way
            raise InputError(_message(file, allowed, error)) from error
        finally:
            torch.serialization.add_safe_globals(others)


def _message(file: Path, allowed: Sequence[type], error: Exception) -> str:
    text = " ".join(str(error).split())
    found = _GLOBAL.search(text)
    if found is None:
        return f"{file} cannot be read as a file of torch.save: {text[:300]}: {_AGAIN}"
    names = ", ".join(f"{kind.__module__}.{kind.__qualname__}" for kind in allowed)
    return (
        f"{file} names the code '{found[1]}', which is never run: expected tensors, plain values and "
        f"{names or 'nothing'} else: if you trust the file, load it where it was made and save its weights "
        "alone"
    )


def _check_container(file: Path) -> bool:
    """Whether the file can be mapped; it is a whole file of torch.save as far as its outside tells."""
    if not file.is_file():
        raise InputError(f"weights {file}: there is no such file: correct the path")
    with file.open("rb") as raw:
        start = raw.read(32)
    if start.startswith(_ZIP):
        return _check_zip(file)
    if start.startswith(_BEFORE_ZIP):
        return False
    if start.startswith(_LFS_POINTER):
        raise InputError(f"{file} is a git-lfs pointer, not weights: run `git lfs pull` in its folder")
    raise InputError(
        f"{file} is no file of torch.save (it begins with {start[:12]!r}): expected the original .pt file: "
        "check what was fetched"
    )


def _check_zip(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            names = [record.filename for record in records]
            damaged = archive.testzip()  # torch does not check what it maps
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        size = file.stat().st_size
        raise InputError(
            f"{file} ({size} bytes) is not a whole file of torch.save: {error}: {_AGAIN}"
        ) from error
    if damaged is not None:
        raise InputError(f"{file} is damaged: its part '{damaged}' has another checksum: {_AGAIN}")
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(
            f"{file} is a TorchScript program, which is never run: expected the weights as torch.save writes "
            "them: take the original .pt file"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise InputError(
            f"{file} is a zip archive, but not a file of torch.save: expected the original .pt file: check "
            "what was fetched"
        )
    return all(record.compress_type == zipfile.ZIP_STORED for record in records)
