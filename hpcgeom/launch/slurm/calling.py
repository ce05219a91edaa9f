"""Calling one of the scheduler's commands: with a time limit, and as if from outside of any job."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from hpcgeom.errors import ResourceError

NOT_THERE = 127
"""The code of a command that is not there, as in a shell."""

_KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})  # where the cluster is, and who we are
# The first six describe the job that we are in; the others change what the commands print and whom they mean.
_OF_A_JOB = ("SLURM_", "SBATCH_", "SRUN_", "PMIX_", "PMI_", "SUBMITIT_")
_OF_COMMANDS = ("SALLOC_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_", "SINFO_", "SPRIO_")
_WAIT_FOR_THE_DEAD_S = 2.0
# What SLURM sends to all processes of a step, a command that a handler has just called among them.
_WARNINGS = frozenset({signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2})

_ADVICE = (
    (
        r"Unable to contact slurm controller|Unexpected message|Socket timed out|Connection (refused|timed)",
        "SLURM does not answer now: try again in a few minutes (`scontrol ping` says whether it is up)",
    ),
    (
        r"Could not establish a configuration|fetch_config|unable to open .*slurm\.conf",
        "this machine does not know the cluster: run on one of its login nodes, or set SLURM_CONF",
    ),
    (
        r"[Aa]ccess/permission denied|not permitted",
        "the cluster does not let this user do it: use your own jobs and accounts, or ask its administrators",
    ),
    (
        r"Invalid job id|No such job",
        "the controller does not know the job (any more): look at the run's records with `hpcgeom status`",
    ),
)


class SchedulerError(ResourceError):
    """A command of the scheduler is not there, failed, or did not answer in time.

    Parameters
    ----------
    code
        Its exit code; `NOT_THERE`; None where it did not answer: it may have done what it was asked to do.
    stderr
        What it wrote there.
    """

    def __init__(self, message: str, code: int | None = None, stderr: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.stderr = stderr


def has(command: str) -> bool:
    """Whether a command is on the PATH."""
    return shutil.which(command) is not None


def outside_a_job(environment: Mapping[str, str]) -> dict[str, str]:
    """Those variables which do not come from the job that we may be in.

    A job that is submitted with them would take itself for the submitting one. What says where the cluster is
    (``SLURM_CONF``, ``SLURM_CONF_SERVER``) and who we are (``SLURM_JWT``) stays.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.startswith(_OF_A_JOB + _OF_COMMANDS)
    }


def run(*command: str, timeout_s: float = 60.0, variables: Mapping[str, str] | None = None) -> str:
    """What a command of the scheduler writes to its standard output.

    It is called as from outside of any job (`outside_a_job`), and the signals by which SLURM tells a job to
    end do not reach it.

    Parameters
    ----------
    variables
        Environment variables for this command alone.

    Raises
    ------
    SchedulerError
        The command is not on the PATH, its exit code is not 0, or it did not end within `timeout_s` seconds.
    """
    environment = {**outside_a_job(os.environ), "LC_ALL": "C", **(variables or {})}
    process = _start(command, environment)
    try:
        written, complained = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise SchedulerError(
            f"`{_shown(command)}` did not answer within {timeout_s:g} s: the controller is busy or down; try "
            "again in a few minutes (`scontrol ping` says whether it is up)"
        ) from None
    finally:
        _end(process)
    stderr = complained.decode(errors="replace").strip()
    if process.returncode != 0:
        raise _failed(command, process.returncode, stderr)
    return written.decode(errors="replace")


def _start(command: tuple[str, ...], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A blocked signal stays blocked in the command that is started.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WARNINGS)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise SchedulerError(
            f"`{command[0]}` cannot be called on {socket.gethostname()} ({error.strerror}): run this where "
            "the cluster's commands are, such as a login node, or load the module that provides them",
            NOT_THERE,
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a command that has not ended, and what it started: a wrapper's child keeps the pipes open."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_WAIT_FOR_THE_DEAD_S)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _failed(command: tuple[str, ...], code: int, stderr: str) -> SchedulerError:
    advice = next(
        (text for found, text in _ADVICE if re.search(found, stderr)), "call it by hand to see more"
    )
    said = " / ".join(stderr.splitlines()[-3:]) or "no message"
    return SchedulerError(f"`{_shown(command)}` failed with code {code} ({said}): {advice}", code, stderr)


def _shown(command: tuple[str, ...]) -> str:
    text = " ".join(command)
    return text if len(text) <= 120 else f"{text[:117]}..."
