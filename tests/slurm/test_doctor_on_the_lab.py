"""The doctor on a real cluster: all is well with the right profile, and each thing that is wrong is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcgeom.api import probing
from hpcgeom.api.cluster_doctor import examine_cluster

pytestmark = pytest.mark.slurm

EXAMINE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from hpcgeom.api.cluster_doctor import examine_cluster
found = examine_cluster(Path(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps({item.check: [item.is_fine, item.says] for item in found}))
"""


@pytest.fixture
def runs(tmp_path):
    """Where runs will be; every node sees it."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def examine(lab, tmp_path, runs, monkeypatch):
    """Examine the lab with a profile; returns what each check says, and whether it is fine."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)

    def examine(profile: str) -> dict[str, tuple[bool, str]]:
        found = examine_cluster(_written(tmp_path, profile), runs / "new")
        assert len({item.check for item in found}) == len(found)
        assert list(runs.iterdir()) == []
        assert lab.run("squeue", "-h", "-t", "PENDING,RUNNING,SUSPENDED").stdout == ""
        return {item.check: (item.is_fine, item.says) for item in found}

    return examine


@pytest.fixture
def wrong(examine):
    """What is wrong with a profile, by check."""
    return lambda profile: {check: says for check, (fine, says) in examine(profile).items() if not fine}


def _written(folder: Path, profile: str) -> Path:
    path = folder / "profile.yaml"
    path.write_text(f"name: lab\n{profile}\n")
    return path


def _python(path: Path, *lines: str) -> Path:
    """A Python that does something before it starts."""
    path.write_text("\n".join(["#!/bin/bash", *lines, f'exec {sys.executable} "$@"', ""]))
    path.chmod(0o755)
    return path


def _modules(folder: Path, **modules: str) -> str:
    """A profile whose Python finds these modules first."""
    folder.mkdir()
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return f"environment: {{variables: {{PYTHONPATH: {folder}}}}}"


