"""Runs on the lab through the command line, as users begin, watch and end them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from arrays_run import write_clouds, write_manifest
from lab_cluster import Lab
from lab_faults import Faults
from lab_processes import wait_until

from hpcgeom.api.running import run_manifest
from hpcgeom.plan.units import STAGES
from hpcgeom.stages.run import Run
from hpcgeom.store.compare import differences, n_compared
from hpcgeom.store.jobs import Job, jobs_of

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "slurm" / "profiles" / "local-lab.yaml"
TIMEOUT_S = 180.0
LOCAL = {"mode: allocation": "mode: local", "workers: 2": "workers: 1", "nodes: 2": "nodes: 1"}
"""What makes the shipped profile one without Dask."""


def user_of(lab: Lab) -> dict[str, str]:
    """The environment of a shell in which hpcgeom is active and the lab is the cluster."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, **lab.environment, "PATH": path, "HF_HUB_OFFLINE": "1"}


def write_profile(folder: Path, changes: Mapping[str, str]) -> Path:
    """The shipped profile of the lab with some of its words exchanged."""
    text = PROFILE.read_text()
    for before, after in changes.items():
        assert before in text, f"{PROFILE} does not hold {before!r}"
        text = text.replace(before, after)
    path = folder / "profile.yaml"
    path.write_text(text)
    return path


class LabRun:
    """One run on one lab.

    Parameters
    ----------
    folder
        An empty one of this test; the run is ``run`` in it.
    manifest, reference
        Of the same run, done before in one process.
    changes
        Words of the profile of the lab, exchanged.
    """

    def __init__(
        self, lab: Lab, folder: Path, manifest: Path, reference: Path, changes: Mapping[str, str] = LOCAL
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.lab, self.folder = lab, folder
        self.manifest, self.reference = manifest, reference
        self.root = folder / "run"
        self.profile = write_profile(folder, changes)
        self.faults = Faults(folder / "faults")
        self.environment = {**user_of(lab), **self.faults.environment()}

    @property
    def words(self) -> tuple[str, ...]:
        """Of the command that submits it."""
        return ("submit", "-m", str(self.manifest), "-p", str(self.profile), "--run-dir", str(self.root))

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Begin a command of hpcgeom and leave it."""
        return subprocess.Popen(
            [sys.executable, "-m", "hpcgeom.cli.main", *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str, code: int = 0, **environment: str) -> str:
        """What a command of hpcgeom prints, both of its streams; it must end with `code`."""
        process = self.start(*words, **environment)
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
        assert process.returncode == code, out + err
        return out + err

    def submit(self, **how: Any) -> str:
        """``hpcgeom submit`` of the run; what it prints."""
        return self.call(*self.words, **how)

    def rehearse(self) -> str:
        """What ``hpcgeom submit --dry-run`` prints."""
        return self.call(*self.words, "--dry-run")

    def resume(self, **how: Any) -> str:
        """``hpcgeom resume``; what it prints."""
        return self.call("resume", str(self.root), **how)

    def status(self, code: int = 3) -> dict[str, Any]:
        """``hpcgeom status --json``."""
        said = self.call("status", str(self.root), "--json", code=code)
        found: dict[str, Any] = json.loads(said)
        return found

    def jobs(self, stage: str = "", model: str = "") -> list[Job]:
        """Jobs of the run, of a stage, of a model, oldest first."""
        found = jobs_of(self.root)
        return [job for job in found if stage in ("", job.stage) and model in ("", job.model)]

    def missing(self, stage: str) -> list[int]:
        """Numbers of the units that a stage lacks."""
        return [unit.index for unit in Run(self.root).missing(stage)]

    def queue(self) -> set[str]:
        """Names of all jobs that the lab has and that are not over."""
        return set(self.lab.run("squeue", "-h", "-o", "%j").stdout.split())

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something in the run."""
        wait_until(is_so, lambda: self.call("status", str(self.root), code=3), TIMEOUT_S, 0.2)

    def wait_until_over(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until no job waits or runs."""
        wait_until(
            lambda: not self.queue(),
            lambda: f"{self.queue()} are not over: {self.call('logs', str(self.root))}",
            timeout_s,
            0.2,
        )

    def finish(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until no job waits or runs, then check that all is as it is in the reference."""
        self.wait_until_over(timeout_s)
        self.check()

    def check(self) -> None:
        """Complete, and identical to the reference; nobody holds anything."""
        assert [stage for stage in STAGES if self.missing(stage)] == [], self.call("logs", str(self.root))
        assert differences(self.reference, self.root) == []
        assert n_compared(self.root) == n_compared(self.reference) > 0
        assert not list((self.root / "records").rglob("*.lease"))

    def times_computed(self) -> list[int]:
        """How often each unit of all stages was worked out."""
        units = [unit for stage in STAGES for unit in Run(self.root).units(stage)]
        return [len(self.faults.came(f"unit-computed.{unit.stage}.{unit.index}")) for unit in units]


def with_more_samples(lab: Lab, folder: Path, n: int, changes: Mapping[str, str], **manifest: str) -> LabRun:
    """A run of more units than those of the fixture; its reference is done here."""
    write_clouds(folder / "data", n)
    path = write_manifest(folder / "data", **manifest)
    reference = run_manifest(path, folder / "reference", workers=1)
    return LabRun(lab, folder / "own", path, reference, changes)


def scripts_shown(text: str) -> dict[str, str]:
    """The scripts of a rehearsal by the names of their jobs."""
    parts = re.split(r"^# ---- (\S+)\n", text, flags=re.MULTILINE)[1:]
    return {name: script.strip() for name, script in zip(parts[::2], parts[1::2], strict=True)}


def scripts_submitted(root: Path) -> dict[str, str]:
    """The scripts that were submitted, by the names of their jobs."""
    found = {job.name: (root / "logs" / f"{job.job_id}_submission.sh").read_text() for job in jobs_of(root)}
    return {name: script.strip() for name, script in found.items()}


def ids_as_names(script: str, jobs: list[Job]) -> str:
    """A script with the ids that it waits for as a rehearsal words them."""
    names = {job.job_id: f"<{job.name}>" for job in jobs}

    def named(found: re.Match[str]) -> str:
        waits_for = ":".join(names[job_id] for job_id in found[1].split(":"))
        return "#SBATCH --dependency=" + shlex.quote(f"afterany:{waits_for}")

    return re.sub(r"^#SBATCH --dependency=afterany:(.*)$", named, script, flags=re.MULTILINE)
