"""The daemons of a lab: how each is started, when it is up, how it ends, what is written down about it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lab_processes
from lab_folder import STATE
from lab_options import NODES, LabOptions, Ports, write_configuration
from lab_processes import MARK, LabError, Process

# All that follows is stopped in this order: first those who start processes.
ORDER_OF_STOPPING = ("slurmctld", *NODES, "slurmdbd", "mariadbd", "munged")
_PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
_ONLY_FOR_ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db")
_OF_A_JOB = re.compile(r"(SLURM|SLURMD|SBATCH|SRUN|SALLOC|SQUEUE|SINFO|SACCT|SCANCEL|PMI|PMIX|SUBMITIT)_")
_UP_TIMEOUT_S = 30.0
_N_LINES_OF_LOG = 12


def missing_packages(*, accounting: bool = True) -> list[str]:
    """Debian packages that a lab needs and that are not installed."""
    missing = set()
    for name, package in _PACKAGES.items():
        if accounting or name not in _ONLY_FOR_ACCOUNTING:
            try:
                lab_processes.program(name)
            except LabError:
                missing.add(package)
    return sorted(missing)


def outside_a_job(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that a job, or a preference about SLURM's commands, has left there."""
    return {name: value for name, value in environment.items() if not _OF_A_JOB.match(name)}


