"""A SLURM cluster in a folder of this machine, and what can be done to its nodes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lab_processes
from lab_daemons import Daemons, missing_packages
from lab_folder import check_folder, empty, free_ports, holds_something_else, locked
from lab_options import NODES, PARTITIONS, LabOptions, Ports
from lab_processes import LabError, Process

_JOB_IDS_PER_START = 10000
_OUT_OF_SERVICE = ("DOWN", "DRAIN", "FAIL", "NOT_RESPONDING", "*")
_RESUME_TIMEOUT_S = 30.0
_FIXED = frozenset({"accounting", "cpus", "memory_mb"})


class Lab:
    """A cluster of two nodes, n1 and n2, whose every file is in one folder.

    Parameters
    ----------
    folder
        Where it lives. It is made; what an earlier lab left there is replaced when this one is started.
    options
        Those of `LabOptions`. A lab that runs already has those that it was started with.

    Examples
    --------
    >>> with Lab("/tmp/lab", accounting=False) as lab:  # doctest: +SKIP
    ...     lab.run("sbatch", "--wait", "--wrap", "hostname")
    """

    def __init__(self, folder: str | os.PathLike[str], **options: Any) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._asked_for = LabOptions(**options)
        self._daemons = Daemons(self.folder)
        self._daemons.read()

    @property
    def options(self) -> LabOptions:
        """Those of the lab that runs; those asked for where none runs."""
        return self._daemons.options if self.running else self._asked_for

    @property
    def environment(self) -> dict[str, str]:
        """Variables for subprocesses: SLURM's commands, wherever called, then speak with this lab."""
        return self._daemons.environment

    @property
    def work(self) -> Path:
        """A folder for jobs to run in; emptied when the lab is started."""
        return self.folder / "work"

    @property
    def running(self) -> dict[str, Process]:
        """Daemons that are alive, by name: munged, mariadbd, slurmdbd, slurmctld, n1, n2."""
        return self._daemons.alive()

    def start(self) -> None:
        """Start an empty cluster, and wait until both nodes are idle.

        Raises
        ------
        LabError
            It runs already; a package is missing; the folder is something else; a daemon did not come up.
        """
        check_folder(self.folder)
        if missing := missing_packages(accounting=self._asked_for.accounting):
            raise LabError(f"packages are missing: apt-get install {' '.join(missing)}")
        if holds_something_else(self.folder):
            raise LabError(f"{self.folder} is not empty and no lab: choose another folder")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.folder):
            self._daemons.read()
            if self.running:
                raise LabError(
                    f"{self.folder}: the lab is running ({', '.join(self.running)}): stop it first"
                )
            self._daemons.end_strays()
            self._set_up()
            try:
                self._daemons.start_all()
            except BaseException:
                self._daemons.end_all()
                raise

    def stop(self) -> None:
        """End every daemon, every job, and what jobs have left: nothing of the lab runs any more."""
        if holds_something_else(self.folder):
            raise LabError(f"{self.folder}: there is no lab")
        if not self.folder.exists():
            return
        with locked(self.folder):
            self._daemons.read()
            self._daemons.end_all()

    def __enter__(self) -> Lab:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, *command: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a command that speaks with this cluster, without variables of a job around us.

        Parameters
        ----------
        command
            The program and its arguments.
        how
            check=True, timeout_s=60.0, cwd=None, environment=None (more variables), stdin=None (text).

        Raises
        ------
        LabError
            It failed (unless `check` is False), or did not end in time.
        """
        return self._daemons.run(*command, **how)

    # Nodes

    def kill_node(self, name: str, *, steps: bool = True) -> None:
        """Kill a node's slurmd and its jobs, as a power cut would; with `steps` False its jobs live on."""
        self._check(name, NODES, "node")
        self._daemons.kill(name)
        if steps:
            self._daemons.end_strays(name)

    def stop_node(self, name: str) -> None:
        """End a node's slurmd in good order; its jobs live on."""
        self._check(name, NODES, "node")
        self._daemons.terminate(name)

    def start_node(self, name: str) -> None:
        """Start a node's slurmd, unless it runs, and wait until the controller has heard of it."""
        self._check(name, NODES, "node")
        if name not in self.running:
            self._daemons.start_node(name)

    def node_down(self, name: str, reason: str = "set down by the lab") -> None:
        """Have the controller take a node for down: jobs there end, and those that may are requeued."""
        self._check(name, NODES, "node")
        self.run("scontrol", "update", f"nodename={name}", "state=down", f"reason={reason}")

    def node_resume(self, name: str) -> None:
        """Take a node that is down or drained into service again, and wait until it can be given jobs."""
        self._check(name, NODES, "node")
        self.run("scontrol", "update", f"nodename={name}", "state=resume")
        if name in self.running:
            lab_processes.wait_until(
                lambda: not any(word in self.node_state(name) for word in _OUT_OF_SERVICE),
                lambda: f"node {name} is {self.node_state(name)}: it did not return",
                _RESUME_TIMEOUT_S,
            )

    def node_state(self, name: str) -> str:
        """State of a node as `scontrol show node` words it, such as IDLE, MIXED or DOWN*."""
        self._check(name, NODES, "node")
        return self._daemons.node(name).get("State", "")

    # Partitions

    def partition_down(self, name: str) -> None:
        """Have a partition start no more jobs."""
        self._check(name, PARTITIONS, "partition")
        self.run("scontrol", "update", f"partitionname={name}", "state=down")

    def partition_up(self, name: str) -> None:
        """Have a partition start jobs again."""
        self._check(name, PARTITIONS, "partition")
        self.run("scontrol", "update", f"partitionname={name}", "state=up")

    # Controller and accounting

    def stop_controller(self) -> None:
        """End slurmctld in good order: its state is saved, steps go on, commands fail."""
        self._check_running()
        self._daemons.terminate("slurmctld")

    def kill_controller(self) -> None:
        """Kill slurmctld: what it has not saved is lost."""
        self._check_running()
        self._daemons.kill("slurmctld")

    def start_controller(self) -> None:
        """Start slurmctld, unless it runs, and wait until it answers."""
        self._check_running()
        if "slurmctld" not in self.running:
            self._daemons.start_controller()

    def stop_accounting(self) -> None:
        """End slurmdbd: `sacct` fails, everything else goes on."""
        self._check_accounting()
        self._daemons.terminate("slurmdbd")

    def start_accounting(self) -> None:
        """Start slurmdbd, unless it runs, and wait until it answers."""
        self._check_accounting()
        if "slurmdbd" not in self.running:
            self._daemons.start_accounting()

    def reconfigure(self, **changes: Any) -> None:
        """Change options while the lab runs; a new `max_array_size` takes a restart of the controller.

        Raises
        ------
        LabError
            An option is fixed from the start: `accounting`, `cpus`, `memory_mb`.
        """
        self._check_running()
        if fixed := sorted(_FIXED & changes.keys()):
            raise LabError(
                f"{', '.join(fixed)} cannot change while the lab runs: stop it, then start it anew"
            )
        before = self._daemons.options
        self._daemons.options = replace(before, **changes)
        self._daemons.write_configuration()
        self._daemons.write()
        if self._daemons.options.max_array_size == before.max_array_size:
            self.run("scontrol", "reconfigure")
        else:
            self.stop_controller()
            self.start_controller()

    @contextmanager
    def reconfigured(self, **changes: Any) -> Iterator[None]:
        """Other options while the body runs; see `reconfigure`."""
        before = self.options
        self.reconfigure(**changes)
        try:
            yield
        finally:
            self.reconfigure(**{name: getattr(before, name) for name in changes})

    # All of it

    def wait_until_idle(self, timeout_s: float = 60.0) -> None:
        """Wait until no job waits, runs or completes, and both nodes are idle.

        Raises
        ------
        LabError
            There still is one; the message names jobs and states of the nodes.
        """
        seen = ""

        def is_idle() -> bool:
            nonlocal seen
            jobs = self.run("squeue", "-h", "-o", "%i %T/%r").stdout.split("\n")[:-1]
            nodes = {name: self.node_state(name) for name in NODES}
            seen = f"jobs: {', '.join(jobs) or 'none'}; nodes: {nodes}"
            return not jobs and set(nodes.values()) == {"IDLE"}

        lab_processes.wait_until(is_idle, lambda: f"the lab did not become idle ({seen})", timeout_s, 0.1)

    def reset(self, timeout_s: float = 60.0) -> None:
        """Undo what a test did: end all jobs, start all daemons, bring nodes and partitions up, and wait."""
        self._check_running()
        if self.options.accounting:
            self.start_accounting()
        self.start_controller()
        if jobs := self.run("squeue", "-h", "-o", "%A").stdout.split():
            self.run("scancel", "--signal=KILL", "--full", *jobs, check=False)
            self.run("scancel", *jobs, check=False)
        for name in NODES:
            self.start_node(name)
            if any(word in self.node_state(name) for word in _OUT_OF_SERVICE):
                self.node_resume(name)
        for name in PARTITIONS:
            self.partition_up(name)
        self.wait_until_idle(timeout_s)

    def _set_up(self) -> None:
        self._daemons.options = self._asked_for
        self._daemons.ports = Ports(*free_ports(4))
        self._daemons.first_job_id += _JOB_IDS_PER_START
        self._daemons.write()  # first: from here on the folder is known for a lab
        empty(self.folder)
        self._daemons.write_configuration()

    def _check(self, name: str, known: tuple[str, ...], what: str) -> None:
        self._check_running()
        if name not in known:
            raise LabError(f"there is no {what} {name!r}: give one of {', '.join(known)}")

    def _check_running(self) -> None:
        if not self.running:
            raise LabError(f"{self.folder}: the lab is stopped: start it first")

    def _check_accounting(self) -> None:
        self._check_running()
        if not self.options.accounting:
            raise LabError("the lab was started without accounting")
