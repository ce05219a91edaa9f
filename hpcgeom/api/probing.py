"""Small jobs that look at the nodes of a cluster: submitted, waited for up to a limit, and taken away."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hpcgeom.api import node_probe
from hpcgeom.api.cluster_requests import STAGES, Place, sbatch, what_it_said
from hpcgeom.api.doctor import existing
from hpcgeom.launch.slurm import commands, states
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.slurm.scripts import JobScript, Placement
from hpcgeom.launch.slurm.states import JobState
from hpcgeom.manifest.profile_sections import Profile

WAIT_S = 120.0
"""For all probes together."""
POLL_S = 0.5
ASK_EVERY_S = 2.0
"""Seconds between questions to the controller."""
SHARED_WITHIN_S = 5.0
"""What a shared file system may take to show what a node has written."""
MAX_UNKNOWN = 4
"""How often in a row the scheduler may not know a job that it has taken."""
WALLTIME_S = 300
_MEMORY_GB = 2.0
"""GiB of a probe."""
FOLDER = ".hpcgeom-doctor-"
MAX_LOG_LINES, MAX_LOG_LINE = 4, 200
_CANNOT_BE_STARTED = ":53"
"""How SLURM's exit code of a job ends whose log cannot be opened on its node."""
_BUSY = frozenset({"Resources", "Priority", "None", "", "BeginTime"})


@dataclass(slots=True)
class Probe:
    """One small job, and what became of it.

    Attributes
    ----------
    trouble
        Why there is no answer; empty where there is one.
    not_before, not_after
        By the clock of this machine: the job cannot have begun before, nor answered after.
    is_shared
        Whether the answer came through the run directory, not through the log.
    """

    place: Place
    folder: Path
    log_folder: Path
    job_id: str = ""
    answer: Mapping[str, Any] | None = None
    trouble: str = ""
    not_before: float = 0.0
    not_after: float = 0.0
    is_shared: bool = False
    greeting: str = field(default_factory=lambda: secrets.token_hex(8))
    _asked: float = 0.0
    _n_unknown: int = 0
    _over: tuple[float, JobState] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.answer is not None or bool(self.trouble)

    @property
    def name(self) -> str:
        """The job's name, which no other job has."""
        return f"hpcgeom-doctor-{self.greeting}"

    @property
    def log(self) -> Path:
        """The job's log."""
        return self.log_folder / f"{self.job_id}_0_log.out"

    def submit(self, profile: Profile, walltime_s: int) -> None:
        """Hand the job to the scheduler; what goes wrong becomes `trouble`."""
        (self.folder / node_probe.GREETING).write_text(self.greeting)
        script = _script(profile, self, walltime_s)
        self.not_before = time.time()
        try:
            said = sbatch(script, self.folder, "--parsable")
        except SchedulerError as error:
            self.trouble = (
                f"expected that sbatch takes a small job, found: {what_it_said(error)}: correct "
                "partition, account, qos, constraint and reservation of the profile"
            )
            return
        found = re.search(r"^(\d+)(?:;\S*)?$", said, re.MULTILINE)
        if found is None:
            self.trouble = f"sbatch names no job ({said.strip()!r}): see what stands in front of sbatch here"
            return
        self.job_id = found[1]

    def look(self) -> None:
        """See whether there is an answer, or the job is over without one."""
        if (answer := self._answer_of_folder()) is not None:
            self.answer, self.is_shared, self.not_after = answer, True, time.time()
            return
        now = time.time()
        if self._over is None and now - self._asked >= ASK_EVERY_S:
            self._asked = now
            state = self._state()
            if state.state == "pending":
                self.not_before = now
            self._n_unknown = self._n_unknown + 1 if state.state == "unknown" else 0
            if not state.is_alive and self._n_unknown in (0, MAX_UNKNOWN):
                self._over = now, state
        if self._over is not None and now - self._over[0] >= SHARED_WITHIN_S:
            self._conclude(self._over[1])

    def give_up(self) -> None:
        """The time is over: say how far it came."""
        state = self._state()
        why = f"it is {state.state}" + (f", reason {state.reason}" if state.reason else "")
        if state.state == "pending" and state.reason in _BUSY:
            mend = "the nodes are busy, so nothing is known of them: try again when they are less so"
        elif state.state == "pending":
            mend = "man squeue says what the reason means; change the profile, or ask the administrators"
        else:
            mend = f"the node or its file systems are slow{_tail(self.log)}"
        self.trouble = (
            f"job {self.job_id}: expected an answer within {WAIT_S:g} s, found none ({why}): it is "
            f"cancelled; {mend}"
        )

    def _state(self) -> JobState:
        return states.states_of([self.job_id])[self.job_id]

    def _answer_of_folder(self) -> dict[str, Any] | None:
        with suppress(OSError):  # a change of the folder has a network file system look anew
            (self.folder / "look").touch()
            (self.folder / "look").unlink()
        try:
            return dict(json.loads((self.folder / node_probe.ANSWER).read_text()))
        except (OSError, ValueError):
            return None

    def _conclude(self, state: JobState) -> None:
        """The job is over, and no answer came through the folder."""
        for line in _lines(self.log):
            if line.startswith(node_probe.MARK):
                with suppress(ValueError):
                    self.answer = json.loads(line.removeprefix(node_probe.MARK))
                    self.not_after = time.time()
                    return
        self.trouble = f"job {self.job_id}: {_why_no_answer(state, self.folder, self.log)}"


