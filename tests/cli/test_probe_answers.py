"""What a node says of itself, and what is made of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcgeom.api import node_probe, probe_answers
from hpcgeom.api.cluster_requests import Place
from hpcgeom.api.doctor import carry_out
from hpcgeom.api.probe_answers import checks_of_answer, clock_skew_s
from hpcgeom.api.probing import Probe
from hpcgeom.launch.slurm.scripts import Placement
from hpcgeom.manifest.profile_sections import Profile

SHARED = "name a --run-dir on a file system that this machine and the nodes share, and that jobs may write"


@pytest.mark.parametrize(
    ("not_before", "told", "not_after", "skew_s"),
    [
        (100.0, 100.0, 130.0, 0.0),
        (100.0, 130.0, 130.0, 0.0),
        (100.0, 131.5, 130.0, 1.5),
        (100.0, 98.0, 130.0, -2.0),
        (100.0, 3700.0, 100.0, 3600.0),
    ],
)
def test_a_clock_is_wrong_by_at_least_what_lies_outside_of_the_window(not_before, told, not_after, skew_s):
    assert clock_skew_s(not_before, told, not_after) == skew_s


@pytest.fixture
def told(monkeypatch):
    """What a check says of an answer: whether all is well, and the text."""
    monkeypatch.setattr(
        probe_answers, "versions_here", lambda: {"hpcgeom": "0.1.0", "numpy": "2.4.6", "torch": "2.9.0+cpu"}
    )
    monkeypatch.setattr(node_probe, "code", lambda: {"folder": "/here", "digest": "d"})

    def told(check: str, profile: str = "{}", is_shared: bool = True, **changes: object) -> tuple[bool, str]:
        answer = {
            "began": 101.0,
            "host": "vm",
            "node": "n1",
            "python": "3.12.1",
            "executable": "/opt/python",
            "versions": {"hpcgeom": "0.1.0", "numpy": "2.4.6", "torch": "2.9.0+cu128"},
            "code": {"folder": "/there", "digest": "d"},
            "gpus": [],
            "interfaces": {"lo": "127.0.0.1", "eth0": "10.0.0.7", "ib0": ""},
            "sbatch": "",
            "greeting": "g",
            "trouble": "",
            "ended": 108.0,
            **changes,
        }
        place = Place(Placement(), has_gpus=True, gpu_type=None)
        probe = Probe(
            place, Path("/runs/x"), Path("/runs/x"), answer=answer, greeting="g", is_shared=is_shared
        )
        probe.not_before, probe.not_after = 100.0, 109.0
        checks = checks_of_answer(Profile(name="p", **json.loads(profile)), probe, ["search"])
        found = carry_out(check, checks[check])
        return found.is_fine, found.says

    return told


@pytest.mark.parametrize("check", ["python", "packages", "shared folder", "clock"])
def test_a_node_on_which_all_is_well(told, check):
    assert told(check)[0]


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        (
            "python",
            {"python": "3.9.18"},
            "expected 3.11 or newer on n1, found 3.9.18 (/opt/python): name another in environment",
        ),
        (
            "packages",
            {"versions": {"hpcgeom": "0.1.0", "numpy": "2.4.5", "torch": "!OSError: libcuda"}},
            "found numpy 2.4.5 on n1, 2.4.6 here; torch cannot be imported (OSError: libcuda) on n1",
        ),
        (
            "packages",
            {"versions": {"hpcgeom": "0.1.0", "numpy": "2.4.6"}},
            "torch cannot be imported (missing) on n1, 2.9.0+cpu here",
        ),
        (
            "packages",
            {"code": {"folder": "/there", "digest": "e"}},
            "found /there on n1, which differs from /here here: install the same",
        ),
        ("shared folder", {"greeting": None}, f"n1 sees a file that was written here, found none: {SHARED}"),
        (
            "shared folder",
            {"greeting": "old"},
            f"n1 sees a file that was written here, found an older one: {SHARED}",
        ),
        ("shared folder", {"trouble": "No space left"}, f"link files there, found: No space left: {SHARED}"),
        (
            "shared folder",
            {"is_shared": False},
            f"expected a file that n1 has written there, found none: {SHARED}",
        ),
        (
            "clock",
            {"ended": 111.1},
            "the clock of n1 agrees with the one here, found it at least 2.1 s ahead: ask",
        ),
        (
            "clock",
            {"began": 97.5},
            "the clock of n1 agrees with the one here, found it at least 2.5 s behind: ask",
        ),
        (
            "GPU",
            {"node": ""},
            "expected that torch sees the GPU of the job on vm, found none: install a torch for",
        ),
        (
            "GPU",
            {"gpus": [{"name": "A100", "bytes": 40 * 2**30}], "profile": '{"node": {"gpu_memory_gb": 80}}'},
            "node.gpu_memory_gb: expected at most 40.0, found 80 (A100 on n1): correct it",
        ),
        (
            "interface",
            {"profile": '{"dask": {"interface": "ib0"}}'},
            "dask.interface: expected an interface of n1 with an IPv4 address (eth0, lo), found 'ib0': ",
        ),
        (
            "interface",
            {"profile": '{"dask": {"interface": "ib0"}}', "interfaces": None},
            "psutil cannot be imported on n1, so nobody can say: install it there",
        ),
        (
            "submission",
            {"profile": '{"dask": {"mode": "jobqueue"}}', "sbatch": "Access denied"},
            "dask.mode: expected that n1 may submit jobs, as jobqueue needs, found: Access denied: set it to",
        ),
    ],
)
def test_a_node_on_which_something_is_wrong(told, check, answer, says):
    is_fine, said = told(check, **answer)
    assert not is_fine
    assert says in said


@pytest.mark.parametrize(("began", "ended"), [(98.1, 111.0), (98.0, 100.0)])
def test_a_clock_may_be_two_seconds_off(told, began, ended):
    assert told("clock", began=began, ended=ended)[0]


def _ask(folder: Path, sbatch: list[str] | None = None) -> tuple[int, dict[str, object]]:
    """Run the text of the probe as a job does; what it says in its log."""
    question = json.dumps({"folder": str(folder), "sbatch": sbatch})
    command = [sys.executable, "-c", Path(node_probe.__file__).read_text(), question]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(node_probe.MARK)]
    return done.returncode, json.loads(line.removeprefix(node_probe.MARK))


def test_the_probe_answers_in_the_folder_and_in_the_log(tmp_path):
    (tmp_path / node_probe.GREETING).write_text("hello")
    code, said = _ask(tmp_path, ["/bin/sh", "-c", "echo no, no; exit 3"])
    assert code == 0
    assert json.loads((tmp_path / node_probe.ANSWER).read_text()) == said
    assert (said["greeting"], said["trouble"], said["sbatch"]) == ("hello", "", "no, no")
    assert said["python"] == ".".join(map(str, sys.version_info[:3]))
    assert said["versions"] == node_probe.versions()
    assert said["code"] == node_probe.code()
    assert said["interfaces"]["lo"] == "127.0.0.1"
    assert sorted(path.name for path in tmp_path.iterdir()) == [node_probe.ANSWER, node_probe.GREETING]


def test_the_probe_says_that_its_folder_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(node_probe, "PACKAGES", ("json",))
    question = json.dumps({"folder": str(tmp_path / "no"), "sbatch": None})
    assert node_probe.main(question) == node_probe.NOT_SEEN
    said = json.loads(capsys.readouterr().out.strip().removeprefix(node_probe.MARK))
    assert (said["greeting"], said["trouble"]) == (None, "it is not there")
    assert not (tmp_path / "no").exists()


def test_the_probe_says_that_its_folder_cannot_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(node_probe, "PACKAGES", ("json",))
    (tmp_path / f"{node_probe.ANSWER}.new").mkdir()  # a place where no file can be made, for root too
    assert node_probe.main(json.dumps({"folder": str(tmp_path), "sbatch": None})) == node_probe.NOT_WRITABLE
    assert node_probe.MARK in capsys.readouterr().out


def test_packages_that_cannot_be_imported(monkeypatch, tmp_path):
    (tmp_path / "broken_package.py").write_text("raise OSError('libcuda.so.1')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(node_probe, "PACKAGES", ("broken_package", "no_such_package", "json"))
    assert node_probe.versions() == {
        "broken_package": "!OSError: libcuda.so.1",
        "no_such_package": "!ModuleNotFoundError: No module named 'no_such_package'",
        "json": "2.0.9",
    }


def test_the_code_is_known_by_every_module_of_it(tmp_path, monkeypatch):
    package = tmp_path / "hpcgeom"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "a.py").write_text("x = 1")
    found = SimpleNamespace(__file__=str(package / "__init__.py"))
    monkeypatch.setattr(node_probe.importlib, "import_module", lambda name: found)
    before = node_probe.code()
    (package / "inner" / "a.pyc").write_text("")
    assert node_probe.code() == before
    (package / "inner" / "a.py").write_text("x = 2")
    assert node_probe.code()["digest"] != before["digest"]


def test_a_submission_is_tried_as_from_outside_of_the_job(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    shell = 'echo "$SLURM_JOB_ID,$SLURM_CONF"; exit 1'
    assert node_probe.submission(["/bin/sh", "-c", shell]) == ",/etc/slurm.conf"
    assert node_probe.submission(["/bin/sh", "-c", "exit 0"]) == ""
    assert "/no/sbatch" in node_probe.submission(["/no/sbatch"])
    monkeypatch.setattr(node_probe, "SBATCH_TIMEOUT_S", 0.2)
    assert "timed out" in node_probe.submission(["/bin/sleep", "60"])


def test_file_systems_on_which_records_cannot_be_kept(monkeypatch, tmp_path):
    assert node_probe.file_trouble(str(tmp_path)) == ""
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", shutil.copyfile)
        assert node_probe.file_trouble(str(tmp_path)) == "a name can be created twice"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda source, target: os.unlink(source))
        assert node_probe.file_trouble(str(tmp_path)) == "a replaced file keeps its old content"

    def link(source, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert node_probe.file_trouble(str(tmp_path)) == "Operation not permitted"
