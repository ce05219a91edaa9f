"""What the answer of a node means: is it like here, and can jobs do there what they have to do?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from hpcgeom.api import node_probe
from hpcgeom.api.doctor import MIN_PYTHON, Wrong
from hpcgeom.api.probing import Probe
from hpcgeom.manifest.profile_sections import Profile

CLOCK_TOLERANCE_S = 2.0
GPU_MEMORY_TOLERANCE = 0.03
"""Of what is said of a GPU: the driver keeps a part for itself."""


def clock_skew_s(not_before: float, told: float, not_after: float) -> float:
    """How far another clock is from ours, at least: positive where it is ahead.

    Parameters
    ----------
    not_before, not_after
        Seconds by our clock between which the other clock was read.
    told
        What it said.

    Returns
    -------
    float
        Seconds; 0.0 where it may be right.
    """
    return max(0.0, told - not_after) + min(0.0, told - not_before)


def checks_of_answer(profile: Profile, probe: Probe, stages: list[str]) -> dict[str, Callable[[], str]]:
    """What an answer is checked for, by name."""
    answer = probe.answer or {}
    found: dict[str, Callable[[], str]] = {
        "python": partial(check_python, answer),
        "packages": partial(check_packages, answer),
        "shared folder": partial(check_shared, probe),
        "clock": partial(check_clock, probe),
    }
    if probe.place.has_gpus:
        memory_gb = profile.node_of(stages[0]).gpu_memory_gb
        found["GPU"] = partial(check_gpu, answer, memory_gb)
    if profile.dask.interface is not None and {"search", "geometry"} & set(stages):
        found["interface"] = partial(check_interface, answer, profile.dask.interface)
    if profile.dask.mode == "jobqueue" and {"search", "geometry"} & set(stages):
        found["submission"] = partial(check_submission, answer)
    return found


def node_name(answer: Mapping[str, Any]) -> str:
    """What the scheduler calls the node, or it itself."""
    return str(answer["node"] or answer["host"])


def check_python(answer: Mapping[str, Any]) -> str:
    """Whether Python is new enough."""
    version, executable = str(answer["python"]), answer["executable"]
    if tuple(map(int, version.split(".")[:2])) < MIN_PYTHON:
        raise Wrong(
            f"expected {'.'.join(map(str, MIN_PYTHON))} or newer on {node_name(answer)}, found {version} "
            f"({executable}): name another in environment of the profile"
        )
    return f"{version} ({executable})"


@cache
def versions_here() -> dict[str, str]:
    """Versions of the packages on this machine."""
    return node_probe.versions()


def check_packages(answer: Mapping[str, Any]) -> str:
    """Whether the packages are those of this machine, and the code is the same."""
    here, there, node = versions_here(), answer["versions"], node_name(answer)
    wrong = [
        f"{name} {_version(there.get(name, '!missing'))} on {node}, {_version(here[name])} here"
        for name in here
        if there.get(name, "!missing").startswith("!") or _public(there[name]) != _public(here[name])
    ]
    mend = f"install the same for {answer['executable']} there, or correct environment of the profile"
    if wrong:
        raise Wrong(f"expected the same packages as here, found {'; '.join(wrong)}: {mend}")
    code_here, code_there = node_probe.code(), answer["code"]
    if code_here["digest"] != code_there["digest"]:
        raise Wrong(
            f"expected the same code of hpcgeom {here['hpcgeom']}, found {code_there['folder']} on {node}, "
            f"which differs from {code_here['folder']} here: {mend}"
        )
    return f"{', '.join(f'{name} {there[name]}' for name in here)}, as here"


def _public(version: str) -> str:
    """Without what follows a plus: builds for other processors count as the same."""
    return version.partition("+")[0]


def _version(text: str) -> str:
    return f"cannot be imported ({text[1:]})" if text.startswith("!") else text


def check_shared(probe: Probe) -> str:
    """Whether the node sees what is written here, writes what is seen here, and can keep records."""
    assert probe.answer is not None
    node, greeting = node_name(probe.answer), probe.answer["greeting"]
    shared = (
        "name a --run-dir on a file system that this machine and the nodes share, and that jobs may write"
    )
    if greeting != probe.greeting:
        found = "none" if greeting is None else "an older one"
        raise Wrong(
            f"{probe.folder}: expected that {node} sees a file that was written here, found {found}: {shared}"
        )
    if probe.answer["trouble"]:
        raise Wrong(
            f"{probe.folder}: expected that {node} can create, replace and link files there, found: "
            f"{probe.answer['trouble']}: {shared}"
        )
    if not probe.is_shared:
        raise Wrong(f"{probe.folder}: expected a file that {node} has written there, found none: {shared}")
    return f"{node} sees what is written here, and can create, replace and link files"


def check_clock(probe: Probe) -> str:
    """Whether the node's clock is right as far as it can be told."""
    assert probe.answer is not None
    node = node_name(probe.answer)
    readings = probe.answer["began"], probe.answer["ended"]
    skews_s = [clock_skew_s(probe.not_before, told, probe.not_after) for told in readings]
    skew_s = max(skews_s, key=abs)
    direction = "ahead" if skew_s > 0 else "behind"
    if abs(skew_s) > CLOCK_TOLERANCE_S:
        raise Wrong(
            f"expected that the clock of {node} agrees with the one here, found it at least "
            f"{abs(skew_s):.1f} s {direction}: ask the administrators to synchronize them; "
            "times in logs and records mislead until then"
        )
    began, ended = readings
    at_most_s = max(CLOCK_TOLERANCE_S, began - probe.not_before, probe.not_after - ended)
    return f"the clock of {node} is at most {at_most_s:.1f} s from the one here"


def check_gpu(answer: Mapping[str, Any], memory_gb: float | None) -> str:
    """Whether torch sees a GPU, with as much memory as the profile says."""
    if not answer["gpus"]:
        raise Wrong(
            f"expected that torch sees the GPU of the job on {node_name(answer)}, found none: install a "
            "torch for its driver, or correct environment of the profile"
        )
    gpu = answer["gpus"][0]
    has_gb = gpu["bytes"] / 2**30
    if memory_gb is not None and has_gb < memory_gb * (1 - GPU_MEMORY_TOLERANCE):
        raise Wrong(
            f"node.gpu_memory_gb: expected at most {has_gb:.1f}, found {memory_gb:g} ({gpu['name']} on "
            f"{node_name(answer)}): correct it"
        )
    return f"{gpu['name']}, {has_gb:.1f} GiB"


def check_interface(answer: Mapping[str, Any], name: str) -> str:
    """Whether the network interface is there and has an IPv4 address."""
    found = answer["interfaces"]
    if found is None:
        raise Wrong(f"psutil cannot be imported on {node_name(answer)}, so nobody can say: install it there")
    if not found.get(name):
        usable = ", ".join(sorted(other for other, address in found.items() if address)) or "none"
        raise Wrong(
            f"dask.interface: expected an interface of {node_name(answer)} with an IPv4 address ({usable}), "
            f"found '{name}': name one of these, or leave it out"
        )
    return f"{name} is {found[name]} on {node_name(answer)}"


def check_submission(answer: Mapping[str, Any]) -> str:
    """Whether jobs can be submitted from the node, which dask.mode jobqueue needs."""
    if answer["sbatch"]:
        raise Wrong(
            f"dask.mode: expected that {node_name(answer)} may submit jobs, as jobqueue needs, found: "
            f"{answer['sbatch']}: set it to allocation, or ask the administrators"
        )
    return f"{node_name(answer)} may submit jobs"