def _why_no_answer(state: JobState, folder: Path, log: Path) -> str:
    shared = (
        "name a --run-dir on a file system that this machine and the nodes share, and that jobs may write"
    )
    code = state.exit_code.partition(":")[0]
    if code == str(node_probe.NOT_SEEN):
        return f"{folder} is not there on the node: {shared}"
    if code == str(node_probe.NOT_WRITABLE):
        return f"{folder} cannot be written on the node: {shared}"
    if state.exit_code.endswith(_CANNOT_BE_STARTED):
        return f"the node cannot write the log {log}: {shared}; so must be logs of the profile"
    if state.state == "unknown":
        return f"the scheduler took it and does not know it ({state.reason}): try again in a few minutes"
    if state.state == "completed":
        return f"it ended well, but what it wrote into {folder} and {log} is not here: {shared}"
    ended = f"{state.state}{f' ({state.reason})' if state.reason else ''}, exit code {state.exit_code or '?'}"
    return (
        f"expected that Python starts on the node, found that it did not ({ended}): correct environment of "
        f"the profile{_tail(log)}"
    )


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _tail(log: Path) -> str:
    lines = [line.strip()[:MAX_LOG_LINE] for line in _lines(log) if line.strip()]
    return f"; its log ends: {' / '.join(lines[-MAX_LOG_LINES:])}" if lines else "; it has no log"


def probe(profile: Profile, run_dir: Path, places: Sequence[Place]) -> tuple[list[Probe], list[Path]]:
    """Have a small job look at a node of each place.

    Returns
    -------
    probes
        One for each place; all have an answer or a trouble, and none of their jobs is left.
    left
        Folders that could not be removed.

    Raises
    ------
    OSError
        The run directory or the folder of the logs cannot be written.
    """
    walltime_s = min(WALLTIME_S, *(profile.job(stage).walltime_s for stage in STAGES))
    found: list[Probe] = []
    made: list[Path] = []
    try:
        folder = _make(existing(run_dir).resolve(), made)
        logs = folder if profile.logs is None else _make(existing(Path(profile.logs)), made)
        for number, place in enumerate(places):
            (folder / str(number)).mkdir()
            found.append(Probe(place, folder / str(number), logs))
            found[-1].submit(profile, walltime_s)
        _wait(found)
    finally:
        _take_away(found)
        left = [path for path in made if not _is_removed(path)]
    return found, left


def _make(above: Path, made: list[Path]) -> Path:
    folder = above / f"{FOLDER}{secrets.token_hex(4)}"
    folder.mkdir()
    made.append(folder)
    return folder


def _is_removed(folder: Path) -> bool:
    for _ in range(3):  # a file that a node still has open cannot always be removed
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return True
        time.sleep(POLL_S)
    return False


def _wait(probes: Sequence[Probe]) -> None:
    deadline = time.monotonic() + WAIT_S
    while waiting := [item for item in probes if not item.is_settled]:
        for item in waiting:
            item.look()
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    for item in probes:
        if not item.is_settled:
            item.give_up()


def _take_away(probes: Sequence[Probe]) -> None:
    """Cancel the jobs; those that are over do not mind. One without an id is known by its name."""
    for item in probes:
        try:
            ids = [item.job_id] if item.job_id else states.alive_by_name([item.name])[item.name]
            commands.cancel(ids)
        except SchedulerError as error:
            if item.answer is None:
                item.trouble += f"; it could not be cancelled ({error}): scancel --name={item.name}"


def _script(profile: Profile, item: Probe, walltime_s: int) -> JobScript:
    python = profile.python_command(sys.executable)
    question: dict[str, Any] = {"folder": str(item.folder), "sbatch": None}
    if profile.dask.mode == "jobqueue":
        where = {key.name: getattr(item.place.placement, key.name) for key in fields(Placement)}
        options = [f"--{name}={value}" for name, value in where.items() if value]
        question["sbatch"] = ["sbatch", "--test-only", "--time=1", *options, "--wrap=true"]
    return JobScript(
        name=item.name,
        command=(*python, "-c", Path(node_probe.__file__).read_text(), json.dumps(question)),
        setup=profile.setup_lines(),
        logs=item.log_folder,
        walltime_s=walltime_s,
        memory_gb=_MEMORY_GB,
        gpus=int(item.place.has_gpus),
        gpu_type=item.place.gpu_type,
        warn_s=1,
        placement=item.place.placement,
        is_step=False,
    )
