"""Reading a user's text file without surprises, and telling whether it has changed since."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpcgeom.data.wording import nearest
from hpcgeom.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
# bgzip ends every whole file with this empty block; without it, blocks are missing (SAM format, 4.1.2).
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class SourceDigest:
    """Size in bytes and sha256 (64 hex) of one input: a file, or a folder with all files below it."""

    path: str
    size: int
    sha256: str


def read_text_file(path: Path | str) -> str:
    r"""Read a UTF-8 text file, plain or gzip, with every line end turned into ``\n``.

    A byte order mark at the start is dropped. Whether the file is compressed is seen from its first bytes.

    Raises
    ------
    InputError
        If there is no such file, it is a folder, empty, a web page or a Git LFS pointer in place of
        data, a damaged or truncated gzip file, not UTF-8, or holds a NUL character.
    """
    path = Path(path)
    content = _decompressed(path, read_bytes(path))
    if not content.removeprefix(_UTF8_BOM).strip():
        raise InputError(
            f"{path} is empty: expected text, found {len(content)} bytes of nothing; write it again"
        )
    _refuse_stand_ins(path, content)
    text = _decoded(path, content)
    if (nul := text.find("\0")) >= 0:
        raise InputError(
            f"{path}:{_line_of(text, nul)}: holds a NUL character; expected plain UTF-8 text: "
            "check that this is the right file, and remove the character"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path | str) -> bytes:
    """Read a whole file.

    Raises
    ------
    InputError
        If there is no such file (with the nearest name in its folder), it is a folder, or unreadable.
    """
    path = require_file(path)
    with readable(path):
        return path.read_bytes()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the system says about a path (no permission, name too long, ...) into an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check path and permissions") from error


def require_file(path: Path | str) -> Path:
    """Return the path of an existing regular file; symbolic links are followed.

    Raises
    ------
    InputError
        If there is none (with the nearest name in its folder), or it is a folder or a device.
    """
    path = Path(path)
    with readable(path):
        is_file, is_folder, exists = path.is_file(), path.is_dir(), path.exists()
    if is_file:
        return path
    if is_folder:
        raise InputError(f"{path} is a folder; expected a file: name one file in it")
    if exists:
        raise InputError(f"{path} is neither a file nor a folder; copy its content to a file first")
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{path} does not exist, and neither does its folder {folder}: check the path")
    hint = nearest(path.name, sorted(entry.name for entry in folder.iterdir()))
    raise InputError(f"{path} does not exist{hint}: check the path")


def source_digest(paths: Iterable[Path | str]) -> tuple[SourceDigest, ...]:
    """Take the size and sha256 of each input, in the order given.

    Of a folder (a Zarr array), the size is the sum over its files, and the sha256 is taken over the sorted
    lines ``relative name NUL size NUL sha256`` of its files.

    Raises
    ------
    InputError
        If an input does not exist or cannot be read.
    """
    return tuple(_digest_of(Path(path)) for path in paths)


def require_unchanged(recorded: Iterable[SourceDigest]) -> None:
    """Check that inputs are still those that were recorded.

    Raises
    ------
    InputError
        If one is missing, or has another size or sha256.
    """
    for expected in recorded:
        found = _digest_of(Path(expected.path))
        if found != expected:
            raise InputError(
                f"{expected.path} has changed since it was recorded: expected {expected.size} bytes with "
                f"sha256 {expected.sha256[:12]}, found {found.size} bytes with {found.sha256[:12]}; "
                "restore the file, or prepare a new run"
            )


def _digest_of(path: Path) -> SourceDigest:
    if not path.is_dir():
        size, sha256 = _hashed(require_file(path))
        return SourceDigest(str(path), size, sha256)
    total, whole = 0, hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        size, sha256 = _hashed(file)
        total += size
        whole.update(f"{file.relative_to(path).as_posix()}\0{size}\0{sha256}\n".encode())
    return SourceDigest(str(path), total, whole.hexdigest())


def _hashed(path: Path) -> tuple[int, str]:
    with readable(path), path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256


def _decompressed(path: Path, content: bytes) -> bytes:
    if not content.startswith(_GZIP_MAGIC):
        if path.suffix.lower() == ".gz" and content.strip():
            _refuse_stand_ins(path, content)
            raise InputError(f"{path} is named .gz but is not gzip: drop .gz from its name, or compress it")
        return content
    is_bgzf = content[3] & 4 and content[12:14] == b"BC" if len(content) > 13 else False
    if is_bgzf and not content.endswith(_BGZF_END):
        raise _damaged_gzip(path, "the end-of-file block of bgzip is missing")
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged_gzip(path, str(error)) from error


def _damaged_gzip(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is a truncated or damaged gzip file ({reason}): copy or download it again")


def _refuse_stand_ins(path: Path, content: bytes) -> None:
    start = content[:1000].removeprefix(_UTF8_BOM).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        raise InputError(
            f"{path} is a web page (HTML or XML), not data; a failed download leaves such files: "
            "open it to see why, and download the data again"
        )
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the data: fetch it with `git lfs pull`")


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith(_UTF16_BOMS):
        raise InputError(f"{path} is UTF-16 text; expected UTF-8: save it again as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: not UTF-8 text (byte 0x{content[error.start]:02x} at offset {error.start}): "
            "save it again as UTF-8"
        ) from error


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