class Daemons:
    """Daemons of the lab in a folder, as its file `lab.json` knows them.

    Attributes
    ----------
    options
        Those that the lab was started with.
    ports
        Where its daemons listen.
    first_job_id
        Every start has other job ids: a job that was recorded before is not taken for one of this cluster.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = LabOptions()
        self.ports = Ports(0, 0, 0, 0)
        self.first_job_id = 1
        self._processes: dict[str, Process] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's commands need."""
        return {"SLURM_CONF": f"{self.folder}/slurm.conf"}

    def read(self) -> bool:
        """Take over what the file says, written by whatever process; False where there is none."""
        try:
            state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            self.options = LabOptions(**state["options"])
            self.ports = Ports(**state["ports"])
            self.first_job_id = int(state["first_job_id"])
            self._processes = {name: Process(**process) for name, process in state["daemons"].items()}
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabError(
                f"{self.folder / STATE} is not of this version of the lab ({error!r}): end what runs of it, "
                "by the processes in that file, and delete the folder"
            ) from error
        return True

    def write(self) -> None:
        """Write the file, in one piece."""
        state = {
            "options": _fields(self.options),
            "ports": _fields(self.ports),
            "first_job_id": self.first_job_id,
            "daemons": {name: _fields(process) for name, process in self._processes.items()},
        }
        new = self.folder / f"{STATE}.new"
        new.write_text(f"{json.dumps(state, indent=1)}\n", encoding="utf-8")
        new.replace(self.folder / STATE)

    def write_configuration(self) -> None:
        """Write SLURM's files from options and ports."""
        write_configuration(self.folder, self.options, self.ports, self.first_job_id)

    def alive(self) -> dict[str, Process]:
        """Those that run, by name, whoever has started them."""
        self.read()
        return {name: process for name, process in self._processes.items() if process.is_alive}

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout_s: float = 60.0,
        cwd: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that speaks with this cluster; see `Lab.run`."""
        try:
            done = subprocess.run(
                [lab_processes.program(command[0]), *command[1:]],
                env={**outside_a_job(os.environ), **self.environment, **(environment or {})},
                cwd=cwd,
                input=stdin or "",
                text=True,
                capture_output=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{' '.join(command)} did not end within {timeout_s:g} s") from error
        if check and done.returncode != 0:
            said = (done.stderr + done.stdout).strip()
            raise LabError(f"{' '.join(command)} ended with {done.returncode}: {said}")
        return done

    # Starting

    def start_all(self) -> None:
        """Start an empty cluster, in the order of who needs whom, and wait until both nodes are idle."""
        self._processes = {}
        self._start_munge()
        if self.options.accounting:
            self._start_database()
            self.start_accounting()
            self.run("sacctmgr", "-i", "add", "cluster", "lab")
        self.start_controller()
        for name in NODES:
            self._spawn_node(name)
        for name in NODES:
            self._wait_until_up(name, partial(self._is_idle, name))

    def start_accounting(self) -> None:
        """Start slurmdbd."""
        self._spawn("slurmdbd", "slurmdbd", "-D")
        self._wait_until_up("slurmdbd", lambda: self._answers("sacctmgr", "-n", "show", "cluster"))

    def start_controller(self) -> None:
        """Start slurmctld."""
        self._spawn("slurmctld", "slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")
        self._wait_until_up("slurmctld", lambda: "is UP" in self.run("scontrol", "ping", check=False).stdout)

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node, and wait until the controller has heard of it."""
        since = int(time.time())
        self._spawn_node(name)

        def has_registered() -> bool:
            node = self.node(name)
            started = node.get("SlurmdStartTime", "None")
            if started == "None" or "*" in node["State"] or "NOT_RESPONDING" in node["State"]:
                return False
            return time.mktime(time.strptime(started, "%Y-%m-%dT%H:%M:%S")) >= since

        self._wait_until_up(name, has_registered)

    def node(self, name: str) -> dict[str, str]:
        """What `scontrol show node` says, by key; empty where the controller does not answer."""
        said = self.run("scontrol", "-o", "show", "node", name, check=False).stdout
        pairs = (word.partition("=") for word in said.split())
        return {key: value for key, _, value in pairs}

    def _is_idle(self, name: str) -> bool:
        return self.node(name).get("State") == "IDLE"

    def _spawn_node(self, name: str) -> None:
        self._spawn(name, "slurmd", "-D", "-N", name, "-f", f"{self.folder}/slurm.conf")

    def _start_munge(self) -> None:
        run = self.folder / "run"
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}
        paths = [f"--{option}={run}/munge.{end}" for option, end in files.items()]
        paths.append(f"--log-file={self.folder}/log/munged.log")
        # Without force it asks that everybody can enter every folder above its socket.
        self._spawn("munged", "munged", "--foreground", "--force", *paths)
        self._wait_until_up("munged", lambda: self._answers("munge", "-n", f"--socket={run}/munge.socket"))

    def _start_database(self) -> None:
        address = f"{self.folder}/run/mariadb.socket"
        # In a folder that it shares, a server that starts removes the temporary tables of another lab's.
        common = ["--no-defaults", f"--datadir={self.folder}/database", f"--tmpdir={self.folder}/run"]
        if os.geteuid() == 0:
            common.append("--user=root")
        self.run("mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db")
        more = [f"--socket={address}", f"--pid-file={self.folder}/run/mariadbd.pid", "--skip-networking"]
        more += ["--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
        self._spawn("mariadbd", "mariadbd", *common, *more)
        self._wait_until_up("mariadbd", lambda: _accepts(address))

    def _spawn(self, name: str, *command: str) -> None:
        environment = {**outside_a_job(os.environ), **self.environment, MARK: f"{self.folder}:{name}"}
        environment["MYSQL_UNIX_PORT"] = f"{self.folder}/run/mariadb.socket"
        log = self.folder / "log" / f"{name}.out"
        self._processes[name] = lab_processes.spawn(command, environment, log)
        self.write()

    def _answers(self, *command: str) -> bool:
        return self.run(*command, check=False).returncode == 0

    def _wait_until_up(self, name: str, is_up: Callable[[], bool]) -> None:
        def is_up_or_over() -> bool:
            if not self._processes[name].is_alive:
                raise LabError(f"{name} ended{self._last_words(name)}")
            return is_up()

        def complaint() -> str:
            return f"{name} did not come up{self._last_words(name)}\n"

        lab_processes.wait_until(is_up_or_over, complaint, _UP_TIMEOUT_S)

    def _last_words(self, name: str) -> str:
        parts = []
        for path in (self.folder / "log" / f"{name}.log", self.folder / "log" / f"{name}.out"):
            if path.exists() and (text := path.read_text(encoding="utf-8", errors="replace").strip()):
                parts.append(f"\n{path}:\n" + "\n".join(text.splitlines()[-_N_LINES_OF_LOG:]))
        return "".join(parts) or "; it logged nothing"

    # Stopping

    def terminate(self, name: str) -> None:
        """End a daemon in good order."""
        if (process := self.alive().get(name)) is not None:
            process.send(signal.SIGTERM)
            lab_processes.wait_until_gone([process])

    def kill(self, name: str) -> None:
        """End a daemon as a power cut would."""
        if (process := self.alive().get(name)) is not None:
            lab_processes.kill([process])

    def end_all(self) -> None:
        """Kill the daemons and all that is left of jobs; their data is not needed again."""
        for name in ORDER_OF_STOPPING:
            self.kill(name)
            if name == NODES[-1]:
                self.end_strays()
        self.end_strays()

    def end_strays(self, node: str | None = None) -> None:
        """Kill what daemons (of a node) have started: slurmstepd, jobs, and what these have left behind."""

        def is_ours(environment: Mapping[str, str]) -> bool:
            where, _, daemon = environment.get(MARK, "").rpartition(":")
            return where == str(self.folder) and node in (None, daemon)

        # What is started while we look is seen the next time.
        while found := lab_processes.strays(is_ours):
            lab_processes.kill(found)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _accepts(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError:
            return False
    return True
