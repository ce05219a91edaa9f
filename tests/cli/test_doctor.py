"""The doctor: every check finds what it is for, and says what to do."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from hpcgeom.api import doctor
from hpcgeom.api.doctor import Finding, carry_out, checks_of, examine

NOBODY = 65534
TOKENS = """\
name: tokens
dataset: {kind: tokens, path: rows.npy}
models: [{name: gpt, family: gpt2, source: openai-community/gpt2, strategy: auto}]
extract: {tokens_per_batch: 1024}
"""


@pytest.fixture
def says(tmp_path):
    """What a check says when something is wrong."""

    def says(name: str, folder: Path = tmp_path) -> str:
        found = carry_out(name, checks_of(folder)[name])
        assert not found.is_fine, found
        return found.says

    return says


def test_where_all_is_well_every_check_is_fine(tmp_path, monkeypatch):
    # Whatever machine the tests run on, it has a byte left.
    for name in ("MIN_FREE_BYTES", "MIN_MEMORY_BYTES", "MIN_TMP_BYTES"):
        monkeypatch.setattr(doctor, name, 1)
    found = examine(tmp_path / "not" / "there" / "yet")
    assert [item.check for item in found if not item.is_fine] == []
    assert [item.check for item in found] == list(checks_of(tmp_path))
    assert list(tmp_path.iterdir()) == []
    said = {item.check: item.says for item in found}
    assert said["python"] == ".".join(map(str, sys.version_info[:3]))
    assert said["zarr version"] == f"{zarr.__version__} writes files atomically"


def test_an_old_python(says, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_PYTHON", (99, 1))
    assert says("python").endswith("is older than 99.1: use a newer Python")


@pytest.mark.parametrize(("name", "mend"), doctor.MODULES)
def test_a_package_that_is_missing(says, monkeypatch, name, mend):
    monkeypatch.setitem(sys.modules, name, None)
    assert says(name).startswith("cannot be imported (")
    assert says(name).endswith(f"): {mend}")


def test_a_package_that_is_broken(says, monkeypatch, tmp_path):
    (tmp_path / "faiss.py").write_text("raise OSError('libcuda.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    said = says("faiss")
    assert said.startswith("cannot be imported (libcuda.so.1: cannot open shared object file): pip install")
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [("2.18.0", False), ("3.1.2", False), ("3.1.3", True), ("3.10", True), ("4.0", True)],
)
def test_a_zarr_that_does_not_rename_files_into_place(monkeypatch, tmp_path, version, is_fine):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    found = carry_out("zarr version", checks_of(tmp_path)["zarr version"])
    mend = f"{version} does not write files atomically: pip install 'zarr>=3.1.3'"
    assert found == Finding(
        "zarr version", is_fine, f"{version} writes files atomically" if is_fine else mend
    )


def test_too_little_memory(says, monkeypatch):
    available = SimpleNamespace(available=int(1.5 * 2**30))
    monkeypatch.setattr("psutil.virtual_memory", lambda: available)
    assert says("memory") == "1.5 GiB are free, 4 GiB are needed: close other programs, or use a larger node"


def test_too_few_cores(says, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set())
    assert says("cores") == "no core may be used: ask for one"


Usage = namedtuple("Usage", "total used free")


def test_too_little_disk(says, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 2**40, 2**30))
    assert says("disk") == (
        f"1.0 GiB are free below {tmp_path}, 5 GiB are needed: free some, or name another --run-dir"
    )


@pytest.fixture
def read_only(monkeypatch):
    """A folder that this process may not write to, even where the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "runs")
        folder.mkdir()
        Path(name).chmod(0o755)
        folder.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)


def test_a_folder_of_somebody_else(says, read_only):
    assert says("file system", read_only) == (
        f"{read_only} cannot be written as needed (Permission denied): "
        "name a --run-dir that you own, on a file system with hard links"
    )


