"""Contradictions between the sections of a profile, and what one of its jobs takes from a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from hpcgeom.manifest.fields import Key, Problem
from hpcgeom.manifest.profile_parts import DaskSection, ExtractJobs, JobSection, NodeSection

DASK_STAGES = ("search", "geometry")
JOB_SECTIONS = ("extract", *DASK_STAGES, "collect")

_OWN = """
    array begin chdir comment dependency error export export_file gid hold input job_name kill_on_invalid_dep
    no_requeue ntasks ntasks_per_node open_mode output parsable requeue signal uid wait wckey wrap
"""
MENDS: Mapping[str, str] = {
    **dict.fromkeys(_OWN.split(), "hpcgeom sets this itself: remove it"),
    **dict.fromkeys(("mail_user", "mail_type"), "hpcgeom sends no mail: remove it"),
    **dict.fromkeys(("time", "timeout_min"), "write walltime"),
    **dict.fromkeys(("mem", "mem_gb", "mem_per_cpu"), "write memory_gb, the GiB of one process"),
    "cpus_per_task": "write cpus",
    **dict.fromkeys(("gres", "gpus_per_node", "gpus_per_task"), "write gpus, and gpu_type"),
    "nodelist": "write slurm.constraint, or slurm.exclude",
}
"""What to write in place of the options of sbatch that a profile does not have."""


def node_of(job: JobSection, node: NodeSection) -> NodeSection:
    """Facts of the nodes of a job: its own where it has them, else those of all."""
    own = {} if job.node is None else job.node.model_dump(exclude_none=True)
    if own.get("gpus") == 0:
        own["gpu_memory_gb"] = None
    return NodeSection.model_validate({**node.model_dump(), **own})


def profile_problems(sections: Mapping[str, Any], given: Set[Key]) -> Iterator[Problem]:
    """Find all contradictions between the sections of a profile.

    Parameters
    ----------
    sections
        Validated sections by key. A check whose sections are not all there is skipped.
    given
        Keys that are written in the profile; not needed.

    Yields
    ------
    Problem
        With a key from the root of the profile.
    """
    if {"environment", "dask"} <= sections.keys():
        yield from _containers_start_no_jobs(sections["environment"], sections["dask"])
    for stage in JOB_SECTIONS:
        if stage not in sections:
            continue
        if "slurm" in sections:
            yield from _there_is_time_to_stop(stage, sections[stage], sections["slurm"])
        if {"node", "dask"} <= sections.keys():
            yield from _fits_on_a_node(stage, sections[stage], sections["node"], sections["dask"])


def processes_on_a_node(stage: str, job: JobSection, dask: DaskSection) -> int:
    """How many processes of a job one node carries."""
    if isinstance(job, ExtractJobs):
        return job.processes
    if stage not in DASK_STAGES or dask.mode == "jobqueue":
        return 1
    return dask.workers // dask.nodes


def n_nodes(stage: str, dask: DaskSection) -> int:
    """Over how many nodes one job goes."""
    return dask.nodes if stage in DASK_STAGES and dask.mode == "allocation" else 1


def _containers_start_no_jobs(environment: Any, dask: Any) -> Iterator[Problem]:
    if environment.apptainer is not None and dask.mode != "local":
        yield Problem(
            ("dask", "mode"),
            "expected local, because environment.apptainer is set and a container holds neither srun nor "
            f"sbatch, found '{dask.mode}': set it to local, or use environment.venv or conda",
        )


def _there_is_time_to_stop(stage: str, job: Any, slurm: Any) -> Iterator[Problem]:
    if 2 * slurm.signal_before_end_s >= job.walltime_s:
        yield Problem(
            (stage, "walltime"),
            f"expected more than twice slurm.signal_before_end_s = {slurm.signal_before_end_s} seconds, "
            f"found '{job.walltime}', {job.walltime_s} seconds: raise {stage}.walltime or lower "
            "slurm.signal_before_end_s",
        )


def _fits_on_a_node(stage: str, job: Any, all_nodes: Any, dask: Any) -> Iterator[Problem]:
    node, nodes = node_of(job, all_nodes), n_nodes(stage, dask)
    if job.gpus % nodes:
        yield Problem(
            (stage, "gpus"),
            f"expected a multiple of dask.nodes = {nodes}, found {job.gpus}: change one of them",
        )
        return
    processes = processes_on_a_node(stage, job, dask)
    each = f" ({processes} processes of {{}})" if processes > 1 else ""
    memory_gb = None if job.memory_gb is None else job.memory_gb * processes
    asked = (
        ("cpus", "CPUs", job.cpus * processes, each.format(job.cpus), node.cpus),
        ("memory_gb", "GiB", memory_gb, each.format(job.memory_gb), node.memory_gb),
        ("gpus", "GPUs", job.gpus // nodes, "", node.gpus),
    )
    for key, unit, amount, how, limit in asked:
        if amount is not None and limit is not None and amount > limit:
            yield Problem(
                (stage, key),
                f"expected at most the {limit:g} {unit} of a node (node.{key}), found {amount:g}{how}: ask "
                "for less, or correct node",
            )
