"""What the commands about jobs of a scheduler call, and the text that they print."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hpcgeom.cli import render, render_jobs
from hpcgeom.cli.progress import make_progress
from hpcgeom.errors import InputError

if TYPE_CHECKING:
    from hpcgeom.api.submitting import Submission
    from hpcgeom.cli.commands import How

WATCH_EVERY_S = 5.0
_CLEAR = "\x1b[2J\x1b[H"


def rehearse(
    manifest: Path, profile: Path | None, run_dir: Path | None, n_samples: int | None, length: int | None
) -> str:
    """The price, the jobs and their scripts."""
    from hpcgeom.api.rehearsing import rehearse as rehearse_submission

    found = rehearse_submission(manifest, profile, run_dir, n_samples, length)
    return "\n\n".join([render.price(found.price), render_jobs.rehearsal(found)])


def refuse_assumptions(n_samples: int | None, length: int | None) -> None:
    """Refuse options of a rehearsal where jobs would be submitted.

    Raises
    ------
    InputError
        One of them was given.
    """
    if n_samples is not None or length is not None:
        raise InputError(
            "--samples and --length are for --dry-run, which need not have the data: leave them out"
        )


def submit(
    manifest: Path, profile: Path | None, run_dir: Path | None, reuse: Path | None, allow_code_change: bool
) -> str:
    """Submit a run and say what comes next."""
    from hpcgeom.api.submitting import submit as submit_run

    with make_progress() as progress:
        found = submit_run(manifest, profile, run_dir, reuse, progress, allow_code_change=allow_code_change)
    return _submitted(found)


def resubmit(root: Path, profile: Path | None, allow_code_change: bool) -> str:
    """Submit what is missing and say what comes next."""
    from hpcgeom.api.submitting import resubmit as resubmit_run

    with make_progress() as progress:
        found = resubmit_run(root, profile, progress, allow_code_change=allow_code_change)
    return _submitted(found)


def is_for_slurm(root: Path, how: How, profile: Path | None) -> bool:
    """Whether resume submits: where the run was submitted before, or a profile is given.

    Raises
    ------
    InputError
        Options contradict each other, or jobs would not heed one.
    """
    from hpcgeom.api.submitting import was_submitted

    is_here = how.workers is not None or how.dask is not None
    if profile is not None and is_here:
        raise InputError("--profile submits to SLURM, --workers and --dask do not: leave one of them out")
    if is_here or (profile is None and not was_submitted(root)):
        return False
    if how.strategy is not None or how.host_memory_gb is not None:
        raise InputError(
            "--strategy and --host-memory-gb are for models that run here, but this submits to SLURM, where "
            "the manifest and the profile say it: add --workers N to go on here, or leave them out"
        )
    return True


def _submitted(found: Submission) -> str:
    from hpcgeom.cli.commands import finished

    if found.is_complete:
        return finished(found.root)
    lines = [f"{len(found.submitted)} jobs are submitted, {len(found.alive)} of before are under way"]
    return "\n".join([*lines, f"status: hpcgeom status {found.root} --watch"])


def status(root: Path, *, as_json: bool) -> tuple[str, int]:
    """How far a run is; exit code 3 where units are missing."""
    from hpcgeom.api.job_status import report_of

    found = report_of(root)
    text = found.model_dump_json(indent=1) if as_json else render_jobs.report(found)
    return text, 0 if found.is_complete else 3


def watch(root: Path) -> tuple[str, int]:
    """Show the status again and again, until the run is complete or nobody works on it."""
    from hpcgeom.api.job_status import report_of
    from hpcgeom.store.leases import Pulse

    pulse = Pulse(root / "records")
    while True:
        found = report_of(root)
        holders = any(stage.holders for stage in found.stages) and pulse.is_felt()
        # A scheduler that does not answer for a while may still have the jobs.
        is_worked_on = found.is_under_way or found.notices or holders
        is_over = found.is_complete or not is_worked_on
        if is_over:
            return render_jobs.report(found), 0 if found.is_complete else 3
        clear = _CLEAR if sys.stdout.isatty() else ""
        print(f"{clear}{render_jobs.report(found)}\n", flush=True)  # noqa: T201
        time.sleep(WATCH_EVERY_S)


def logs(root: Path, stage: str | None, n_lines: int) -> str:
    """The end of each log."""
    from hpcgeom.api.job_status import logs_of
    from hpcgeom.plan.units import STAGES
    from hpcgeom.stages.run import Run

    Run(root)  # which says where this is no run
    if stage is not None and stage not in STAGES:
        raise InputError(f"unknown stage '{stage}': expected one of {', '.join(STAGES)}: choose one of them")
    found = logs_of(root, stage, n_lines)
    if not found:
        return f"{root}: no job has written a log" + (f" for stage '{stage}'" if stage else "")
    return "\n\n".join("\n".join([f"== {head}: {path}", *lines]) for head, path, lines in found)


def cancel(root: Path) -> str:
    """Cancel the jobs of a run."""
    from hpcgeom.api.submitting import cancel as cancel_run
    from hpcgeom.stages.run import Run

    Run(root)
    cancelled = cancel_run(root)
    if not cancelled:
        return f"{root}: no job waits or runs"
    return f"{root}: jobs {', '.join(cancelled)} are cancelled; hpcgeom resume {root} goes on"