def test_with_the_right_profile_all_is_well(examine, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    found = examine(
        f"slurm: {{partition: main, max_array_size: 20}}\nlogs: {logs}\n"
        "node: {cpus: 4, memory_gb: 15.6, gpus: 2}\nextract: {jobs: 50, memory_gb: 2, partition: low}\n"
        "dask: {mode: jobqueue, workers: 2, interface: lo}\n"
    )
    assert {check: says for check, (fine, says) in found.items() if not fine} == {}
    said = {check: says for check, (_, says) in found.items()}
    assert said["controller"].startswith("cluster lab answers, SLURM 2")
    assert said["accounting"] == "sacct answers"
    assert said["array size"] == "20: the 50 of extract.jobs are split into 3 arrays"
    assert said["extract nodes"] == "2 of 2 nodes of low have 1 CPU, 2 GiB and can be used"
    assert said["job on main"].startswith("job ")
    assert said["job on low"].startswith("job ")
    assert said["shared folder on main"].endswith("can create, replace and link files")
    assert said["interface on main"].startswith("lo is 127.0.0.1 on n")
    assert said["submission on main"].endswith("may submit jobs")
    assert said["packages on low"].endswith(", as here")
    assert list(logs.iterdir()) == []


def test_without_accounting_all_is_well_too(lab_without_accounting, tmp_path, runs, monkeypatch):
    for name, value in lab_without_accounting.environment.items():
        monkeypatch.setenv(name, value)
    found = {item.check: item for item in examine_cluster(_written(tmp_path, ""), runs)}
    assert [item.says for item in found.values() if not item.is_fine] == []
    assert found["accounting"].says.startswith("off: states of jobs come from squeue")


def test_a_misspelled_partition(wrong):
    assert wrong("slurm: {partition: main}\nextract: {partition: mian}\n") == {
        "partition mian": "extract.partition: expected one of the cluster's partitions, found 'mian': write "
        "main (there are main, low, high)",
        "job on mian": "not tried, because of what is wrong with partition mian: mend that first",
    }


def test_arrays_that_are_larger_than_the_cluster_allows(wrong):
    assert wrong("slurm: {max_array_size: 21}") == {
        "array size": "slurm.max_array_size: expected at most the cluster's MaxArraySize 20, found 21: lower "
        "it, or leave it out"
    }


def test_jobs_that_are_larger_than_a_node(wrong):
    found = wrong(
        "extract: {memory_gb: 15.7}\nsearch: {gpus: 3}\ngeometry: {cpus: 2}\ncollect: {constraint: a100}"
    )
    assert found.pop("GPU on the default partition, a GPU").startswith("expected that torch sees the GPU of ")
    assert found.pop("job on the default partition, a100") == (
        "expected that sbatch takes a small job, found: sbatch: error: Batch job submission failed: Invalid "
        "feature specification: correct partition, account, qos, constraint and reservation of the profile"
    )
    most = "(the most that one has: 4 CPUs, 15.62 GiB, 2 GPUs): ask for less in"
    assert found == {
        "extract nodes": "extract: expected 1 node of main with 1 CPU, 15.7 GiB for one job, found 0 "
        f"{most} extract, or name another partition",
        "search nodes": "search: expected 1 node of main with 4 CPUs, 3 GPUs for one job, found 0 "
        f"{most} search, or name another partition",
        "geometry nodes": "geometry: expected 1 node of main with 8 CPUs for one job, found 0 "
        f"{most} geometry, or name another partition",
        "collect nodes": "constraint of collect: expected a feature of nodes of main, found 'a100': leave it "
        "out, they have none",
    }


def test_what_only_the_scheduler_knows(wrong):
    found = wrong("extract: {gpus: 1, gpu_type: a100}\nslurm: {exclude: n1}\ndask: {nodes: 2}")
    assert found["extract request"] == (
        "extract: expected that sbatch takes a job with 1 CPU, 1 GPU and 04:00:00, found: "
        "allocation failure: Requested node configuration is not available: correct extract of the profile"
    )
    assert "job on the default partition, n1, a100 GPU" in found
    assert found["search request"].startswith("search: expected that sbatch takes a job with 2 CPUs and")


def test_a_profile_that_says_more_of_nodes_than_they_have(wrong):
    found = wrong(
        "node: {cpus: 64, memory_gb: 500, gpus: 4}\ngeometry: {node: {cpus: 4, memory_gb: 1, gpus: 0}}"
    )
    assert set(found) == {"extract node facts", "search node facts", "collect node facts"}
    assert found["collect node facts"] == (
        "node.cpus: expected at most 4, found 64; node.memory_gb: expected at most 15.62, found 500; "
        "node.gpus: expected at most 2, found 4 (no node of collect has more, as `scontrol show node` says): "
        "correct the profile, or jobs that cannot start are not refused"
    )


def test_a_walltime_that_the_partition_does_not_allow(wrong, lab):
    lab.run("scontrol", "update", "partitionname=main", "maxtime=2-03:00:00")
    try:
        found = wrong('extract: {walltime: "2-04:00:00"}')
    finally:
        lab.run("scontrol", "update", "partitionname=main", "maxtime=infinite")
    assert found == {
        "extract walltime": "extract.walltime: expected at most 2-03:00:00, MaxTime of main, found "
        "2-04:00:00: lower it, or name a partition that allows it (low, high)"
    }


def test_a_partition_that_is_down(wrong, lab):
    lab.partition_down("low")
    assert wrong("slurm: {partition: low}") == {
        "partition low": "slurm.partition: expected a partition that is UP, found low DOWN: jobs would "
        "wait or be refused; wait, ask the administrators, or name another (main, high)",
        "job on low": "not tried, because of what is wrong with partition low: mend that first",
    }


def test_nodes_that_are_down_and_a_job_that_waits(wrong, lab, monkeypatch):
    monkeypatch.setattr(probing, "WAIT_S", 4.0)
    lab.node_down("n1")
    lab.node_down("n2")
    began = time.monotonic()
    found = wrong("")
    assert time.monotonic() - began < 30
    assert found["collect nodes"] == (
        "collect: expected 1 node of main with 1 CPU that can be used, found 0 (n1 DOWN, n2 DOWN): wait "
        "until they are back, or name another partition"
    )
    waited = found["job on the default partition"]
    assert "expected an answer within 4 s, found none (it is pending, reason " in waited
    assert "): it is cancelled; " in waited


def test_a_file_in_the_way_of_the_logs(wrong, tmp_path):
    (tmp_path / "file").write_text("")
    assert wrong(f"logs: {tmp_path}/file/logs") == {
        "log folder": f"{tmp_path}/file/logs: expected the folder of the logs, found a file at "
        f"{tmp_path}/file: remove it, or correct logs of the profile",
        "job on the default partition": "not tried, because of what is wrong with log folder: mend that "
        "first",
    }


def test_a_python_that_is_not_there(wrong):
    found = wrong("environment: {python: /no/such/python}")
    assert list(found) == ["job on the default partition"]
    said = found["job on the default partition"]
    assert "expected that Python starts on the node, found that it did not (failed" in said
    assert "exit code 127:0): correct environment of the profile; its log ends: " in said
    assert "/no/such/python: No such file or directory" in said


def test_other_packages_and_an_interface_that_is_not_there(wrong, tmp_path):
    profile = _modules(tmp_path / "m", xarray="__version__ = '1.0'", faiss="raise OSError('no libcuda')")
    found = wrong(f"{profile}\ndask: {{interface: ib7}}")
    said = found.pop("packages on the default partition")
    assert said.startswith("expected the same packages as here, found xarray 1.0 on n")
    assert "faiss cannot be imported (OSError: no libcuda) on n" in said
    assert f"install the same for {sys.executable} there, or correct environment of the profile" in said
    said = found.pop("interface on the default partition")
    assert said.endswith("found 'ib7': name one of these, or leave it out")
    assert found == {}


@pytest.mark.parametrize(("shift_s", "says"), [(3600, "ahead"), (-90, "behind")])
def test_a_clock_that_is_wrong(wrong, tmp_path, shift_s, says):
    text = f"import time\nright = time.time\ntime.time = lambda: right() + {shift_s}\n"
    found = wrong(_modules(tmp_path / "m", sitecustomize=text))
    assert list(found) == ["clock on the default partition"]
    words = found["clock on the default partition"].split(" found it at least ")[1].split()
    assert abs(float(words[0]) - abs(shift_s)) < 15
    assert words[1:3] == ["s", f"{says}:"]


def test_nodes_that_may_not_submit(wrong, tmp_path):
    python = _python(tmp_path / "python", "export PATH=/usr/sbin")
    found = wrong(f"environment: {{python: {python}}}\ndask: {{mode: jobqueue}}")
    assert list(found) == ["submission on the default partition"]
    assert found["submission on the default partition"].endswith(
        "may submit jobs, as jobqueue needs, found: [Errno 2] No such file or directory: 'sbatch': set it to "
        "allocation, or ask the administrators"
    )


def _needs_own_mounts() -> None:
    made = shutil.which("unshare") and subprocess.run(["unshare", "-m", "true"], capture_output=True)
    if not made or made.returncode != 0:
        pytest.skip("file systems cannot be mounted here")


@pytest.mark.parametrize(
    ("mount", "greeting", "trouble"),
    [
        ("mount -t tmpfs none {runs}", "none", None),
        ("mount --bind {runs} {runs}; mount -o remount,ro,bind {runs}", None, "Read-only file system"),
    ],
)
def test_a_node_that_sees_another_folder_or_cannot_write_it(wrong, tmp_path, runs, mount, greeting, trouble):
    _needs_own_mounts()
    inner = _python(tmp_path / "inner", mount.format(runs=runs))
    outer = tmp_path / "python"
    outer.write_text(f'#!/bin/bash\nexec unshare -m {inner} "$@"\n')
    outer.chmod(0o755)
    found = wrong(f"environment: {{python: {outer}}}")
    assert list(found) == ["shared folder on the default partition"]
    said = found["shared folder on the default partition"]
    assert said.startswith(f"{runs}/.hpcgeom-doctor-")
    assert said.endswith(
        "name a --run-dir on a file system that this machine and the nodes share, and that jobs may write"
    )
    if greeting:
        assert "sees a file that was written here, found none: " in said
    else:
        assert f"can create, replace and link files there, found: {trouble}: " in said


@pytest.mark.parametrize(
    ("mount", "check", "says"),
    [
        (
            "mount -t tmpfs none {runs}",
            "job on the default partition",
            "the node cannot write the log {runs}/",
        ),
        (
            "mount --bind {runs} {runs}; mount -o remount,ro,bind {runs}",
            "shared folder",
            "can be written, found that {runs} cannot (Read-only file system): name another --run-dir",
        ),
    ],
)
def test_a_folder_that_only_this_machine_sees_or_cannot_write(lab, tmp_path, runs, mount, check, says):
    _needs_own_mounts()
    script = (
        f"{mount.format(runs=runs)}; exec {sys.executable} -c '{EXAMINE}' {_written(tmp_path, '')} {runs}"
    )
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script],
        env={**os.environ, **lab.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    fine, said = json.loads(done.stdout.splitlines()[-1])[check]
    assert not fine
    assert says.format(runs=runs) in said
