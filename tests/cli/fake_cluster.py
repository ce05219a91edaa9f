"""A cluster on the PATH that takes every job and does none, and a run for it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "launch"))

from fake_scheduler import CONFIG, FakeScheduler

from hpcgeom.store.jobs import Job, jobs_of, write_job

FIRST_ID = 100
PROFILE = """\
name: fake
slurm: {partition: main}
node: {cpus: 8, memory_gb: 16}
extract: {jobs: 4, walltime: "01:00:00"}
dask: {workers: 2}
"""
UNKNOWN_JOB = "slurm_load_jobs error: Invalid job id specified"
DOWN = "Slurmctld(primary) at vm is DOWN\n"


class FakeCluster(FakeScheduler):
    """Everything answers; sbatch gives ids from `FIRST_ID` on and keeps each script and job files."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        folder.mkdir()
        super().__init__(folder, monkeypatch)
        (folder / "timeout").symlink_to("/usr/bin/timeout")
        self.says("scontrol", stderr=UNKNOWN_JOB, code=1)
        self.says("scontrol", CONFIG, when="show config")
        self.says("scontrol", "Slurmctld(primary) at vm is UP\n", when="ping")
        self.says("sacct")
        self.says("squeue")
        self.says("scancel")
        self.accepts()

    def accepts(self, banner: str = "", root: Path | None = None) -> None:
        """Let sbatch take jobs; with `root`, keep what the run's folder of jobs held at that moment."""
        here = shlex.quote(str(self.folder))
        seen = f"/bin/cp -r {shlex.quote(str(root / 'jobs'))} {here}/seen-$n" if root else ":"
        then = (
            f"n=$(( $(/bin/cat {here}/count 2>/dev/null || echo {FIRST_ID - 1}) + 1 )); "
            f'echo $n > {here}/count; /bin/cp "$1" {here}/script-$n.sh; {seen}; '
            'echo "Submitted batch job $n"'
        )
        self.says("sbatch", banner, then=then)

    @property
    def n_submitted(self) -> int:
        return len(list(self.folder.glob("script-*.sh")))

    def script(self, job_id: int) -> str:
        return (self.folder / f"script-{job_id}.sh").read_text()

    def directive(self, job_id: int, option: str) -> list[str]:
        """The values of an option of sbatch in a script."""
        start = f"#SBATCH --{option}="
        lines = self.script(job_id).splitlines()
        return [line.removeprefix(start) for line in lines if line.startswith(start)]

    def seen(self, job_id: int) -> dict[str, str]:
        """Id by name of the jobs whose files were there when that job was submitted."""
        files = (self.folder / f"seen-{job_id}").glob("hpcgeom-*.json")
        return {path.stem: json.loads(path.read_text())["job_id"] for path in files}

    def knows(self, states: Mapping[str, str], names: Mapping[str, str] | None = None) -> None:
        """Let squeue list ids with ``STATE`` or ``STATE|reason``, and with names those that are not over."""
        rows = [(job_id, *state.partition("|")[::2]) for job_id, state in states.items()]
        lines = [f"{job_id}|{state}|0|0|{reason or 'None'}|\n" for job_id, state, reason in rows]
        self.says("squeue", "".join(lines))
        named = [f"{job_id}|PENDING|{name}|\n" for job_id, name in (names or {}).items()]
        self.says("squeue", "".join(named), when="Name:")

    def knows_all(self, root: Path, state: str = "PENDING|Resources") -> None:
        """Let squeue list every job of a run in one state."""
        ids = [number for job in jobs_of(root) for number in job.ids]
        names = {number: job.name for job in jobs_of(root) for number in job.ids}
        self.knows(dict.fromkeys(ids, state), names)


def without_ids(root: Path, number: int) -> Job:
    """Make a job's file one of a submission that was cut off."""
    job = jobs_of(root)[number]
    return write_job(root, replace(job, job_id="", submitted=""))
