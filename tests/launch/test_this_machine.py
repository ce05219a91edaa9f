"""How much memory a process may plan with: what the machine, its control groups and its job allow."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hpcgeom import this_machine

GIB = 2**30


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 100 GiB whose control groups are files of a test."""
    own, groups = tmp_path / "own", tmp_path / "cgroup"
    monkeypatch.setattr(this_machine, "_OWN_CGROUP", own)
    monkeypatch.setattr(this_machine, "_CGROUPS", groups)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=100 * GIB))
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)

    def limit(lines, **files):
        own.write_text(lines)
        for name, text in files.items():
            path = groups / name.replace("__", "/").replace("_max", ".max").replace(
                "limit_in", "memory.limit_in"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return limit


def test_a_machine_without_limits_keeps_a_part_for_its_system(machine):
    assert this_machine.memory_bytes() == 95 * GIB


def test_limits_of_control_groups_hold_and_those_above_them(machine):
    machine("0::/a/b\n", a__b__memory_max="max\n", a__memory_max=f"{7 * GIB}\n", memory_max=f"{9 * GIB}\n")
    assert this_machine.memory_bytes() == 7 * GIB
    machine("4:memory:/a/b\n3:cpu:/\n", memory__a__b__limit_in_bytes=f"{5 * GIB}\n")
    assert this_machine.memory_bytes() == 5 * GIB


def test_a_job_has_what_it_asked_for(machine, monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "2048")
    assert this_machine.memory_bytes() == 95 * GIB  # nobody says how many CPUs
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    assert this_machine.memory_bytes() == 6 * GIB
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "4096")
    assert this_machine.memory_bytes() == 4 * GIB
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # all of the node
    assert this_machine.memory_bytes() == 6 * GIB
