"""The job of a scheduler that this process is in, as SLURM's variables say."""

from __future__ import annotations

import os


def job_id() -> str:
    """The id of the job, ``12_3`` for an element of an array, as squeue shows it; "" outside of jobs."""
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if array and element:
        return f"{array}_{element}"
    return os.environ.get("SLURM_JOB_ID", "")


def restarts() -> int:
    """How often the job was started before (``SLURM_RESTART_COUNT``, which a first run does not have)."""
    text = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(text) if text.isdecimal() else 0
