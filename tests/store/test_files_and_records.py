"""Files that appear whole or not at all, and the records that promise their bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest

from hpcgeom.errors import DamagedError, IncompleteError, InputError, ResourceError
from hpcgeom.store import files, npz
from hpcgeom.store.records import SCHEMA, Records, read_record
from hpcgeom.types import Unit

UNIT = Unit("search", 3, "m/resid/mean/layer-001", "d" * 64, ("store/c/0", "folder"))


@pytest.fixture
def records(tmp_path):
    """Records of a stage, with the files of `UNIT` in place."""
    (tmp_path / "store" / "c").mkdir(parents=True)
    (tmp_path / "store" / "c" / "0").write_bytes(b"shard")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "b").write_bytes(b"bb")
    (tmp_path / "folder" / "a").write_bytes(b"a")
    return Records(tmp_path, "search")


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "new" / "a.json"
    files.write_atomic(path, b"first")
    files.write_json(path, {"b": 1, "a": [2.5]})
    assert json.loads(path.read_text()) == {"a": [2.5], "b": 1}
    assert path.read_text().endswith("}\n")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fails):
    path = tmp_path / "a.json"
    files.write_atomic(path, b"old")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync" if fails == "fsync" else "pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_the_path_and_what_to_do(tmp_path, monkeypatch, code):
    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(
        ResourceError, match=r"no space is left to write .*a\.json \(.*\): free some, then run"
    ):
        files.write_atomic(tmp_path / "a.json", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_json_does_not_have_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_all_folders_from_the_top_down_to_files_are_made_durable(tmp_path, monkeypatch):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "d").mkdir()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    files.sync_names([tmp_path / "a/b/c/0", tmp_path / "a/b/c/1", tmp_path / "a/d/0"], tmp_path / "a")
    expected = [(tmp_path / name).stat().st_ino for name in ("a", "a/b", "a/b/c", "a/d")]
    assert sorted(synced) == sorted(expected)


def test_files_are_compared_byte_by_byte(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(bytes(5_000_000))
    b.write_bytes(bytes(5_000_000))
    assert files.have_same_bytes(a, b)
    b.write_bytes(bytes(4_999_999) + b"\1")
    assert not files.have_same_bytes(a, b)
    b.write_bytes(bytes(4_999_999))
    assert not files.have_same_bytes(a, b)


def test_removing_what_a_unit_owns_takes_half_written_files_along(tmp_path):
    for name in ("s/0", "s/0.ab12.partial", "s/01", "s/01.ab12.partial", "f/x/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    files.remove(tmp_path, ("s/0", "f", "never/was"))
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"s/01", "s/01.ab12.partial"}


def test_a_record_holds_every_file_with_size_and_checksum_and_comes_back(records, tmp_path):
    assert not records.is_done(UNIT)
    records.write(UNIT, {"rows": [0, 5]}, {"host": "h"})
    assert records.path(UNIT) == tmp_path / "records" / "search" / "000003.json"
    record = read_record(records.path(UNIT))
    assert record == records.load(UNIT)
    assert [entry.path for entry in record.files] == ["folder/a", "folder/deep/b", "store/c/0"]
    assert [entry.size for entry in record.files] == [1, 2, 5]
    assert record.files[2].checksum == hashlib.sha256(b"shard").hexdigest()
    assert (record.key, record.digest, record.schema) == (UNIT.key, UNIT.digest, SCHEMA)
    assert (record.facts, record.made_by) == ({"rows": [0, 5]}, {"host": "h"})
    assert records.is_done(UNIT)
    assert records.damage(UNIT) == []
    assert records.missing([UNIT]) == []


def test_the_record_of_a_layout_is_named_by_its_key(records, tmp_path):
    layout = Unit("search", -1, "init", "e" * 64, ())
    assert records.path(layout).name == "init.json"


def test_a_record_is_not_trusted_without_its_bytes(records, tmp_path):
    records.write(UNIT, {}, {})
    (tmp_path / "folder" / "a").write_bytes(b"aa")
    assert not records.is_done(UNIT)
    (tmp_path / "folder" / "a").unlink()
    assert not records.is_done(UNIT)
    assert records.damage(UNIT) == ["folder/a is missing"]
    (tmp_path / "folder" / "a").write_bytes(b"b")
    assert records.is_done(UNIT)  # sizes are looked at here, bytes by verify and by the codecs
    assert records.damage(UNIT) == ["folder/a has other bytes than its record says"]


def test_bytes_without_a_record_are_no_data(records):
    assert records.load(UNIT) is None
    assert records.damage(UNIT) == []
    with pytest.raises(
        IncompleteError, match=r"stage 'search' of .*1 of 1 units.*3 \(m/resid/mean/layer-001\)"
    ):
        records.require([UNIT])


def test_every_byte_promised_or_not_is_accounted_for(records, tmp_path):
    records.write(UNIT, {}, {})
    (tmp_path / "folder" / "extra").write_bytes(b"")
    (tmp_path / "store" / "c" / "0").write_bytes(b"shards")
    assert records.damage(UNIT) == [
        "store/c/0 has 6 bytes, its record says 5",
        "folder/extra is not in the record of the unit that owns it",
    ]


def test_removing_a_record_or_marking_it_bad_makes_the_unit_missing(records):
    records.write(UNIT, {}, {})
    records.finalize([UNIT])
    assert json.loads((records.folder / "done.json").read_text())["digests"] == [UNIT.digest]
    records.mark_bad(UNIT)
    assert records.missing([UNIT]) == [UNIT]
    assert (records.folder / "000003.bad").exists()
    assert not (records.folder / "done.json").exists()
    records.write(UNIT, {}, {})
    records.remove(UNIT)
    records.remove(UNIT)
    assert records.missing([UNIT]) == [UNIT]
    with pytest.raises(IncompleteError, match=r"1 of 1 units have no valid record.*hpcgeom resume"):
        records.finalize([UNIT])
    assert not (records.folder / "done.json").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"digest": "0" * 64}, r"'m/resid/mean/layer-001' with digest 000000000000.*asks for.*dddddddddddd"),
        ({"key": "other"}, r"is about 'other'.*asks for 'm/resid/mean/layer-001'.*another --run-dir"),
        ({"schema": SCHEMA + 1}, rf"has schema {SCHEMA + 1}, but this hpcgeom reads up to {SCHEMA}"),
        ({"schema": SCHEMA + 1, "unheard_of": 1}, rf"has schema {SCHEMA + 1}"),
        ({"schema": SCHEMA + 1, "files": {"a": 1}}, rf"has schema {SCHEMA + 1}"),
    ],
)
def test_records_of_something_else_or_of_a_newer_hpcgeom_are_refused(records, changes, says):
    records.write(UNIT, {}, {})
    path = records.path(UNIT)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=says):
        records.is_done(UNIT)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"files": 3}', '{"files": [], "stage": "s"}'])
def test_what_is_no_record_counts_as_none(records, text):
    records.folder.mkdir(parents=True)
    records.path(UNIT).write_text(text)
    assert records.load(UNIT) is None
    assert records.missing([UNIT]) == [UNIT]


def test_parts_come_back_as_saved_and_their_bytes_depend_on_them_alone(tmp_path):
    import numpy as np

    values = {"a": np.arange(5), "b|c": np.array(2.5)}
    npz.save(tmp_path / "one.npz", values)
    npz.save(tmp_path / "two.npz", values)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    found = npz.load(tmp_path / "one.npz")
    assert set(found) == set(values)
    np.testing.assert_array_equal(found["a"], values["a"])


def test_no_damage_of_a_part_gives_other_numbers_or_more_of_them(tmp_path):
    import numpy as np

    path = tmp_path / "part.npz"
    values = {"a": np.arange(5, dtype=np.int64), "b": np.linspace(0.0, 1.0, 7)}
    npz.save(path, values)
    expected = {name: value.tolist() for name, value in values.items()}
    whole, n_refused = path.read_bytes(), 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        try:
            found = npz.load(path)
        except DamagedError:
            n_refused += 1
        else:  # other dates, or the end of the archive says that there is less in it
            assert {name: value.tolist() for name, value in found.items()}.items() <= expected.items()
    assert n_refused > len(whole) / 2
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match=r"part\.npz cannot be read.*hpcgeom verify"):
            npz.load(path)
