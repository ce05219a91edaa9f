"""Plain text of jobs: those that would be submitted, and how far those are that were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcgeom.cli.render import shorten, table

if TYPE_CHECKING:
    from hpcgeom.api.job_layout import PlannedJob
    from hpcgeom.api.job_status import JobReport, RunReport, SpeedReport
    from hpcgeom.api.rehearsing import Rehearsal


def rehearsal(found: Rehearsal) -> str:
    """The jobs as a table, and the script of each."""
    heads = (
        "stage",
        "model",
        "elements",
        "units of an element",
        "nodes",
        "cores",
        "memory",
        "GPUs",
        "walltime",
    )
    rows = [heads, *(_row(planned) for planned in found.jobs)]
    texts = [f"# ---- {name}\n{text.rstrip()}" for name, text in found.scripts]
    notices = [f"note: {notice}" for notice in found.notices]
    jobs = table(rows) if found.jobs else "every unit is done: no job"
    return "\n\n".join([jobs, *notices, *texts])


def _row(planned: PlannedJob) -> tuple[str, ...]:
    job, script = planned.job, planned.script
    return (
        job.stage,
        job.model or "-",
        str(len(job.elements) or 1),
        shorten("; ".join(job.elements), 30) or "all that are missing",
        str(script.nodes),
        str(script.cpus * script.tasks_per_node),
        f"{script.memory_gb:g} GiB",
        str(script.gpus),
        _walltime(script.walltime_s),
    )


def _walltime(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def report(found: RunReport) -> str:
    """Stages, then jobs, then what went wrong with the end of the logs."""
    rows = [("stage", "done", "units", "running", "pending", "failed", "seconds", "missing")]
    rows += [
        (
            stage.stage,
            str(stage.n_done),
            str(stage.n_units),
            str(stage.n_running),
            str(stage.n_pending),
            str(stage.n_failed),
            f"{stage.seconds:.1f}",
            shorten(stage.missing) or "-",
        )
        for stage in found.stages
    ]
    parts = [table(rows)]
    holders = [f"running: {stage.stage} {holder}" for stage in found.stages for holder in stage.holders]
    if holders:
        parts.append("\n".join(holders))
    if found.speeds:
        parts.append(
            table([("model", "process", "tokens/s", "GFLOP/s", "of a product"), *map(_speed, found.speeds)])
        )
    if found.jobs:
        parts.append(table([("job", "stage", "model", "elements", "states", "why"), *map(_job, found.jobs)]))
    parts += [text for job in found.jobs if (text := _failed(job))]
    parts += [f"note: {notice}" for notice in found.notices]
    if not (found.is_complete or found.is_under_way or holders or found.notices):
        parts.append(f"nobody works on it: hpcgeom resume {found.run}")
    return "\n\n".join(parts)


def _speed(speed: SpeedReport) -> tuple[str, ...]:
    return (
        speed.model,
        speed.process,
        f"{speed.tokens_per_s:.0f}",
        f"{speed.flops_per_s / 1e9:.1f}" if speed.flops_per_s else "-",
        f"{speed.share_of_gemm:.0%}" if speed.share_of_gemm else "-",
    )


def _job(job: JobReport) -> tuple[str, ...]:
    counted = ", ".join(
        f"{count} {state}" if job.n_elements > 1 else state for state, count in sorted(job.states.items())
    )
    return (
        job.job_id or "none",
        job.stage,
        job.model or "-",
        str(job.n_elements),
        counted or "not submitted",
        "; ".join(job.reasons) or "-",
    )


def _failed(job: JobReport) -> str:
    lines: list[str] = []
    for element in job.failed:
        units = f" without units {element.units}" if element.units else ""
        code = f", exit code {element.exit_code}" if element.exit_code else ""
        lines.append(f"{job.stage} job {element.job_id} ended{units} ({element.state}{code}): {element.log}")
        lines += [f"  | {line}" for line in element.last_lines]
    return "\n".join(lines)