def test_a_file_in_place_of_a_folder(says, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file cannot be written as needed (Not a directory)" in says("file system", tmp_path / "file")


def test_a_file_system_without_hard_links(says, monkeypatch):
    def link(source, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert "cannot be written as needed (Operation not permitted)" in says("file system")


def test_a_file_system_on_which_a_name_can_be_made_twice(says, monkeypatch):
    monkeypatch.setattr(os, "link", shutil.copyfile)
    assert says("file system").endswith(
        "a name can be created twice; leases need exclusive creation: name a --run-dir on another file system"
    )


def test_a_file_system_on_which_a_replaced_file_stays_old(says, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda self, target: self.unlink())
    assert says("file system").endswith(
        "keeps its old content; records need atomic replacement: name a --run-dir on another file system"
    )


def test_a_flipped_bit_that_is_read_as_data(says, monkeypatch):
    create = zarr.create_array
    monkeypatch.setattr(zarr, "create_array", lambda *a, **k: create(*a, **{**k, "compressors": None}))
    assert says("checksums") == "a flipped bit was read as data: reinstall zarr and google-crc32c"


def test_a_cache_for_compiled_kernels_that_cannot_be_written(says, monkeypatch, read_only):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(read_only / "cache"))
    assert says("numba cache") == (
        f"{read_only / 'cache'} cannot be written: set NUMBA_CACHE_DIR to a folder that can, "
        "or every process compiles anew"
    )


def test_without_a_cache_of_its_own_the_home_folder_does(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(doctor, "_can_be_written", lambda folder: folder == tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = carry_out("numba cache", checks_of(tmp_path)["numba cache"])
    assert (found.is_fine, found.says) == (True, f"compiled kernels are kept below {tmp_path}")


def test_a_search_that_finds_the_wrong_neighbors(says, monkeypatch):
    import hpcgeom.search

    def wrong(points, k):
        distances, indices = right(points, k)
        return distances, indices[::-1]

    right = hpcgeom.search.nearest_neighbors
    monkeypatch.setattr(hpcgeom.search, "nearest_neighbors", wrong, raising=False)
    assert says("search").startswith("neighbors of five points on a line are wrong ([[3, 2],")


def test_a_folder_for_temporary_files_that_does_not_exist(says, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    assert says("temporary folder") == (
        "TMPDIR is /no/such/folder, which is not a folder that can be written: set it to one that is"
    )


def test_a_folder_for_temporary_files_that_is_full(says, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 2**40, 2**20))
    assert says("temporary folder").endswith("has 1 MiB free: set TMPDIR to a larger folder")


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(monkeypatch, tmp_path):
    def broken():
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(doctor, "checks_of", lambda folder: {"one": broken, "two": lambda: "fine"})
    assert examine(tmp_path) == [
        Finding("one", False, "ZeroDivisionError: division by zero"),
        Finding("two", True, "fine"),
    ]


def models_say(manifest, folder, profile=None):
    return {
        item.check: (item.is_fine, item.says) for item in doctor.examine_models(manifest, folder, profile)
    }


def test_models_of_a_manifest_are_laid_out_on_what_there_is(tmp_path):
    manifest, profile = tmp_path / "m.yaml", tmp_path / "p.yaml"
    np.save(tmp_path / "rows.npy", np.zeros((600, 64), np.int64))
    manifest.write_text(TOKENS)
    profile.write_text("name: p\nextract: {gpus: 1}\nnode: {gpus: 1, gpu_memory_gb: 1.4, memory_gb: 16}\n")
    assert models_say(manifest, tmp_path) == {"model gpt": (True, "replicate on this machine (it fits)")}
    is_fine, says = models_say(manifest, tmp_path, profile)["model gpt"]
    assert is_fine
    assert says.startswith("dispatch on the nodes of profile 'p' (replicate: needs ")
    profile.write_text("name: p\nextract: {gpus: 1}\nnode: {gpus: 1, gpu_memory_gb: 1, memory_gb: 16}\n")
    is_fine, says = models_say(manifest, tmp_path, profile)["model gpt"]
    assert not is_fine
    assert says.startswith("model 'gpt' cannot be run on the nodes of profile 'p' (replicate: needs ")


def test_a_manifest_that_is_wrong_is_a_finding(tmp_path):
    (tmp_path / "m.yaml").write_text(TOKENS.replace("gpt2,", "gpt3,"))
    is_fine, says = models_say(tmp_path / "m.yaml", tmp_path)["models"]
    assert not is_fine
    assert "m.yaml:3: models[0].family" in says
