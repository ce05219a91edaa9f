"""Text files as users have them: compressed, damaged, from other systems, or not data at all."""

import gzip
import hashlib
import struct
import zlib

import pytest

from hpcgeom.data import read_text_file, require_unchanged, source_digest
from hpcgeom.data.wording import counted, listed, nearest
from hpcgeom.errors import InputError

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def bgzf_block(content):
    """Write one block as the SAM specification, 4.1, describes it."""
    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(content) + deflate.flush()
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(content), len(content))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_line_ends_marks_and_compression_make_no_difference(line_end, mark, compress, tmp_path):
    path = tmp_path / ("t.txt" if compress is bytes else "t.txt.gz")
    path.write_bytes(compress(mark + "ä".encode() + line_end + b"b"))
    assert read_text_file(path) == "ä\nb"


def test_gzip_is_recognized_without_its_suffix(tmp_path):
    (tmp_path / "t.txt").write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert read_text_file(tmp_path / "t.txt") == "a\nb\n"


def test_every_truncation_of_a_gzip_file_is_found(tmp_path):
    whole = gzip.compress(b">a\nMKV\n" * 100, mtime=0)
    path = tmp_path / "t.fa.gz"
    for size in range(2, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(
            InputError, match=r"t.fa.gz is a truncated or damaged gzip file .*download it again"
        ):
            read_text_file(path)


def test_every_flipped_byte_of_compressed_data_is_found(tmp_path):
    whole = gzip.compress(b">a\nMKVLAAG\n" * 20, mtime=0)
    path = tmp_path / "t.fa.gz"
    for at in range(10, len(whole)):  # the ten bytes before are the header, not data
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(InputError, match="truncated or damaged gzip"):
            read_text_file(path)


def test_bgzip_cut_between_its_blocks_is_found(tmp_path):
    path = tmp_path / "t.fa.gz"
    path.write_bytes(bgzf_block(b">a\nMKV\n") + bgzf_block(b">b\nMKV\n") + BGZF_END)
    assert read_text_file(path) == ">a\nMKV\n>b\nMKV\n"
    path.write_bytes(bgzf_block(b">a\nMKV\n"))
    assert gzip.decompress(path.read_bytes()) == b">a\nMKV\n"  # gzip alone does not notice
    with pytest.raises(InputError, match="end-of-file block of bgzip is missing"):
        read_text_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n \n", "is empty"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page"),
        (b"  \n<HTML><body>", "is a web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"a\nb\0c\n", r"t.txt:2: holds a NUL"),
        (b"a\nb\ncaf\xe9\n", r"t.txt:3: not UTF-8 text \(byte 0xe9 at offset 7\)"),
        ("a".encode("utf-16"), "is UTF-16 text"),
    ],
)
def test_files_that_are_not_data_are_refused(content, message, tmp_path):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_text_file(tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b">a\nMKV\n", "named .gz but is not gzip"), (b"<html>", "is a web page"), (b"", "is empty")],
)
def test_a_gz_name_without_gzip_content_is_refused(content, message, tmp_path):
    (tmp_path / "t.fa.gz").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_text_file(tmp_path / "t.fa.gz")


def test_missing_files_and_folders_are_told_apart(tmp_path):
    (tmp_path / "proteins.fa").write_text("x")
    with pytest.raises(InputError, match=r"protein.fa does not exist \(nearest: 'proteins.fa'\)"):
        read_text_file(tmp_path / "protein.fa")
    with pytest.raises(InputError, match="neither does its folder"):
        read_text_file(tmp_path / "nowhere" / "protein.fa")
    with pytest.raises(InputError, match="is a folder; expected a file"):
        read_text_file(tmp_path)
    with pytest.raises(InputError, match=r"cannot read x+: File name too long; check path and permissions"):
        read_text_file("x" * 300)
    with pytest.raises(InputError, match="neither a file nor a folder"):
        read_text_file("/dev/null")


def test_source_digests_are_sizes_and_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    one, two = source_digest([tmp_path / "a", tmp_path / "b"])
    # FIPS 180-2, appendix B.1, and the known digest of nothing
    assert one.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert two.sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (one.path, one.size, two.size) == (str(tmp_path / "a"), 3, 0)


def test_the_digest_of_a_folder_knows_names_and_contents(tmp_path):
    folder = tmp_path / "z"
    (folder / "c").mkdir(parents=True)
    (folder / "c" / "0").write_bytes(b"abc")
    (before,) = source_digest([folder])
    line = f"c/0\0{3}\0{hashlib.sha256(b'abc').hexdigest()}\n"
    assert (before.size, before.sha256) == (3, hashlib.sha256(line.encode()).hexdigest())
    (folder / "c" / "0").rename(folder / "c" / "1")
    assert source_digest([folder]) != (before,)


def test_a_changed_source_is_refused_with_both_digests(tmp_path):
    path = tmp_path / "a.fa"
    path.write_bytes(b"abc")
    recorded = source_digest([path])
    require_unchanged(recorded)
    path.write_bytes(b"abd")
    with pytest.raises(
        InputError, match=r"a.fa has changed.*expected 3 bytes with sha256 ba7816bf8f01, found 3"
    ):
        require_unchanged(recorded)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        require_unchanged(recorded)


def test_lists_and_near_names_read_well():
    assert listed(["a", "b", "c"], shown=2) == "'a', 'b' and 1 more"
    assert listed([3, 4]) == "3, 4"
    assert nearest("text", ["txt", "id"]) == " (nearest: 'txt')"
    assert nearest("zzz", ["id"]) == ""
    assert (counted(1, "row"), counted(2, "row")) == ("1 row", "2 rows")
